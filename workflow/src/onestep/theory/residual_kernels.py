"""The Gaussian process that an image network (`onestep.networks.residual`) is when all its layers are wide, and its gradient's size.

Carried from layer to layer are the second moments of one channel h, for two inputs x and y, of each pixel p with its neighbours p + o,

    E h(x, p) h(x, p + o),    E h(y, p) h(y, p + o),    E h(x, p) h(y, p + o),

and the slope s(p) = E ||grad h(x, p)||^2. Neighbours are needed only ahead of a pooling; else o = 0. Weights are independent, of
variance 2 / fan-in and mean 0, biases 0, so

- a convolution sums all of them over its patch, times 2 / size^2; a dense layer over the image, times 2 / pixels,
- ReLU of normal variates is `rectified_product`; s is halved,
- a pooled pixel is the mean of four: its moments are means over 4 x 4 pairs, s is a quarter of the mean of four.

**Shortcuts without weights.** A block adds its normal body Y_j to what has passed a ReLU and is not normal: h_j = relu(h_(j-1) + Y_j),
h_0 = relu(Y_0), with Y_0, Y_1, .. independent, until the next shortcut with weights. So a channel is a random walk that is kept above
0; its moments are means over quasi-random walks. (To add the kernels and take the arc-cosine formula would be wrong: for two variances
of 1 it gives 1 in place of 1 + 1 / (2 pi).)

**The gradient.** s takes the weights on the way back for independent of those on the way forward, which is exact for convolutions and
dense layers. Elsewhere the parts of the gradient that go along the variates' own growth add up coherently, and s is too small: by 2%
behind such shortcuts, which is let be, by 2 to 8% behind poolings, where s is scaled to the exact E (df/dx_i)^2 of some pixels.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from onestep.errors import Mistake
from onestep.networks.residual import Architecture, Convolution, Dense, Pool, pad, pools, stride

POINTS = 12
"""log2 of how many walks there are. Errors of the residual network's Var f: 0.1%; of its E (f(x) - f(y))^2: 0.5% for near x, y, else 7%."""
CHUNK = 64
"""Of how many pixels they are followed at a time."""
ENTRIES, STEP = 16, 1e-3
"""Of how many entries of the gradient the exact variance is computed, and the step of its differences, relative to the entries of x."""
TINY = 1e-100


@dataclass(frozen=True)
class Moments:
    """Second moments of one channel: pairs [P, B, O, O, H, W] and slopes [B, H, W].

    P is xx alone or xx, yy, xy; neighbours p + o have o from -r to r in both directions, O = 2 r + 1.
    Behind ReLU and poolings they are 0 where p + o is beyond the edge.
    """

    pairs: Tensor
    slope: Tensor

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.pairs + other.pairs, self.slope + other.slope)

    @property
    def radius(self) -> int:
        """r."""
        return self.pairs.shape[2] // 2

    @property
    def own(self) -> Tensor:
        """Of each pixel with itself, [1 or 2, B, H, W]: x and y."""
        return self.pairs[:2, :, self.radius, self.radius]

    def members(self, own: Tensor, periodic: bool) -> tuple[Tensor, Tensor]:
        """What `own` [1 or 2, B, H, W] says of the first and the second member of every pair, [P, B, O, O, H, W] each."""
        first, second = _members(len(own))
        return own[first, :, None, None].expand_as(self.pairs), _neighbours(own, self.radius, periodic)[second]


def _members(inputs: int) -> tuple[list[int], list[int]]:
    """Which inputs the first and the second members of the pairs xx, or xx, yy, xy, belong to."""
    return ([0], [0]) if inputs == 1 else ([0, 1, 0], [0, 1, 1])


def _neighbours(maps: Tensor, radius: int, periodic: bool) -> Tensor:
    """What lies at p + o, [.., O, O, H, W], of maps [.., H, W]."""
    height, width = maps.shape[-2:]
    wide = functional.pad(maps.reshape(-1, 1, height, width), (radius,) * 4, mode="circular" if periodic else "constant")
    return wide.unfold(2, height, 1).unfold(3, width, 1).reshape(*maps.shape[:-2], 2 * radius + 1, 2 * radius + 1, height, width)


# ---------------------------------------------------------------------------------------------- ReLU


