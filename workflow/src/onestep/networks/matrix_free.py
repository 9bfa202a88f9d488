"""The networks of `random_relu` without their matrices, for widths at which no k x k matrix fits: the same law, the same interface.

Every value, gradient and point on a ray is a few products with the layers' Gaussian matrices, which `gaussian` answers without forming
them. All of one network's answers are those of one network; the same seed gives another network than the dense one, and another one
for other questions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onestep.networks.gaussian import GaussianMatrix
from onestep.networks.random_relu import gaussian_norm_bound


@dataclass(frozen=True)
class MatrixFreeRay:
    """The functions t -> f(x + t g) of B networks on I rays each."""

    start: Tensor  # W_1 x   [B, I, k]
    slope: Tensor  # W_1 g   [B, I, k]
    hidden: tuple[GaussianMatrix, ...]  # W_2 .. W_L
    output: Tensor  # a / sqrt(k)   [B, k]
    maps: tuple[tuple[Tensor, float], ...]

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every layer, [B, I, k] each, and values [B, I], at the parameters t [B, I]."""
        layers = [self.start + t[..., None] * self.slope]
        for weights in self.hidden:
            layers.append(weights.times(layers[-1].relu().mT).mT)
        return layers, (layers[-1].relu() @ self.output[..., None]).squeeze(-1)

    def only(self, networks: Tensor, inputs: Tensor) -> "MatrixFreeRay":
        """The rays of some of the networks, from some of their inputs: ascending indices."""
        return MatrixFreeRay(
            self.start[networks][:, inputs],
            self.slope[networks][:, inputs],
            self.hidden if len(networks) == len(self.output) else tuple(weights.only(networks) for weights in self.hidden),
            self.output[networks],
            tuple((bound[networks], deviation) for bound, deviation in self.maps),
        )


@dataclass(frozen=True)
class MatrixFreeReLU:
    """B independent networks of one shape."""

    layers: tuple[GaussianMatrix, ...]  # W_1 (k x d), W_2 .. W_L (k x k)
    output: Tensor  # a / sqrt(k)   [B, k]

    @property
    def depth(self) -> int:
        """The number of hidden layers L."""
        return len(self.layers)

    @classmethod
    def sample(cls, generators: Sequence[np.random.Generator], depth: int, width: int, dim: int) -> "MatrixFreeReLU":
        """One network from each generator, which goes on to draw what the network is asked for."""
        signs = np.stack([generator.integers(0, 2, width) * 2 - 1 for generator in generators])
        layers = [GaussianMatrix(generators, width, dim, 1 / math.sqrt(dim))]
        layers += [GaussianMatrix(generators, width, width, math.sqrt(2 / width)) for _ in range(depth - 1)]
        return cls(tuple(layers), torch.from_numpy(signs / math.sqrt(width)))

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [B, I] and its input gradient [B, I, d] at x [B, I, d]; the gradient of relu at 0 is 0."""
        hidden, masks = x, []
        for weights in self.layers:
            preactivation = weights.times(hidden.mT).mT
            masks.append(preactivation > 0)
            hidden = preactivation.relu()
        value = (hidden @ self.output[..., None]).squeeze(-1)
        backward = self.output[:, None, :].expand_as(hidden)
        for weights, mask in zip(reversed(self.layers), reversed(masks), strict=True):
            backward = weights.transposed_times((backward * mask).mT).mT
        return value, backward

    def ray(self, x: Tensor, direction: Tensor) -> MatrixFreeRay:
        """The networks along x + t direction, both [B, I, d]."""
        first, *hidden = self.layers
        networks, width = self.output.shape
        bounds = [torch.full((networks,), gaussian_norm_bound(width, width, matrix.deviation)).double() for matrix in hidden]
        return MatrixFreeRay(
            first.times(x.mT).mT,
            first.times(direction.mT).mT,
            tuple(hidden),
            self.output,
            (*zip(bounds, [matrix.deviation for matrix in hidden], strict=True), (self.output.norm(dim=-1), 1 / math.sqrt(width))),
        )
