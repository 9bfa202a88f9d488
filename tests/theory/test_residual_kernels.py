"""The kernels of image networks against a recursion over all pairs of pixels, closed forms, random networks and their own differences."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from onestep.errors import Mistake
from onestep.networks.residual import ARCHITECTURES, Architecture, Block, Convolution, Dense, ImageNetwork, Pool
from onestep.seeds import stream
from onestep.theory import residual_kernels as kernels

LEVEL = 1e-4
"""Of every statistical test: the chance that a right program would have been rejected, had the seed not been fixed."""


def images(count: int, side: int, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(stream(0, "images", side).random((count, side * side * channels)))


# ---------------------------------------------------------------------------------------------- all pairs of pixels, in loops


def arc_cosine(k: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.multiply.outer(a, b))
    t = np.arccos(np.clip(np.divide(k, scale, out=np.zeros_like(k), where=scale > 0), -1, 1))
    return scale * (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi)


def matrix_of(layer: Convolution | Pool, side: int, periodic: bool) -> tuple[list[list[int]], int]:
    """Which pixel (or none, -1) each pixel behind the layer sees at each place of its patch, and the side behind it."""
    if isinstance(layer, Pool):
        out, size, stride, before = side // 2, 2, 2, 0
    else:
        out, size, stride = -(-side // layer.stride), layer.size, layer.stride
        before = max((out - 1) * stride + size - side, 0) // 2
    places = []
    for i, j in itertools.product(range(out), repeat=2):
        seen = []
        for a, b in itertools.product(range(size), repeat=2):
            row, column = i * stride + a - before, j * stride + b - before
            if periodic:
                row, column = row % side, column % side
            seen.append(row * side + column if 0 <= row < side and 0 <= column < side else -1)
        places.append(seen)
    return places, out


def all_pairs(architecture: Architecture, side: int, x: np.ndarray, y: np.ndarray) -> float:
    """E f(x) f(y) of a network without blocks, from the [pixels, pixels] matrices of xx, yy and xy."""
    x, y = x.reshape(side * side, -1), y.reshape(side * side, -1)
    grams = [u @ v.T / x.shape[1] for u, v in ((x, x), (y, y), (x, y))]

    def moved(layer: Convolution | Pool) -> list[np.ndarray]:
        nonlocal side
        seen, side = matrix_of(layer, side, architecture.periodic)
        places = np.array(seen).T
        wide = [np.pad(k, (0, 1)) for k in grams]  # index -1: a zero
        if isinstance(layer, Pool):
            return [sum(k[np.ix_(left, right)] for left, right in itertools.product(places, places)) / 16 for k in wide]
        return [sum(k[np.ix_(place, place)] for place in places) * 2 / layer.size**2 for k in wide]

    for layer in architecture.layers:
        grams = [np.array([[2 * np.trace(k) / len(k)]]) for k in grams] if isinstance(layer, Dense) else moved(layer)
        if isinstance(layer, Convolution) and layer.pooled:
            grams = moved(Pool())
        if not isinstance(layer, Pool):
            a, b = np.diag(grams[0]), np.diag(grams[1])
            grams = [arc_cosine(k, *variances) for k, variances in zip(grams, ((a, a), (b, b), (a, b)), strict=True)]
    return float(4 * np.trace(grams[2]) / len(grams[2]))


STRIDED = Architecture((Convolution(1), Convolution(1, 3, 2), Pool(), Convolution(1, 1, 2), Dense(1)))
POOLED_FIRST = Architecture((Pool(), Convolution(1, 3, 2), Convolution(1, pooled=True)))
POOLED_TWICE = Architecture((Convolution(1), Convolution(1, pooled=True), Convolution(1), Pool(), Convolution(1)), periodic=True)


@pytest.mark.parametrize(
    ("architecture", "side"),
    [
        *((ARCHITECTURES[name], side) for name in ("lenet", "convolutional", "fully-connected", "periodic") for side in (8, 9)),
        *((architecture, side) for architecture in (STRIDED, POOLED_FIRST) for side in (8, 9, 11)),
        *((architecture, side) for architecture in (ARCHITECTURES["periodic-pooled"], POOLED_TWICE) for side in (4, 8)),
    ],
)
def test_covariances_are_those_of_the_recursion_over_all_pairs_of_pixels(architecture: Architecture, side: int) -> None:
    x, y = images(2, side).numpy()
    y[: len(y) // 3] = 0  # pixels without variance
    expected = [all_pairs(architecture, side, *pair) for pair in ((x, y), (y, x), (x, x))]
    ones, others = (torch.from_numpy(np.stack(parts)) for parts in ((x, y, x), (y, x, x)))
    assert kernels.covariance(architecture, side, ones, others).numpy() == pytest.approx(expected, rel=1e-9)
    assert float(kernels.variances(architecture, side, ones)[0][0]) == pytest.approx(expected[2], rel=1e-9)


def test_a_periodic_network_whose_poolings_leave_out_pixels_is_refused() -> None:
    with pytest.raises(Mistake, match=r"leave out pixels.*; take a multiple of 2"):
        kernels.variances(ARCHITECTURES["periodic-pooled"], 5, images(1, 5))


def test_a_shortcut_of_what_has_not_passed_a_relu_is_refused() -> None:
    with pytest.raises(ValueError, match="ReLU"):
        kernels.variances(Architecture((Block((Convolution(3, linear=True),)),)), 4, images(1, 4))


# ---------------------------------------------------------------------------------------------- walks


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_moments_of_walks_are_spitzers(n: int) -> None:
    """Of n equal steps N(0, v): h = max(0, S_1, .. S_n) in law, E h^2 = n v / 2 + v / (2 pi) sum over i + j <= n of 1 / sqrt(i j)."""
    v = 1.7
    growths, shares = kernels.walk_moments(torch.full((n, 1), v).double())
    pairs = sum(1 / math.sqrt(i * j) for i, j in itertools.product(range(1, n), repeat=2) if i + j <= n)
    assert v * float(growths.sum()) == pytest.approx(n * v / 2 + v / (2 * math.pi) * pairs, rel=2e-3)
    # No first passage below 0, Sparre Andersen: binom(2 n, n) / 4^n.
    assert float(shares[0]) == pytest.approx(math.comb(2 * n, n) / 4**n, abs=2e-3)


def test_the_growths_of_walks_are_the_derivatives_of_their_squares() -> None:
    steps = torch.tensor([[1.0], [0.3], [2.0]]).double()
    growths, _ = kernels.walk_moments(steps)
    for i, growth in enumerate(growths[:, 0]):
        step = 1e-3 * torch.nn.functional.one_hot(torch.tensor([i]), 3).T
        above, below = ((values * kernels.walk_moments(values)[0]).sum() for values in (steps + step, steps - step))
        assert float(growth) == pytest.approx(float(above - below) / 2e-3, rel=1e-3)


@pytest.mark.parametrize("apart", [1.0, 0.1, 1e-3])
def test_the_distance_of_two_walks_is_that_of_many_random_ones(apart: float) -> None:
    """Four standard errors of 400,000 pairs, and 2%, 0.5% where they are near, of the program's own."""
    a = np.array([1.0, 0.5, 2.0])
    b, c = a * (1 + np.array([-0.3, 0.2, 0.4]) * apart), a * (1 - np.array([0.4, 0.1, 0.2]) * apart)
    rng = stream(0, "walks")
    h = np.zeros((400_000, 2))
    for p, q, r in zip(a, b, c, strict=True):
        h = np.maximum(h + rng.multivariate_normal([0, 0], [[p, r], [r, q]], len(h)), 0)
    square = (h[:, 0] - h[:, 1]) ** 2
    sizes = (h**2).sum(1).mean()
    found = float(kernels.walk_distance(*(torch.from_numpy(values)[:, None] for values in (a, b, c))))
    error = 4 * square.std() / math.sqrt(len(h)) + (0.02 if apart > 0.01 else 0.005) * square.mean()
    assert found * sizes == pytest.approx(square.mean(), abs=error)


