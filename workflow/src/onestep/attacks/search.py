"""A second search for near sign changes, by another method than `minimal`, which it is to check: no linearised boundary, no exact landing.

From a disturbed perturbation, small normalised gradient steps on f inside a ball around the input; the ball shrinks while the sign has
changed and grows while it has not.
"""

import math

import numpy as np
import torch
from torch import Tensor

from onestep.attacks.minimal import Model

DISTURBANCE = 0.5
"""The length of the random part of the first perturbation, relative to what it starts from."""
PACE, LAST_PACE = 0.5, 0.002
"""The length of the first and last gradient step in l2, relative to the first perturbation; between them it falls like a cosine."""
SHRINKING = 0.05
"""By this share the first balls shrink or grow, the last ones hardly."""
BISECTIONS = 30


def into_ball(vectors: Tensor, norm: float, radius: Tensor) -> Tensor:
    """The points [N, d] of balls around 0 that are nearest to the vectors in l2; norm 1, 2 or infinity, radius [N]."""
    radius = radius[:, None]
    if norm == 1:
        sizes, ranks = vectors.abs(), torch.arange(1, vectors.shape[1] + 1).to(vectors)
        # Every size falls by the same amount, but not below 0: the first k of them, in descending order, stay above.
        excess = (sizes.sort(dim=1, descending=True).values.cumsum(1) - radius) / ranks
        return vectors.sign() * (sizes - excess.amax(1, keepdim=True).clamp(min=0)).clamp(min=0)
    if norm == math.inf:
        return vectors.clamp(-radius, radius)
    lengths: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors * (radius / lengths.clamp(min=torch.finfo(vectors.dtype).tiny)).clamp(max=1)


def closer(
    model: Model,
    x: Tensor,
    start: Tensor,
    norm: float,
    box: tuple[float, float] | None,
    generator: np.random.Generator,
    *,
    steps: int = 200,
) -> Tensor:
    """The distances [N] from inputs x [N, d] to the nearest sign changes that it finds, not-a-number where it finds none.

    It begins with the perturbations `start` [N, d], disturbed, in a ball as large as they are. What it finds may be farther off.
    """
    low, high = box or (-math.inf, math.inf)
    lower, upper = low - x, high - x
    value, _ = model(x)
    sign = torch.where(value < 0, -1.0, 1.0).to(x)

    def size(vectors: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(vectors, norm, dim=1)
        return lengths

    length, tiny = start.norm(dim=1, keepdim=True), torch.finfo(x.dtype).tiny
    noise = torch.from_numpy(generator.standard_normal(tuple(x.shape))).to(x)
    radius = size(start)
    delta = start + DISTURBANCE * length * noise / noise.norm(dim=1, keepdim=True)
    best, nearest = torch.zeros_like(x), torch.full_like(value, torch.inf)
    for step in range(steps):
        delta = into_ball(delta, norm, radius).clamp(lower, upper)
        value, gradient = model(x + delta)
        changed = sign * value < 0
        nearer = changed & (size(delta) < nearest)
        best, nearest = torch.where(nearer[:, None], delta, best), torch.where(nearer, size(delta), nearest)
        waning = (1 + math.cos(math.pi * step / steps)) / 2
        share = SHRINKING * waning
        radius = torch.where(changed, radius.minimum(nearest) * (1 - share), radius * (1 + share))
        pace = (LAST_PACE + (PACE - LAST_PACE) * waning) * length
        delta = delta - pace * sign[:, None] * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=tiny)

    inside, behind = torch.zeros_like(value), torch.ones_like(value)
    for _ in range(BISECTIONS):
        middle = (inside + behind) / 2
        changed = sign * model(x + middle[:, None] * best)[0] < 0
        inside, behind = torch.where(changed, inside, middle), torch.where(changed, middle, behind)
    return torch.where(nearest < torch.inf, behind * size(best), torch.nan)
