"""Random fully connected networks, many at a time, whose matrices are dense or never formed.

    f(x) = <a, sigma(W_L sigma(... W_2 sigma(W_1 x)))> / sqrt(k_L),     a = +-1 or N(0, 1),
    W_1 entries N(0, 1/d), W_i entries N(0, gain / k_(i-1)) for i = 2 .. L.

sigma is relu or another activation; gain 2 is He's scale, at which value and gradient of a relu network keep their size at every depth.
relu networks are positively homogeneous, so the networks with hidden variance 1/k ("unit") are these ones times 2^(-(L-1)/2):
`unit_factor` turns one into the other and no second run is needed.

Each matrix is either held (`DenseMatrix`) or answers questions only (`GaussianMatrix`), whichever `cheaper` finds to be less work; the
law is the same. A network with matrices of the second kind depends on what it is asked: the same seed gives the same network to the
same questions in the same order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onestep.networks.activations import ACTIVATIONS, Activation
from onestep.networks.gaussian import Frame, GaussianMatrix

NORM_SLACK = 7.0
"""Gaussian matrices exceed the bound of `gaussian_norm_bound` with probability at most exp(-NORM_SLACK^2 / 2) = 2.3e-11 each."""

Kind = Literal["auto", "dense", "matrix-free"]


def unit_factor(depth: int) -> float:
    """What value and gradient of a relu network are multiplied by when the hidden variance is 1/k in place of 2/k."""
    return float(2.0 ** (-(depth - 1) / 2))


def gaussian_norm_bound(rows: int, columns: int, deviation: float) -> float:
    """Bound on the operator norm of a rows x columns matrix of N(0, deviation^2): s (sqrt m + sqrt n + u), by Gaussian concentration."""
    return deviation * (math.sqrt(rows) + math.sqrt(columns) + NORM_SLACK)


def _signs(generator: np.random.Generator, count: int) -> NDArray[np.int8]:
    """Random +-1, one bit each."""
    bits = np.unpackbits(np.frombuffer(generator.bytes(-(-count // 8)), np.uint8), count=count)
    return 2 * bits.view(np.int8) - 1


@dataclass(frozen=True)
class Shape:
    """What a network looks like; without hidden layers it is the linear function <a, x> / sqrt(d)."""

    dim: int
    widths: tuple[int, ...]
    activation: str = "relu"
    output: Literal["signs", "gaussian"] = "signs"
    gain: float = 2.0
    bias: bool = False  # one more input coordinate, always 1: each first-layer neuron gets a bias N(0, 1/d)

    def __str__(self) -> str:
        return f"width {max(self.widths, default=0):,}, depth {len(self.widths)}, dimension {self.dim:,}"

    @property
    def matrices(self) -> list[tuple[int, int, float]]:
        """Rows, columns and deviation of W_1 .. W_L."""
        fan_in = [self.dim + self.bias, *self.widths[:-1]]
        inverse_variances = [self.dim, *(width / self.gain for width in self.widths[:-1])]
        sizes = zip(self.widths, fan_in, inverse_variances, strict=False)
        return [(rows, columns, 1 / math.sqrt(inverse)) for rows, columns, inverse in sizes]


class Matrix(Protocol):
    """B matrices, m x n each."""

    deviation: float

    def times(self, x: Tensor) -> Tensor:
        """W x for the rows x of [B, r, n]: [B, r, m]."""

    def transposed_times(self, y: Tensor) -> Tensor:
        """W'y for the rows y of [B, r, m]: [B, r, n]."""

    def only(self, matrices: Tensor) -> "Matrix":
        """Some of the matrices."""


class DenseMatrix:
    """B matrices that are held, [B, m, n]."""

    def __init__(self, weights: Tensor, deviation: float) -> None:
        self.weights, self.deviation = weights, deviation

    def times(self, x: Tensor) -> Tensor:
        """W x for the rows x of [B, r, n]: [B, r, m]."""
        return x @ self.weights.mT

    def transposed_times(self, y: Tensor) -> Tensor:
        """W'y for the rows y of [B, r, m]: [B, r, n]."""
        return y @ self.weights

    def only(self, matrices: Tensor) -> "DenseMatrix":
        """Some of the matrices."""
        return DenseMatrix(self.weights[matrices], self.deviation)


def norm_bound(matrix: Matrix, rows: int, columns: int) -> float | NDArray[np.float64]:
    """A bound on the operator norm of each matrix: by concentration, or Frobenius', which is often smaller for a small held matrix."""
    bound = gaussian_norm_bound(rows, columns, matrix.deviation)
    if not isinstance(matrix, DenseMatrix) or matrix.deviation * math.sqrt(rows * columns) > 1.2 * bound:
        return bound
    frobenius = torch.linalg.matrix_norm(matrix.weights).double().clamp(max=bound)
    return np.asarray(frobenius.cpu().numpy())


DRAW, MULTIPLY, QUESTION = 1.0, 0.015, 1300.0
"""Work of one Gaussian number drawn (the unit, about 8 ns), of one number read and multiplied, and of a question whatever its size.
Fitted to measured times; the last one set higher, so that matrices too small to matter are held. `snakemake benchmarks` says what the
choice costs."""