def rectified_product(a: Tensor, b: Tensor, k: Tensor) -> Tensor:
    """E relu(u) relu(v) = (sqrt(a b) sin t + (pi - t) k) / (2 pi) of normal u, v with variances a, b and covariance k = sqrt(a b) cos t.

    It is homogeneous of degree 1, so it is the sum of its arguments times its derivatives: autograd meets no 0 / 0 where u = v.
    """
    with torch.no_grad():
        scale = (a * b).sqrt().clamp(min=TINY)
        cosine = (k / scale).clamp(-1, 1)
        sine = ((1 - cosine) * (1 + cosine)).sqrt()
        by_a, by_b, by_k = sine * b / scale / (4 * math.pi), sine * a / scale / (4 * math.pi), (math.pi - cosine.arccos()) / (2 * math.pi)
    return torch.where(scale > TINY, by_a * a + by_b * b + by_k * k, 0)


@cache
def _normal_points(dimensions: int) -> Tensor:
    """Quasi-random standard normal points [dimensions, 2 ** POINTS, 1]."""
    uniform = stats.qmc.Sobol(dimensions, rng=0).random_base2(POINTS)
    return torch.from_numpy(stats.norm.ppf(uniform).T.copy())[..., None]


def walk_moments(steps: Tensor) -> tuple[Tensor, Tensor]:
    """E[h_j Y_i; i] / Var Y_i and P(i), [j + 1, n] each, of walks with Var Y_i = `steps`; i: the event that h_i, .., h_j are all above 0.

    There h_j is the sum of these Y_i, so that E h_j^2 = sum of Var Y_i times the first, which are its derivatives, as in
    `rectified_product`.
    """
    growths, shares = [], []
    for chunk in torch.split(steps, CHUNK, 1):
        h = torch.zeros(())
        alive: list[Tensor] = []
        for deviation, z in zip(chunk.sqrt(), _normal_points(len(steps)), strict=True):
            h = (h + deviation * z).relu()
            alive = [event & (h > 0) for event in (*alive, torch.ones_like(h, dtype=torch.bool))]
        along = [(h * event * z).mean(0) for event, z in zip(alive, _normal_points(len(steps)), strict=True)]
        growths.append(torch.stack(along) / chunk.sqrt().clamp(min=TINY))
        shares.append(torch.stack([event.double().mean(0) for event in alive]))
    return torch.cat(growths, 1), torch.cat(shares, 1)