# ---------------------------------------------------------------------------------------------- against random networks


def features(net: ImageNetwork, x: torch.Tensor) -> torch.Tensor:
    """What enters the logits, [N, F]: in place of them, one unit for each feature."""
    last = f"{len(net.architecture.layers)}"
    count = net.weights[f"{last}.weight"].shape[1]
    weights = {**net.weights, f"{last}.weight": torch.eye(count, dtype=x.dtype)}
    weights.pop(f"{last}.bias", None)
    return replace(net, weights=weights).logits(x)


def measured(architecture: Architecture, side: int, networks: int) -> np.ndarray:
    """Of each network [networks, 5]: what its logits' weights, random still, make of Var f(x), Var f(y), Cov, E (f(x) - f(y))^2; and
    ||grad f(x)||^2 of its f."""
    x = images(2, side).float()
    rows = []
    for index in range(networks):
        net = ImageNetwork.sample(stream(0, "measured", index), architecture, side, dtype=torch.float32)
        h = features(net, x).double()
        (xx, xy), (_, yy) = (4 * (h @ h.T) / h.shape[1]).tolist()
        rows.append([xx, yy, xy, xx + yy - 2 * xy, float(net(x[:1])[1].double().square().sum())])
    return np.array(rows)


def predicted(architecture: Architecture, side: int) -> list[float]:
    x, y = images(2, side).split(1)
    (one, slopes), (other, _) = kernels.variances(architecture, side, x), kernels.variances(architecture, side, y)
    both, apart = kernels.covariance(architecture, side, x, y), kernels.squared_distance(architecture, side, x, y)
    return [float(one), float(other), float(both), float(apart), float(slopes.sum())]


