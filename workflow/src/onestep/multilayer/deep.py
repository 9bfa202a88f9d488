"""ReLU networks of up to thousands of layers, layer by layer: no matrix is formed, and each is forgotten once it has answered.

Many inputs at once: under a fresh matrix of N(0, s^2) the images of r questions are r-dimensional normal vectors, one for each neuron,
whose covariance is s^2 times the questions' Gram matrix; so that is what is drawn. Along a gradient, a matrix W has already answered two
questions, W q = y on the way up and W'p = z on the way down, and what is new is orthogonal to both (`onestep.networks.gaussian`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GAIN = 2.0
"""He's scale: the norms of the images keep their size at every depth."""


def normals(generators: Sequence[np.random.Generator], *shape: int) -> Tensor:
    """Independent N(0, 1) numbers from each generator, [B, *shape]."""
    numbers = np.empty((len(generators), *shape))
    for part, generator in zip(numbers, generators, strict=True):
        generator.standard_normal(out=part)
    return torch.from_numpy(numbers)


def images(generators: Sequence[np.random.Generator], questions: Tensor, rows: int, deviation: float) -> Tensor:
    """W x for the rows x of [B, r, n], all at once, W a fresh `rows` x n matrix of N(0, deviation^2): [B, r, rows]."""
    values, vectors = torch.linalg.eigh(questions @ questions.mT)
    root: Tensor = vectors * (values.clamp(min=0).sqrt() * deviation)[:, None]
    return root @ normals(generators, questions.shape[1], rows)


class _Asked:
    """What is known of W: W q = y and W'p = z, [B, n] and [B, m] each; q and p are unit vectors, or 0 where nothing was asked."""

    def __init__(self, q: Tensor, y: Tensor) -> None:
        self.q, self.y, self.p, self.z = q, y, torch.zeros_like(y), torch.zeros_like(q)

    def ask_back(self, p: Tensor, fresh: Tensor) -> Tensor:
        """W'p, from fresh N(0, s^2) numbers [B, n]: its part along q is known."""
        self.p, self.z = p, fresh + ((self.y * p).sum(-1, keepdim=True) - (fresh * self.q).sum(-1, keepdim=True)) * self.q
        return self.z

    def images(self, generators: Sequence[np.random.Generator], questions: Tensor, deviation: float) -> Tensor:
        """W x for the rows x of [B, r, n], the last that is asked of W: [B, r, m]."""
        known = questions @ self.q[..., None]
        rest = questions - known * self.q[:, None]
        fresh = images(generators, rest, self.p.shape[-1], deviation)
        along = rest @ self.z[..., None] - fresh @ self.p[..., None]
        return known * self.y[:, None] + fresh + along * self.p[:, None]


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [B, n] as lengths [B, 1] and directions, 0 for the vector 0."""
    length = vectors.norm(dim=-1, keepdim=True)
    return length, torch.where(length > 0, vectors / length, 0.0)


@dataclass(frozen=True)
class Downhill:
    """B networks with one input each: f(x), ||grad f(x)||, and f at the distances t from x along the gradient, against the sign of f(x)."""

    value: Tensor  # [B]
    gradient_norm: Tensor  # [B]
    values: Tensor  # [B, T]


def downhill(generators: Sequence[np.random.Generator], x: Tensor, widths: Sequence[int], distances: Tensor) -> Downhill:
    """One network from each generator, with a Gaussian output layer, at x [B, d] and at distances t [T] from it."""
    deviations = [math.sqrt((1 if layer == 0 else GAIN) / n) for layer, n in enumerate([x.shape[-1], *widths[:-1]])]
    layers, hidden = [], x
    for width, deviation in zip(widths, deviations, strict=True):
        length, q = _unit(hidden)
        y = torch.where(length > 0, normals(generators, width) * deviation, 0.0)
        layers.append(_Asked(q, y))
        hidden = (length * y).relu()
    output = normals(generators, widths[-1]) / math.sqrt(widths[-1])
    value, backward = (hidden * output).sum(-1), output
    for layer, deviation in zip(reversed(layers), reversed(deviations), strict=True):
        length, p = _unit(backward * (layer.y > 0))
        backward = length * layer.ask_back(p, normals(generators, layer.q.shape[-1]) * deviation)
    norm, direction = _unit(backward)
    against = torch.where(value < 0, direction.mT, -direction.mT).mT
    hidden = x[:, None] + distances[:, None] * against[:, None]
    for deviation in deviations:
        hidden = layers.pop(0).images(generators, hidden, deviation).relu()
    return Downhill(value, norm.squeeze(-1), (hidden @ output[..., None]).squeeze(-1))