def walk_distance(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """E (h_j - k_j)^2 / (E h_j^2 + E k_j^2) [n] of walks with steps Y_i and Z_i: Var Y_i, Var Z_i and E Y_i Z_i, [j + 1, n] each.

    The difference, because it keeps its digits where the two are nearly equal; the ratio, because its errors largely cancel.
    Y_i = sqrt(a) z, Z_i = c / sqrt(a) z + rest z'. The square of the linearised difference, the sum of the Z_i - Y_i since h was last 0,
    is replaced by its mean over z', which leaves little to chance where the two are near.
    """
    points = _normal_points(2 * len(a))
    left = a.clamp(min=TINY).sqrt()
    along, rest = c / left, (b - c.square() / a.clamp(min=TINY)).clamp(min=TINY).sqrt()
    h = k = linear = mean = variance = torch.zeros(())
    for i, (z, other) in enumerate(zip(points[::2], points[1::2], strict=True)):
        h, k = (h + left[i] * z).relu(), (k + along[i] * z + rest[i] * other).relu()
        linear = (linear + (along[i] - left[i]) * z + rest[i] * other) * (h > 0)
        mean = (mean + (along[i] - left[i]) * z) * (h > 0)
        variance = (variance + rest[i].square()) * (h > 0)
    squares = (h - k).square() - linear.square() + mean.square() + variance
    return squares.sum(0) / (h.square() + k.square()).sum(0).clamp(min=TINY)


def _rectified(walk: list[Moments], periodic: bool) -> Moments:
    """Of relu(.. relu(relu(Y_0) + Y_1) .. + Y_j), the Y normal with these moments."""
    last = walk[-1]
    if len(walk) == 1:
        a, b = last.members(last.own, periodic)
        # A variate that is 0, its patch being black, stays 0 nearby as far as the gradient goes: relu'(0) = 0.
        return Moments(rectified_product(a, b, last.pairs), torch.where(last.own[0] > 0, last.slope / 2, 0))
    own, slopes = torch.stack([y.own for y in walk]), torch.stack([y.slope for y in walk])
    with torch.no_grad():
        growth, shares = (values.reshape(own.shape) for values in walk_moments(own.flatten(1)))
    first, second = last.members((growth * own).sum(0), periodic)
    pairs = (first + second) / 2
    a, b = (torch.stack(parts) for parts in zip(*(y.members(y.own, periodic) for y in walk), strict=True))
    c = torch.stack([y.pairs for y in walk])
    apart = (a + b > 2 * c).any(0)
    if apart.any():
        chunks = zip(*(torch.split(values[:, apart], CHUNK, 1) for values in (a, b, c)), strict=True)
        distance = torch.cat([walk_distance(*chunk) for chunk in chunks])
        pairs = pairs.masked_scatter(apart, pairs[apart] * (1 - distance))
    return Moments(pairs, (slopes * shares[:, 0]).sum(0))


# ---------------------------------------------------------------------------------------------- linear layers


def patch_sums(layer: Convolution, maps: Tensor, periodic: bool) -> Tensor:
    """2 / size^2 times the sums of maps [.., H, W] over the patches of a convolution, zeros beyond the edge included."""
    kernel = maps.new_full((1, 1, layer.size, layer.size), 2 / layer.size**2)
    images = maps.reshape(-1, 1, *maps.shape[-2:])
    sums = functional.conv2d(pad(images, layer.size, layer.stride, periodic), kernel, stride=layer.stride)
    return sums.reshape(*maps.shape[:-2], *sums.shape[-2:])


def _convolved(layer: Convolution, moments: Moments, periodic: bool) -> Moments:
    # Neighbours that are o apart behind a stride were stride * o apart before it.
    every = slice(moments.radius % layer.stride, None, layer.stride)
    sums = Moments(patch_sums(layer, moments.pairs[:, :, every, every], periodic), patch_sums(layer, moments.slope, periodic))
    return _pooled(sums, periodic) if layer.pooled else sums


def _pooled(moments: Moments, periodic: bool) -> Moments:
    height, width = (side // 2 * 2 for side in moments.slope.shape[-2:])
    count = moments.radius // 2 * 2 + 1

    def pairs(i: int, j: int, k: int, m: int) -> Tensor:
        # Pixel (i, j) of one square of four with pixel (k, m) of another, o squares apart: 2 o + (k - i, m - j) pixels.
        rows, columns = (slice(1 + apart, 2 * count + apart, 2) for apart in (k - i, m - j))
        return moments.pairs[:, :, rows, columns, i:height:2, j:width:2]

    means = torch.stack([pairs(*corners) for corners in itertools.product((0, 1), repeat=4)]).mean(0)
    # Neighbours beyond the edge may have been made of an odd last row or column, which is left out.
    inside = _neighbours(torch.ones_like(means[0, 0, 0, 0]), count // 2, periodic)
    return Moments(means * inside, functional.avg_pool2d(moments.slope, 2) / 4)


def _dense(moments: Moments) -> Moments:
    mean = moments.pairs[:, :, moments.radius, moments.radius].mean((-2, -1), keepdim=True)
    return Moments(2 * mean[:, :, None, None], 2 * moments.slope.mean((-2, -1), keepdim=True))


# ---------------------------------------------------------------------------------------------- the network


def _output(architecture: Architecture, images: Tensor, slope: Tensor) -> Moments:
    """Of f, for images [1 or 2, B, side, side, C] and the slopes [B, side, side] to begin with."""
    layers, periodic, side = architecture.layers, architecture.periodic, images.shape[2]
    architecture.flattened_side(side)  # refuses images of which nothing would be left
    whole = 2**architecture.poolings * math.prod(map(stride, layers))
    if periodic and side % whole:
        # Neighbours are looked up around the image.
        raise Mistake(f"side {side}: the poolings of this periodic network leave out pixels: no kernel; take a multiple of {whole}")
    radius = 0
    for layer in reversed(layers):
        radius = stride(layer) * (2 * radius + 1 if pools(layer) else radius)
    pixels = images.movedim(-1, 2)
    first, second = _members(len(images))
    pairs = torch.einsum("pbchw,pbcijhw->pbijhw", pixels[first], _neighbours(pixels, radius, periodic)[second]) / images.shape[-1]
    moments = Moments(pairs, slope)
    walk: list[Moments] = []  # the normal variates that `moments` is made of
    for layer in layers:
        if isinstance(layer, Pool):
            moments, walk = _pooled(moments, periodic), []
            continue
        if isinstance(layer, Dense):
            walk = [_dense(moments)]
        elif isinstance(layer, Convolution):
            walk = [_convolved(layer, moments, periodic)]
        else:
            body = moments
            for inner in layer.body[:-1]:
                body = _rectified([_convolved(inner, body, periodic)], periodic)
            body = _convolved(layer.body[-1], body, periodic)
            if layer.shortcut is None and not walk:
                raise ValueError("what a shortcut without weights passes on has to come from a ReLU")
            walk = [body + _convolved(layer.shortcut, moments, periodic)] if layer.shortcut else [*walk, body]
        moments = _rectified(walk, periodic)
    logit = _dense(moments)
    return logit + logit


def _images(x: Tensor, side: int) -> Tensor:
    return x.double().reshape(len(x), side, side, -1)


def _moments(architecture: Architecture, side: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Var f(x), Var f(y) and their covariance, [B] each."""
    images = torch.stack([_images(x, side), _images(y, side)])
    one, other, both = _output(architecture, images, images.new_ones(images.shape[1:4])).pairs.flatten(1)
    return one, other, both


def covariance(architecture: Architecture, side: int, x: Tensor, y: Tensor) -> Tensor:
    """K(x, y) = E f(x) f(y) [B] for pairs x, y [B, d] of images with this side, d = side * side * channels; differentiable."""
    return _moments(architecture, side, x, y)[2]


def squared_distance(architecture: Architecture, side: int, x: Tensor, y: Tensor) -> Tensor:
    """E (f(x) - f(y))^2 = K(x, x) + K(y, y) - 2 K(x, y) [B] for pairs x, y [B, d]; differentiable."""
    one, other, both = _moments(architecture, side, x, y)
    return one + other - 2 * both


def mixed_derivatives(architecture: Architecture, side: int, x: Tensor, entries: Tensor) -> Tensor:
    """E (df/dx_i)^2 [n] at one x [d], i in `entries` [n]: the limit of E (f(x + h e_i) - f(x))^2 / h^2, by a small h."""
    step = STEP * float(x.square().mean().sqrt())
    moved = x + step * functional.one_hot(entries, len(x))
    return torch.cat([squared_distance(architecture, side, x.expand_as(y), y) for y in torch.split(moved, 4)]) / step**2


def variances(architecture: Architecture, side: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Var f [B] and the variances of the entries of its gradient [B, d], whose sum is E ||grad f||^2, at x [B, d]."""
    images = _images(x, side)
    ones = images.new_ones(images.shape[:3]).requires_grad_()
    f = _output(architecture, images[None], ones)
    # f's slope is linear in those of the input, and the channels of a pixel share alike.
    (shares,) = torch.autograd.grad(f.slope.sum(), ones)
    entries = (shares[..., None] / images.shape[-1]).expand(images.shape).flatten(1).clone()
    if architecture.poolings:
        for point, variance in zip(images.flatten(1), entries, strict=True):
            lit = point.nonzero().flatten()
            chosen = lit[torch.from_numpy(np.random.default_rng(0).permutation(len(lit))[:ENTRIES])]
            if len(chosen):
                variance *= mixed_derivatives(architecture, side, point, chosen).sum() / variance[chosen].sum()
    return f.pairs.detach().flatten(), entries


def first_order(
    generator: np.random.Generator, architecture: Architecture, side: int, x: Tensor, draws: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draws of f [B] and its gradient [B, d] at x [B, d], normal, all entries independent, with the variances of the wide network.

    Only the sizes are those of the network: its gradient's entries are slightly dependent, and <x, grad f(x)> = f(x).
    """
    deviations = [values.sqrt() for values in variances(architecture, side, x)]
    for _ in range(draws):
        value, gradient = (torch.from_numpy(generator.standard_normal(tuple(each.shape))) * each for each in deviations)
        yield value, gradient
