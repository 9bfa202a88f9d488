"""Networks on square images with two logits: the residual one, one like LeNet, a convolutional and a fully connected one; and two that
are built as `guarantees` assumes in its theorem, with images that are continued periodically and averages that are taken before ReLU.

    f = second logit - first logit,    x [N, side * side * channels], pixel by pixel and its channels together, as `onestep.data` has them.

An architecture is a tuple of layers.
'same' padding is TensorFlow's: ceil(side / stride) outputs a side, zeros at both ends, the odd one at the bottom and the right. Weights
are He's, of variance 2 / fan-in, from a normal law truncated at two of its deviations, the dense ones as well; biases start at 0.

Activations lie channels last in memory, which is how the inputs come: on a CPU the fastest of the layouts tried, in both precisions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onestep.errors import Mistake

TRUNCATED_DEVIATION = 0.8796256610342398
"""Of a standard normal variate that is at most 2 in absolute value."""


@dataclass(frozen=True)
class Convolution:
    """A 'same' convolution with square filters, then the means of 2 x 2 pixels if it is pooled, through ReLU unless it is linear."""

    filters: int
    size: int = 3
    stride: int = 1
    linear: bool = False
    pooled: bool = False


@dataclass(frozen=True)
class Block:
    """relu(body(x) + shortcut(x)), the last convolution of the body linear; without a shortcut relu(body(x) + x)."""

    body: tuple[Convolution, ...]
    shortcut: Convolution | None = None


@dataclass(frozen=True)
class Pool:
    """The means of 2 x 2 pixels; an odd last row or column is left out."""


@dataclass(frozen=True)
class Dense:
    """Fully connected, through ReLU; the first one flattens."""

    units: int


@dataclass(frozen=True)
class Architecture:
    """The layers before the two logits, which are dense and linear."""

    layers: tuple[Convolution | Block | Pool | Dense, ...]
    biases: bool = True
    periodic: bool = False  # the image is continued periodically, not by zeros

    def flattened_side(self, side: int) -> int:
        """The side of the image that is flattened, of inputs with this side; a Mistake where nothing would be left of it."""
        left = side
        for layer in self.layers:
            left = -(-left // stride(layer)) // (2 if pools(layer) else 1)
        if side < 1 or left < 1:
            raise Mistake(f"an image of side {side} is too small for this network; take one of side {2**self.poolings} or more")
        return left

    @property
    def poolings(self) -> int:
        """How many layers take means of pixels."""
        return sum(map(pools, self.layers))

    def stretch(self, side: int) -> float:
        """M = sqrt(|I_0| / |I_Lf|) of the theorem in `guarantees`: the pixels of the input over those that are flattened."""
        return side / self.flattened_side(side)


def pools(layer: Convolution | Block | Pool | Dense) -> bool:
    """Whether a layer takes the means of 2 x 2 pixels."""
    return isinstance(layer, Pool) or (isinstance(layer, Convolution) and layer.pooled)


def stride(layer: Convolution | Block | Pool | Dense) -> int:
    """By how much the convolutions of a layer stride."""
    if isinstance(layer, Block):
        return math.prod(convolution.stride for convolution in layer.body)
    return layer.stride if isinstance(layer, Convolution) else 1


def _block(filters: int, stride: int = 1) -> Block:
    body = (Convolution(filters, stride=stride), Convolution(filters, linear=True))
    return Block(body, None if stride == 1 else Convolution(filters, 1, stride, linear=True))


ARCHITECTURES = {
    # 1 + 3 * 3 * 2 convolutions and the logits: depth 20.
    "resnet": Architecture((Convolution(32), *(_block(f, 1 + (f > 32 and i == 0)) for f in (32, 64, 128) for i in range(3)))),
    "lenet": Architecture((*(Convolution(128), Convolution(128), Pool()) * 2, Dense(512), Dense(512)), biases=False),
    "fully-connected": Architecture((Dense(100), Dense(100)), biases=False),
    "convolutional": Architecture((Convolution(128),) * 4),
    "periodic": Architecture((Convolution(128),) * 4, periodic=True),
    "periodic-pooled": Architecture(tuple(Convolution(128, pooled=i == 1) for i in range(4)), periodic=True),
}


def narrowed(architecture: Architecture, factor: float) -> Architecture:
    """The architecture with this share of its filters and units in every layer, rounded, but one at least."""

    def share(layer: Convolution) -> Convolution:
        return replace(layer, filters=max(1, round(factor * layer.filters)))

    def narrow(layer: Convolution | Block | Pool | Dense) -> Convolution | Block | Pool | Dense:
        if isinstance(layer, Block):
            return Block(tuple(map(share, layer.body)), layer.shortcut and share(layer.shortcut))
        if isinstance(layer, Dense):
            return Dense(max(1, round(factor * layer.units)))
        return share(layer) if isinstance(layer, Convolution) else layer

    return replace(architecture, layers=tuple(map(narrow, architecture.layers)))


def beyond(x: Tensor, size: int, stride: int) -> tuple[int, int, int, int]:
    """How many pixels a 'same' convolution sees beyond the edges of images [N, C, H, W]: left, right, top, bottom."""
    totals = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[-2:]]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    return left, right, top, bottom


def pad(x: Tensor, size: int, stride: int, periodic: bool) -> Tensor:
    """Images [N, C, H, W] with what a 'same' convolution sees beyond their edges."""
    edges = beyond(x, size, stride)
    return functional.pad(x, edges, mode="circular" if periodic else "constant") if any(edges) else x


def shapes(architecture: Architecture, side: int, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and shape of each layer's weights: [filters, channels, size, size], or [units, pixels * channels]."""
    flat = architecture.flattened_side(side) ** 2
    for index, layer in enumerate((*architecture.layers, Dense(2))):
        if isinstance(layer, Dense):
            yield f"{index}", (layer.units, flat * channels)
            flat, channels = 1, layer.units
        elif isinstance(layer, Convolution):
            yield f"{index}", (layer.filters, channels, layer.size, layer.size)
            channels = layer.filters
        elif isinstance(layer, Block):
            entering = channels
            for step, convolution in enumerate(layer.body):
                yield f"{index}.{step}", (convolution.filters, channels, convolution.size, convolution.size)
                channels = convolution.filters
            if layer.shortcut:
                yield f"{index}.shortcut", (channels, entering, layer.shortcut.size, layer.shortcut.size)