def wide_resnet(width: int) -> Architecture:
    """A small one with all that the large one has: shortcuts without weights, two in a row, and one with a stride."""
    last = Convolution(width, linear=True)
    plain, strided = Block((Convolution(width), last)), Block((Convolution(width, 3, 2), last), Convolution(width, 1, 2, linear=True))
    return Architecture((Convolution(width), plain, plain, strided, plain))


@pytest.mark.parametrize(
    ("architecture", "side", "networks"),
    [
        (wide_resnet(128), 4, 150),
        (ARCHITECTURES["periodic-pooled"], 4, 200),
        (Architecture((*(Convolution(64), Convolution(64), Pool()) * 2, Dense(128)), biases=False), 6, 250),
    ],
    ids=["resnet", "periodic-pooled", "lenet"],
)
def test_random_networks_have_the_moments_of_the_wide_one(architecture: Architecture, side: int, networks: int) -> None:
    """Their means, of each by Student's t, within 3% for the finite width."""
    samples, means = measured(architecture, side, networks), predicted(architecture, side)
    for sample, mean in zip((samples / means).T, means, strict=True):
        error = stats.t.isf(LEVEL / 2, networks - 1) * sample.std(ddof=1) / math.sqrt(networks)
        assert error < 0.15, "too few networks to tell"
        assert abs(sample.mean() - 1) < error + 0.03, mean


# ---------------------------------------------------------------------------------------------- the gradient


@pytest.mark.parametrize("name", ["convolutional", "periodic", "fully-connected"])
def test_the_variances_of_the_gradient_are_exact_where_nothing_adds_up_coherently(name: str) -> None:
    x = images(1, 6)
    entries = torch.arange(0, x.shape[1], 7)
    exact = kernels.mixed_derivatives(ARCHITECTURES[name], 6, x[0], entries)
    torch.testing.assert_close(kernels.variances(ARCHITECTURES[name], 6, x)[1][0, entries], exact, rtol=2e-3, atol=0)