def cheaper(rows: int, columns: int, questions: int, coordinates: int) -> bool:
    """Whether an m x n matrix that is asked this many questions is less work never formed, with vectors of so many coordinates.

    Held: m n numbers are drawn and read once a question. Never formed: each question draws numbers for one side and is multiplied with
    all the earlier ones and their images, about five times.
    """
    held = rows * columns * (DRAW + MULTIPLY * questions)
    free = questions * (QUESTION + (rows + coordinates) / 2 * (DRAW + MULTIPLY * 5 * questions))
    return free < held


def _plan(shape: Shape, inputs: int) -> list[tuple[int, int, int, int]]:
    """Rows, columns, questions and coordinates of W_1 .. W_L, of networks that are asked `inputs` times for value, gradient and root.

    W_1 is asked for x, the gradient and the ray, in a frame of inputs and gradients; the others for each point looked at on the ray.
    """
    frame = min(shape.dim + shape.bias, 2 * inputs + shape.bias)
    first = [(rows, columns, 3 * inputs, frame) for rows, columns, _ in shape.matrices[:1]]
    return first + [(rows, columns, 5 * inputs, columns) for rows, columns, _ in shape.matrices[1:]]


def never_formed(shape: Shape, inputs: int, kind: Kind = "auto") -> list[bool]:
    """Which of W_1 .. W_L are never formed, for networks that are asked `inputs` times for a value, a gradient and a ray's root."""
    if kind != "auto":
        return [kind == "matrix-free"] * len(shape.widths)
    return [cheaper(*plan) for plan in _plan(shape, inputs)]


def numbers_held(shape: Shape, inputs: int, kind: Kind = "auto") -> int:
    """About how many numbers one such network keeps in memory."""
    plans = zip(_plan(shape, inputs), never_formed(shape, inputs, kind), strict=True)
    return sum(4 * questions * (rows + coordinates) if free else rows * columns for (rows, columns, questions, coordinates), free in plans)


