"""Random fully connected ReLU networks, dense, many at a time.

    f(x) = a . relu(W_L relu(... W_2 relu(W_1 x))) / sqrt(k),     a = +-1,
    W_1 entries N(0, 1/d), W_2 .. W_L entries N(0, 2/k)  (He's scale: value and gradient keep their size at every depth).

ReLU networks are positively homogeneous, so the networks with hidden variance 1/k ("unit") are these ones times 2^(-(L-1)/2):
`unit_factor` turns one into the other and no second run is needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NORM_SLACK = 7.0
"""Gaussian matrices exceed the bound of `gaussian_norm_bound` with probability at most exp(-NORM_SLACK^2 / 2) = 2.3e-11 each."""


def unit_factor(depth: int) -> float:
    """What value and gradient are multiplied by when the hidden variance is 1/k in place of 2/k."""
    return float(2.0 ** (-(depth - 1) / 2))


def gaussian_norm_bound(rows: int, columns: int, deviation: float) -> float:
    """Bound on the operator norm of a rows x columns matrix of N(0, deviation^2): s (sqrt m + sqrt n + u), by Gaussian concentration."""
    return deviation * (math.sqrt(rows) + math.sqrt(columns) + NORM_SLACK)


def random_inputs(generators: Sequence[np.random.Generator], inputs: int, dim: int) -> Tensor:
    """Uniform points on the sphere of radius sqrt(d), [B, I, d]; the first ones do not depend on how many are asked for."""
    x = torch.from_numpy(np.stack([generator.standard_normal((inputs, dim)) for generator in generators]))
    return x.mul_(math.sqrt(dim) / x.norm(dim=-1, keepdim=True))


@dataclass(frozen=True)
class DenseRay:
    """The functions t -> f(x + t g) of B networks on I rays each, with all their pre-activations."""

    start: Tensor  # u = W_1 x   [B, I, k]
    slope: Tensor  # v = W_1 g   [B, I, k]
    hidden: tuple[Tensor, ...]  # W_2 .. W_L   [B, k, k]
    output: Tensor  # a / sqrt(k)   [B, k]
    maps: tuple[tuple[Tensor, float], ...]  # of W_2 .. W_L and a / sqrt(k): bounds on their norms [B], deviations of their entries

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every layer, [B, I, k] each, and values [B, I], at the parameters t [B, I]."""
        layers = [self.start + t[..., None] * self.slope]
        for weights in self.hidden:
            layers.append(layers[-1].relu() @ weights.mT)
        return layers, (layers[-1].relu() @ self.output[..., None]).squeeze(-1)

    def only(self, networks: Tensor, inputs: Tensor) -> "DenseRay":
        """The rays of some of the networks, from some of their inputs: ascending indices."""
        return DenseRay(
            self.start[networks][:, inputs],
            self.slope[networks][:, inputs],
            # A single network's weights need no copy.
            self.hidden if len(networks) == len(self.output) else tuple(weights[networks] for weights in self.hidden),
            self.output[networks],
            tuple((bound[networks], deviation) for bound, deviation in self.maps),
        )


@dataclass(frozen=True)
class DenseReLU:
    """B independent networks of one shape."""

    layers: tuple[Tensor, ...]  # W_1 [B, k, d], W_2 .. W_L [B, k, k]
    output: Tensor  # a / sqrt(k)   [B, k]

    @property
    def depth(self) -> int:
        """The number of hidden layers L."""
        return len(self.layers)

    @classmethod
    def sample(cls, generators: Sequence[np.random.Generator], depth: int, width: int, dim: int, device: str = "cpu") -> "DenseReLU":
        """One network from each generator; drawn by NumPy on the CPU, so that every device sees the same networks."""
        shapes = [(width, dim), *[(width, width)] * (depth - 1)]
        deviations = [1 / math.sqrt(dim), *[math.sqrt(2 / width)] * (depth - 1)]
        layers = [np.empty((len(generators), *shape)) for shape in shapes]
        output = np.empty((len(generators), width))
        for network, generator in enumerate(generators):
            for weights, deviation in zip(layers, deviations, strict=True):
                generator.standard_normal(out=weights[network])
                weights[network] *= deviation
            output[network] = (generator.integers(0, 2, width) * 2 - 1) / math.sqrt(width)
        return cls(tuple(torch.from_numpy(weights).to(device) for weights in layers), torch.from_numpy(output).to(device))

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [B, I] and its input gradient [B, I, d] at x [B, I, d]; the gradient of relu at 0 is 0."""
        hidden, masks = x, []
        for weights in self.layers:
            preactivation = hidden @ weights.mT
            masks.append(preactivation > 0)
            hidden = preactivation.relu()
        value = (hidden @ self.output[..., None]).squeeze(-1)
        backward = self.output[:, None, :] * masks[-1]
        for weights, mask in zip(reversed(self.layers[1:]), reversed(masks[:-1]), strict=True):
            backward = (backward @ weights) * mask
        return value, backward @ self.layers[0]

    def ray(self, x: Tensor, direction: Tensor) -> DenseRay:
        """The networks along x + t direction, both [B, I, d] or broadcastable to it."""
        first, *hidden = self.layers
        start, slope = x @ first.mT, direction @ first.mT
        shape = (start + slope).shape
        start, slope, width = start.expand(shape), slope.expand(shape), shape[-1]
        deviation = math.sqrt(2 / width)
        bound = gaussian_norm_bound(width, width, deviation)
        # A small matrix's Frobenius norm is often below the concentration bound; both are valid.
        maps = [(torch.linalg.matrix_norm(weights).clamp(max=bound), deviation) for weights in hidden]
        maps.append((self.output.norm(dim=-1), 1 / math.sqrt(width)))
        return DenseRay(start, slope, tuple(hidden), self.output, tuple(maps))