@pytest.mark.parametrize(("name", "close"), [("resnet", 0.03), ("lenet", 0.03), ("periodic-pooled", 0.01)])
def test_the_variances_of_the_gradient_add_up_to_the_exact_ones(name: str, close: float) -> None:
    x = images(1, 8)
    entries = torch.arange(0, x.shape[1], 11)
    exact = kernels.mixed_derivatives(ARCHITECTURES[name], 8, x[0], entries)
    assert float(kernels.variances(ARCHITECTURES[name], 8, x)[1][0, entries].sum() / exact.sum()) == pytest.approx(1, abs=close)


@pytest.mark.parametrize("name", ["resnet", "lenet", "periodic-pooled"])
def test_networks_without_biases_are_homogeneous(name: str) -> None:
    """f(2 x) = 2 f(x): four times the variance, the same gradient."""
    x = images(2, 8)
    (value, gradient), (larger, same) = (kernels.variances(ARCHITECTURES[name], 8, scale * x) for scale in (1, 2))
    torch.testing.assert_close(larger, 4 * value)
    torch.testing.assert_close(same, gradient)


@pytest.mark.parametrize("name", ["resnet", "convolutional"])
def test_what_only_black_patches_see_has_no_gradient(name: str) -> None:
    x = images(1, 8).reshape(1, 8, 8, 3)
    x[:, :, 4:] = 0
    gradient = kernels.variances(ARCHITECTURES[name], 8, x.flatten(1))[1].reshape(8, 8, 3)
    assert (gradient[:, :6] > 0).all()
    assert not gradient[:, 6:].any()


@pytest.mark.parametrize("architecture", [*map(ARCHITECTURES.get, ("lenet", "periodic-pooled")), wide_resnet(1)])
def test_the_kernels_are_differentiable(architecture: Architecture) -> None:
    """By both arguments; also where they have a pixel's patch in common, and at x = y, where E (f(x) - f(y))^2 is smallest."""
    x, y = images(2, 4).split(1)
    y[:, :24] = x[:, :24]
    direction = torch.from_numpy(stream(0, "direction").standard_normal(y.shape))
    for kernel in (kernels.covariance, kernels.squared_distance):
        for one, other in ((x, y), (y, x)):
            point = other.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(kernel(architecture, 4, one, point).sum(), point)
            above, below = (kernel(architecture, 4, one, other + step * direction) for step in (1e-5, -1e-5))
            assert float((gradient * direction).sum()) == pytest.approx(float(above - below) / 2e-5, rel=1e-3, abs=1e-5)
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kernels.squared_distance(architecture, 4, x, point).sum(), point)
    assert float(gradient.abs().max()) < 1e-9


def test_first_order_draws_have_the_variances() -> None:
    """Chi-squared sums; the draws of one generator depend on nothing else."""
    architecture, x = ARCHITECTURES["periodic-pooled"], images(2, 4)
    value, gradient = (torch.stack(parts) for parts in zip(*kernels.first_order(stream(0, "law"), architecture, 4, x, 400), strict=True))
    assert gradient.shape == (400, *x.shape)
    for drawn, variance in zip((value, gradient), kernels.variances(architecture, 4, x), strict=True):
        standard = drawn / variance.sqrt()
        assert stats.kstest(standard.flatten(), stats.norm.cdf).pvalue > LEVEL
    correlation = (value[..., None] * gradient).mean(0) / (value.square().mean(0)[:, None] * gradient.square().mean(0)).sqrt()
    assert float(correlation.abs().max()) < stats.norm.isf(LEVEL / 2 / correlation.numel()) / math.sqrt(400)
    first = next(kernels.first_order(stream(0, "law"), architecture, 4, x, 1))
    assert torch.equal(first[1], gradient[0])
