"""Activation functions with what a march along a ray needs to know of them: how far they leave their chords."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """A function sigma, applied to each entry, with sigma(0) = 0."""

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    second_derivative: Callable[[Tensor], Tensor] | None  # none: relu, whose gradient jumps
    lipschitz: float  # the largest |sigma'|
    curvature: float  # the largest |sigma''|

    @property
    def piecewise_linear(self) -> bool:
        """Whether it is relu, with one corner, at 0."""
        return self.second_derivative is None

    def bends(self, p: NDArray[Any], q: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Peak, left, right: sigma leaves its chord from p to q, theta of the way, by at most any of peak, theta left, (1 - theta) right.

        relu, of p and q with different signs (else it does not): |p| |q| / (|p| + |q|), |q| and |p|. A smooth sigma leaves it by at
        most theta (1 - theta) (q - p)^2 max|sigma''| / 2.
        """
        if self.piecewise_linear:
            right, left = np.abs(p), np.abs(q)
            return right * left / (right + left), left, right
        square = (q - p) ** 2 * (self.curvature / 2)
        return square / 4, square, square


def _gaussian_density(z: Tensor) -> Tensor:
    return torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _gaussian_share(z: Tensor) -> Tensor:
    return (1 + torch.erf(z / math.sqrt(2))) / 2


ACTIVATIONS = {
    # The gradient of relu at 0 is 0.
    "relu": Activation(torch.relu, lambda z: (z > 0).to(z.dtype), None, 1.0, math.inf),
    "tanh": Activation(
        torch.tanh,
        lambda z: 1 - torch.tanh(z).square(),
        lambda z: -2 * torch.tanh(z) * (1 - torch.tanh(z).square()),
        1.0,
        4 / (3 * math.sqrt(3)),
    ),
    # log(1 + e^z) - log 2
    "softplus": Activation(
        lambda z: torch.logaddexp(z, torch.zeros_like(z)) - math.log(2),
        torch.sigmoid,
        lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
        1.0,
        0.25,
    ),
    # z Phi(z); its slope is largest at sqrt 2, its curvature at 0
    "gelu": Activation(
        lambda z: z * _gaussian_share(z),
        lambda z: _gaussian_share(z) + z * _gaussian_density(z),
        lambda z: (2 - z * z) * _gaussian_density(z),
        0.5 * (1 + math.erf(1)) + math.exp(-1) / math.sqrt(math.pi),
        2 / math.sqrt(2 * math.pi),
    ),
}
