"""Theorem 2 of `guarantees` (De Palma, Kiani, Lloyd 2021) on the kernels themselves: is there a C with, for all images x, y,

    sqrt(K(x, x)) >= C ||x||,    d(x, y) = sqrt(K(x, x) + K(y, y) - 2 K(x, y)) <= M C ||x - y||,    M = sqrt(|I_0| / |I_Lf|)?

There is one if and only if `distance_ratio` = sup d / ||x - y|| is at most M times `deviation_ratio` = inf sqrt(K) / ||x||.
`certificate` bounds sup / (M inf) from above, a search for x and for x, y from below.

**The certificate.** Both sides go through a network as sums of weights times the pixels' energies, E h(p)^2 or E (h(x, p) - h(y, p))^2:

- A convolution or dense layer sums energies, its weights being independent.
- ReLU halves E u^2, and E (u - v)^2 at least: u - v = relu(u) - relu(v) - (relu(-u) - relu(-v)), two parts of one law and E product <= 0.
- A mean of four pixels has at most the mean of their energies, and at least a quarter of it, behind a ReLU, where E h(p) h(q) >= 0.
- relu(h + Y), h >= 0, Y normal: E relu(h + Y)^2 >= E h^2 + E Y^2 / 2, and E (..)^2 of a difference at most the sum of both energies.

**The theorem's class** is periodic and unstrided, and pools between a convolution and its ReLU, behind another ReLU: the architectures
"periodic" and "periodic-pooled", and fully connected ones. There all pixels weigh the same, K(x, x) = 4 ||x||^2 / n without poolings, so
C = 2 / sqrt(n) is the largest one and the certificate 1; each pooling may lose a factor 4 of K: sqrt(upper / lower) = 2 per pooling = M. So
the certificate is 1 again, with C = 2 / (M sqrt(n)), which need not be the largest one. Zeros beyond the edge make pixels there weigh less:
"convolutional" has C^2 = the least weight, sup^2 = the largest. Strides ("resnet"), poolings behind ReLU ("lenet") and shortcuts past ReLU
("resnet") are outside the class as well.

**Remark 3.** The variances of weights are one factor of K, which C takes. Biases of any variance add to K(x, x), K(y, y) and K(x, y) alike
wherever they enter: energies of differences stay, those of values grow. M stays.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onestep.networks.residual import Architecture, Convolution, Dense, Pool
from onestep.theory.residual_kernels import covariance, patch_sums, squared_distance

NEAR = 1e-3
"""The distance of near pairs, relative to ||x||: their ratio is within about as much of its limit, and rounding far below."""
BATCH = 4
"""How many pairs climb at a time: quasi-random walks need memory."""
RATE = 0.3
"""The search's first step, relative to the length of what is moved; the last is 0."""