def truncated_normal(generator: np.random.Generator, count: int) -> np.ndarray:
    """Standard normal variates [count], drawn again while beyond 2, scaled to variance 1."""
    z = generator.standard_normal(count)
    beyond = np.flatnonzero(abs(z) > 2)
    while beyond.size:
        z[beyond] = generator.standard_normal(beyond.size)
        beyond = beyond[abs(z[beyond]) > 2]
    return z / TRUNCATED_DEVIATION


@dataclass(frozen=True)
class ImageNetwork:
    """One network, random or trained."""

    architecture: Architecture
    side: int
    channels: int
    weights: dict[str, Tensor]  # "<layer>.weight" and, where there are biases, "<layer>.bias"

    @classmethod
    def sample(
        cls,
        generator: np.random.Generator,
        architecture: Architecture,
        side: int,
        channels: int = 3,
        *,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> "ImageNetwork":
        """A random network, drawn on the CPU in double precision: the same one, rounded, for each device and dtype."""
        weights: dict[str, Tensor] = {}
        for name, shape in shapes(architecture, side, channels):
            fan_in = math.prod(shape[1:])
            drawn = torch.from_numpy(truncated_normal(generator, math.prod(shape))).mul_(math.sqrt(2 / fan_in)).reshape(shape)
            layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
            weights[f"{name}.weight"] = drawn.to(device, dtype, memory_format=layout)
            if architecture.biases:
                weights[f"{name}.bias"] = torch.zeros(shape[0], dtype=dtype, device=device)
        return cls(architecture, side, channels, weights)

    def _parameters(self, name: str) -> tuple[Tensor, Tensor | None]:
        return self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")

    def _convolve(self, layer: Convolution, name: str, x: Tensor) -> Tensor:
        periodic, (left, right, top, bottom) = self.architecture.periodic, beyond(x, layer.size, layer.stride)
        if not periodic and (left, top) == (right, bottom):
            # A seventh of a gradient's time is saved where the convolution itself adds the zeros.
            z = functional.conv2d(x, *self._parameters(name), stride=layer.stride, padding=(top, left))
        else:
            z = functional.conv2d(pad(x, layer.size, layer.stride, periodic), *self._parameters(name), stride=layer.stride)
        z = functional.avg_pool2d(z, 2) if layer.pooled else z
        return z if layer.linear else z.relu_()

    def features(self, x: Tensor) -> Tensor:
        """What the logits are linear in, [N, F] at x [N, d], d = side * side * channels."""
        h = x.reshape(len(x), self.side, self.side, self.channels).permute(0, 3, 1, 2)
        for index, layer in enumerate(self.architecture.layers):
            if isinstance(layer, Convolution):
                h = self._convolve(layer, f"{index}", h)
            elif isinstance(layer, Pool):
                h = functional.avg_pool2d(h, 2)
            elif isinstance(layer, Block):
                shortcut = self._convolve(layer.shortcut, f"{index}.shortcut", h) if layer.shortcut else h
                for step, convolution in enumerate(layer.body):
                    h = self._convolve(convolution, f"{index}.{step}", h)
                h = (h + shortcut).relu_()
            else:
                h = functional.linear(h.flatten(1), *self._parameters(f"{index}")).relu_()
        return h.flatten(1)

    def logits(self, x: Tensor) -> Tensor:
        """Both logits [N, 2] at x [N, d]."""
        return functional.linear(self.features(x), *self._parameters(f"{len(self.architecture.layers)}"))

    def deviation(self, x: Tensor) -> Tensor:
        """The standard deviation [N] of f(x) over random weights of the logits, those before them as they are: 2 ||features|| / sqrt(F)."""
        with torch.no_grad():
            features = self.features(x)
        lengths: Tensor = torch.linalg.vector_norm(features, dim=1)
        return lengths * (2 / math.sqrt(features.shape[1]))

    def value(self, x: Tensor) -> Tensor:
        """f [N] at x [N, d]: above 0 where the second logit is the larger one."""
        first, second = self.logits(x).unbind(-1)
        return second - first

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [N] and its gradient [N, d] at x [N, d], for `attacks.minimal`; weights that are being trained keep their gradients."""
        # cuDNN would round single precision to TF32's 10 bits, and add in an order of its own.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
            point = x.detach().requires_grad_()
            value = self.value(point)
            (gradient,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), gradient
