"""The single step on random networks: the first sign change of f from x along one direction, and what is recorded of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onestep.attacks.ray import DEAD, STATUS, Roots, first_roots, two_layer_roots
from onestep.networks.random_relu import RandomNetwork, Shape

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


def words(codes: Tensor, of: Sequence[str] = STATUS) -> Any:
    """The words for status codes [...], those of `attacks.ray` unless others are given."""
    return np.array(of)[codes.cpu().numpy()]


@dataclass
class Rays:
    """What certificates say of the networks and of the rays followed: how matrices were held, and which steps had no certificate."""

    rays: int = 0
    unresolved: int = 0
    held: dict[Shape, str] = field(default_factory=dict)

    def count(self, nets: RandomNetwork, wanted: slice, roots: Roots) -> None:
        """Adds the rays of a block."""
        self.rays += roots.t[wanted].numel()
        self.unresolved += int((roots.unresolved[wanted] > 0).sum())
        free = sum(nets.matrix_free)
        how = "dense" if free == 0 else "matrix-free" if free == nets.depth else f"{free} of {nets.depth} matrices matrix-free"
        where = "" if nets.output.device.type == "cpu" else f" on {nets.output.device}"
        self.held[nets.shape] = f"{how}{where}, {str(nets.output.dtype).removeprefix('torch.')}"

    @property
    def certified(self) -> dict[str, Any]:
        """The same for a certificate."""
        held = [{"widths": list(shape.widths), "input_dim": shape.dim, "how": how} for shape, how in self.held.items()]
        return {"rays": self.rays, "unresolved": self.unresolved, "held": held}