@dataclass(frozen=True)
class NetworkRay:
    """The functions t -> f(x + t g) of B networks on I rays each."""

    origin: tuple[list[Tensor], Tensor]  # pre-activations of every layer, [B, I, k] each, and values [B, I], at x
    slope: Tensor  # v = W_1 g   [B, I, k_1]
    hidden: tuple[Matrix, ...]  # W_2 .. W_L
    output: Tensor  # a / sqrt(k_L)   [B, k_L]
    maps: tuple[tuple[NDArray[np.float64], float], ...]  # of W_2 .. W_L and a / sqrt(k_L), as `attacks.ray.Maps`
    activation: Activation = ACTIVATIONS["relu"]

    @property
    def start(self) -> Tensor:
        """u = W_1 x, [B, I, k_1]."""
        return self.origin[0][0]

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every layer, [B, I, k] each, and values [B, I], at the parameters t [B, I]."""
        layers = [self.start + t[..., None].to(self.slope.dtype) * self.slope]
        for weights in self.hidden:
            layers.append(weights.times(self.activation.value(layers[-1])))
        return layers, (self.activation.value(layers[-1]) @ self.output[..., None]).squeeze(-1)

    def only(self, networks: Tensor, inputs: Tensor) -> "NetworkRay":
        """The rays of some of the networks, from some of their inputs: ascending indices."""
        return NetworkRay(
            ([layer[networks][:, inputs] for layer in self.origin[0]], self.origin[1][networks][:, inputs]),
            self.slope[networks][:, inputs],
            # A single network's weights need no copy.
            self.hidden if len(networks) == len(self.output) else tuple(weights.only(networks) for weights in self.hidden),
            self.output[networks],
            tuple((bound[networks.cpu().numpy()], deviation) for bound, deviation in self.maps),
            self.activation,
        )


class RandomNetwork:
    """B independent networks of one shape.

    The input space is R^d or, where the first matrix is never formed and fewer than d directions will be met, the coordinates of a
    frame of these (`onestep.networks.gaussian`): inner products are the true ones either way.
    """

    def __init__(self, shape: Shape, layers: Sequence[Matrix], output: Tensor, frame: Frame) -> None:
        self.shape, self.layers, self.output, self._frame = shape, tuple(layers), output, frame
        self.activation = ACTIVATIONS[shape.activation]

    @property
    def depth(self) -> int:
        """The number of hidden layers L."""
        return len(self.layers)

    @property
    def matrix_free(self) -> list[bool]:
        """Which of W_1 .. W_L are never formed."""
        return [isinstance(matrix, GaussianMatrix) for matrix in self.layers]

    @classmethod
    def sample(
        cls,
        generators: Sequence[np.random.Generator],
        shape: Shape,
        *,
        kind: Kind = "auto",
        inputs: int = 1,
        room: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> "RandomNetwork":
        """One network from each generator, which goes on to draw what is asked of matrices that are never formed.

        `inputs`: how many will be looked at, on which it depends how matrices are best held (`never_formed`), unless `kind` says so.
        `room`: how many directions of the input space will be met (inputs, random directions, gradients); none: R^d itself is kept.
        Numbers are drawn on the CPU, so that every device sees the same networks; matrices that are never formed stay there.
        """
        if device != "cpu" and any(never_formed(shape, inputs, kind)):
            raise ValueError(f"networks whose matrices are never formed live on the CPU, not on {device}")
        free = never_formed(shape, inputs, kind)
        dim = shape.dim + shape.bias
        frame = Frame(dim, room + shape.bias if free and free[0] and room is not None else dim, pinned=int(shape.bias))
        layers: list[Matrix] = []
        for index, ((rows, columns, deviation), unformed) in enumerate(zip(shape.matrices, free, strict=True)):
            if unformed:
                layers.append(GaussianMatrix(generators, rows, columns, deviation, dtype, frame if index == 0 else None))
            else:
                weights = np.empty((len(generators), rows, columns), {torch.float64: np.float64, torch.float32: np.float32}[dtype])
                for matrix, generator in zip(weights, generators, strict=True):
                    generator.standard_normal(out=matrix, dtype=matrix.dtype.type)
                layers.append(DenseMatrix(torch.from_numpy(weights).mul_(deviation).to(device), deviation))
        last = shape.widths[-1] if shape.widths else dim
        draw = [_signs(generator, last) if shape.output == "signs" else generator.standard_normal(last) for generator in generators]
        output = torch.from_numpy(np.stack(draw)).to(device, dtype).div_(math.sqrt(last))
        return cls(shape, layers, output, frame)

    def only(self, networks: Tensor) -> "RandomNetwork":
        """Some of the networks: ask them or the whole from then on, not both."""
        return RandomNetwork(self.shape, [matrix.only(networks) for matrix in self.layers], self.output[networks], self._frame)

    def directions(self, generators: Sequence[np.random.Generator], count: int) -> Tensor:
        """Uniformly random unit vectors [B, count, m] of the input space."""
        dtype = self.output.dtype
        vectors = torch.stack([self._frame.gaussian(generators, torch.float64) for _ in range(count)], 1)
        if self.shape.bias:
            vectors[..., 0] = 0
        vectors /= vectors.norm(dim=-1, keepdim=True)
        return vectors.to(self.output.device, dtype)

    def inputs(self, generators: Sequence[np.random.Generator], count: int) -> Tensor:
        """Uniform points on the sphere of radius sqrt(d), [B, count, m]; the first ones do not depend on how many are asked for."""
        x = self.directions(generators, count) * math.sqrt(self.shape.dim)
        if self.shape.bias:
            x[..., 0] = 1
        return x

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every hidden layer, [B, I, k] each, and values [B, I], at x [B, I, m]."""
        hidden, preactivations = x, []
        for weights in self.layers:
            preactivations.append(weights.times(hidden))
            hidden = self.activation.value(preactivations[-1])
        return preactivations, torch.matmul(hidden, self.output[..., None]).squeeze(-1)

    def gradient(self, preactivations: Sequence[Tensor]) -> Tensor:
        """The input gradient [B, I, m] at the points whose pre-activations `forward` has given."""
        if not preactivations:
            return self.output[:, None, :]
        backward = self.output[:, None, :].expand(*preactivations[-1].shape)
        for weights, preactivation in zip(reversed(self.layers), reversed(preactivations), strict=True):
            backward = weights.transposed_times(backward * self.activation.derivative(preactivation))
        if self.shape.bias:
            backward = torch.cat([torch.zeros_like(backward[..., :1]), backward[..., 1:]], -1)
        return backward

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [B, I] and its input gradient [B, I, m] at x [B, I, m]."""
        preactivations, value = self.forward(x)
        return value, self.gradient(preactivations).expand_as(x)

    def ray(self, x: Tensor, direction: Tensor, origin: tuple[list[Tensor], Tensor] | None = None) -> NetworkRay:
        """The networks along x + t direction: x [B, I, m], the direction the same or one for all inputs, [B, 1, m].

        `origin`: what `forward` has said of x, where it is at hand.
        """
        if not self.layers:
            # z = relu(z) - relu(-z)
            start, slope = ((part @ self.output[..., None]) * self.output.new_tensor([1.0, -1.0]) for part in (x, direction))
            signs = self.output.new_tensor([[1.0, -1.0]]).expand(len(self.output), 2)
            return NetworkRay(([start], start[..., 0]), slope.expand_as(start), (), signs, ((np.full(len(signs), math.sqrt(2)), 1.0),))
        origin = origin or self.forward(x)
        slope = self.layers[0].times(direction).expand_as(origin[0][0])
        maps = []
        for (rows, columns, deviation), matrix in list(zip(self.shape.matrices, self.layers, strict=True))[1:]:
            bound = norm_bound(matrix, rows, columns)
            maps.append((np.full(len(self.output), bound), deviation))
        norm = torch.linalg.vector_norm(self.output, dim=-1).double()
        maps.append((norm.cpu().numpy(), float(self.output.abs().max())))
        return NetworkRay(origin, slope, self.layers[1:], self.output, tuple(maps), self.activation)
