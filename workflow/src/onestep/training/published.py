"""The training of `lazy` as its authors' code does it, where that differs from the text: minibatches, and a look at the ball once an epoch.

f(x) = sum_s a_s relu(<w_s, x>) / sqrt(m) + c, the mean logistic loss of a minibatch, the images in one fixed order. Behind each epoch
max_s ||w_s - w_s0|| is compared with C0 / sqrt(m), and training for that C0 ends with the first that is larger: the weights kept lie
outside the ball.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from onestep.errors import Mistake
from onestep.training.near_init import Array, Precise, distances

BATCH = 64


@dataclass(frozen=True)
class Ended:
    """The weights with which the training for one C0 ended."""

    displacement: Array  # W - W_0   [m, d]
    epochs: int
    distance: float  # the largest ||w_s - w_s0||
    outside: bool  # whether it ended because the ball was left


@np.errstate(over="ignore", invalid="ignore")  # what diverges is told
def train(
    weights: Array, signs: Array, x: Array, y: Precise, *, output_bias: float, lr: float, radii: Sequence[float], epochs: int
) -> list[Ended]:
    """Trains W_0 [m, d] with a [m] on images x [n, d] in their order, labels y = +-1, for every C0 of `radii`, ascending."""
    root = len(weights) ** 0.5
    displacement, ended = np.zeros_like(weights), list[Ended]()
    for epoch in range(1, epochs + 1):
        for start in range(0, len(x), BATCH):
            part, labels = x[start : start + BATCH], y[start : start + BATCH]
            u = part @ (weights + displacement).T
            active = signs * (u > 0)
            margins = labels * ((active * u).sum(1, dtype=np.float64) / root + output_bias)
            sizes = lr / root / len(part) * labels * special.expit(-margins)
            displacement += (active * sizes[:, None].astype(np.float32)).T @ part
        distance = float(distances(displacement).max())
        if not np.isfinite(distance):
            raise Mistake(f"the training diverged at a learning rate of {lr:g}; take a smaller one")
        while len(ended) < len(radii) and distance > radii[len(ended)] / root:
            ended.append(Ended(displacement.copy(), epoch, distance, True))
        if len(ended) == len(radii):
            break
    return ended + [Ended(displacement.copy(), epochs, float(distances(displacement).max()), False) for _ in radii[len(ended) :]]
