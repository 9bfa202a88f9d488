"""The single step on random networks: the first sign change of f from x along one direction."""

from dataclasses import replace

import torch
from torch import Tensor

from onestep.attacks.ray import DEAD, Roots, first_roots, two_layer_roots
from onestep.networks.random_relu import RandomNetwork

Origin = tuple[list[Tensor], Tensor]
"""What `RandomNetwork.forward` says of x: pre-activations and values."""


def signs(value: Tensor) -> Tensor:
    """+1 or -1, what a step has to change: +1 for a value of 0."""
    return torch.where(value < 0, -1.0, 1.0).to(value.dtype)


def first_sign_change(
    nets: RandomNetwork, x: Tensor, origin: Origin, direction: Tensor, slope: Tensor, cap: float, level: Tensor | None = None
) -> Roots:
    """The first t in (0, cap) at which f(x - sign(f(x)) t direction) has another sign, [B, I].

    Exact for relu networks of at most one hidden layer, by the certified march for others. `slope` [B, I]: how fast |f| falls along the
    direction at x, which tells about where. `level` [B, I]: where f is to be sign(f(x)) times -level, in place of 0. Where f(x) is
    exactly 0 all neurons of a layer are off and the network is dead around x. Some direction may wake it up again, but there was no
    sign to change.
    """
    value = origin[1]
    if not bool(value.isfinite().all()):
        raise ValueError("a value of the network is not a finite number: its weights or its inputs are not")
    sign = signs(value)
    ray = nets.ray(x, -sign[..., None] * direction, origin)
    fall = value.abs() if level is None else value.abs() + level
    guess = torch.where(slope > 0, fall / slope, 0.05 * cap).double()
    if nets.depth <= 1 and nets.activation.piecewise_linear and level is None:
        roots = two_layer_roots(ray.start, ray.slope, ray.output[:, None, :] * sign[..., None], cap, guess)
    else:
        roots = first_roots(ray, sign, cap, guess=guess, level=0.0 if level is None else level)
    dead = value == 0
    return replace(roots, t=torch.where(dead, torch.nan, roots.t), status=torch.where(dead, DEAD, roots.status))