def energy_weights(architecture: Architecture, side: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """`lower` and `upper` [d] with K(x, x) >= sum_i lower_i x_i^2 and d(x, y)^2 <= sum_i upper_i (x_i - y_i)^2 for all x, y."""

    def sums(layer: Convolution, energies: Tensor) -> Tensor:
        energies = patch_sums(layer, energies, architecture.periodic)
        return pooled(energies) if layer.pooled else energies

    def pooled(energies: Tensor) -> Tensor:
        # Entries of the images themselves may cancel.
        least = 0 if layer is architecture.layers[0] else 0.25
        return functional.avg_pool2d(energies, 2) * energies.new_tensor([least, 1])[:, None, None]

    pixels = torch.ones(2, side, side, dtype=torch.float64, requires_grad=True)
    energies = pixels
    for layer in architecture.layers:
        if isinstance(layer, Pool):
            energies = pooled(energies)
        elif isinstance(layer, Dense):
            energies = energies.mean((-2, -1), keepdim=True)
        elif isinstance(layer, Convolution):
            energies = sums(layer, energies) / 2
        else:
            body = energies
            for inner in layer.body[:-1]:
                body = sums(inner, body) / 2
            body = sums(layer.body[-1], body)
            if layer.shortcut:
                energies = (body + sums(layer.shortcut, energies)) / 2
            else:
                energies = energies + body * body.new_tensor([0.5, 1])[:, None, None]
    (weights,) = torch.autograd.grad(4 * energies.mean((-2, -1)).sum(), pixels)
    lower, upper = (weights[..., None] / channels).expand(2, side, side, channels).flatten(1)
    return lower, upper


def certificate(architecture: Architecture, side: int) -> float:
    """An upper bound on sup (d / ||x - y||) / (M inf (sqrt(K) / ||x||)): at most 1, up to rounding, proves Theorem 2's inequalities."""
    lower, upper = energy_weights(architecture, side)
    return math.sqrt(float(upper.max() / lower.min())) / architecture.stretch(side)


def deviation_ratio(architecture: Architecture, side: int, x: Tensor) -> Tensor:
    """sqrt(K(x, x)) / ||x|| [B] at x [B, d]."""
    return torch.div(covariance(architecture, side, x, x).sqrt(), x.norm(dim=1))


def distance_ratio(architecture: Architecture, side: int, x: Tensor, change: Tensor) -> Tensor:
    """d(x, x + change) / ||change|| [B]."""
    return torch.div(squared_distance(architecture, side, x, x + change).sqrt(), change.norm(dim=1))


def patterns(generator: np.random.Generator, side: int, channels: int = 3) -> Tensor:
    """Images [10, d] for a search to begin with: pixels at a corner, an edge, the centre; constant, stripes, chequerboards; random."""
    row, column = np.indices((side, side))
    middle, even = side // 2, (row + column) % 2 == 0
    pixels = [(row == i) & (column == j) for i, j in ((0, 0), (0, middle), (middle, middle))]
    images = np.array([*pixels, row >= 0, row % 2 == 0, column % 2 == 0, even, np.where(even, 1, -1)], dtype=np.float64)
    dim = side * side * channels
    structured = np.repeat(images.reshape(len(images), -1), channels, axis=1)
    return torch.from_numpy(np.concatenate([structured, generator.random((1, dim)), generator.standard_normal((1, dim))]))


def _climb(objective: Callable[..., Tensor], starts: tuple[Tensor, ...], steps: int) -> float:
    """The largest value met on the way up from `starts` [B, d], each moving along its gradient by a share of its length, which it keeps."""
    best = -math.inf
    for parts in zip(*(torch.split(start, BATCH) for start in starts), strict=True):
        lengths = [part.norm(dim=1, keepdim=True) for part in parts]
        for step in range(steps + 1):
            parts = tuple(part.detach().requires_grad_() for part in parts)
            value = objective(*parts)
            best = max(best, float(value.detach().max()))
            gradients = torch.autograd.grad(value.sum(), parts)
            share = RATE * (1 - step / steps)
            parts = tuple(
                length * functional.normalize(part / length + share * functional.normalize(gradient, eps=1e-100))
                for part, length, gradient in zip(parts, lengths, gradients, strict=True)
            )
    return best


def smallest_deviation_ratio(generator: np.random.Generator, architecture: Architecture, side: int, steps: int = 60) -> float:
    """The smallest sqrt(K(x, x)) / ||x|| that a descent finds: no larger C will do."""
    return -_climb(lambda x: -deviation_ratio(architecture, side, x), (patterns(generator, side),), steps)


def largest_distance_ratio(generator: np.random.Generator, architecture: Architecture, side: int, steps: int = 60) -> float:
    """The largest d(x, y) / ||x - y|| that an ascent finds from pairs of `patterns`, and near pairs that differ by one of them.

    Near pairs alone would do: d is at most the length of the image of the straight line from x to y, near pair by near pair. Rounding
    moves their ratio by about 1e-9 of it.
    """
    x = patterns(generator, side)
    others = [x.roll(shift, 0) for shift in (1, 3)]
    near = [NEAR * x.norm(dim=1, keepdim=True) * functional.normalize(other) for other in others]
    changes = torch.cat([*near, *(other - x for other in others)])
    return _climb(lambda one, change: distance_ratio(architecture, side, one, change), (x.repeat(4, 1), changes), steps)
