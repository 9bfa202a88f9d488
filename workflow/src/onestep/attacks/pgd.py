"""Projected gradient descent in l2: many small steps towards the other label, none of them out of a ball around the image.

Steps have one length, 2.5 R / T for T of them in a ball of radius R, along the normalised gradient of f: for a single logit the gradient
of every decreasing loss l(y f) is a multiple of -y grad f.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Gradient = Callable[[Tensor], Tensor]
"""Gradients of f [n, d] at points [n, d]."""

REACH = 2.5
"""The lengths of all steps together, in units of the radius."""
_TOGETHER = {"cpu": 256, "cuda": 4096}
"""Images that are attacked together: many more do not fit in a processor's cache; few leave a GPU idle."""


def _attacked(gradient: Gradient, x: Tensor, y: Tensor, radius: float, steps: int, box: bool) -> Tensor:
    delta = torch.zeros_like(x)
    for _ in range(steps):
        slope = gradient(x + delta)
        length = slope.norm(dim=1, keepdim=True).clamp_(min=torch.finfo(x.dtype).tiny)
        delta.addcmul_(slope, y[:, None] * (REACH * radius / steps) / length, value=-1)
        if box:
            delta = (x + delta).clamp_(0, 1) - x
        delta *= (radius / delta.norm(dim=1, keepdim=True).clamp_(min=torch.finfo(x.dtype).tiny)).clamp_(max=1)
    return x + delta


def l2(gradient: Gradient, x: Tensor, y: Tensor, radius: float, steps: int, *, box: bool = False) -> Tensor:
    """The points [n, d] that T steps from x [n, d] with labels y [n] = +-1 end at; `box`: each is clipped to [0, 1], then to the ball."""
    if radius == 0:
        return x.clone()
    together = _TOGETHER[x.device.type]
    slices = [slice(start, start + together) for start in range(0, len(x), together)]
    return torch.cat([_attacked(gradient, x[part], y[part], radius, steps, box) for part in slices])
