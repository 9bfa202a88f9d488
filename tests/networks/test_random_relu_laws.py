"""Laws that random networks obey exactly, at every width: tests on tens of thousands of networks.

With ||x|| = sqrt(d) the first pre-activations are N(0, 1). Given the layer before, a row w of a later layer is N(0, 2/k) in every entry,
and w and -w are as likely: relu halves E (w.h)^2 and E |w'M|^2 alike, He's 2/k makes up for it. Hence, at any width and depth,

    E f = 0,    Var f = 1/2,    E ||grad f||^2 = 1/2.

Each test rejects at LEVEL, for a fixed seed, and is shown to reject a network that is wrong.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sphere import random_inputs

from onestep.networks.random_relu import RandomNetwork, Shape, unit_factor
from onestep.seeds import stream

pytestmark = pytest.mark.laws

LEVEL = 1e-4
"""Of every test: the chance that a right program would have been rejected, had the seed not been fixed."""
NETWORKS, BLOCK = 20_000, 2_000
SHAPES = [(1, 1, 3), (1, 10, 5), (1, 100, 30), (2, 4, 5), (3, 12, 10), (6, 24, 10)]


def networks(rng: np.random.Generator, depth: int, width: int, dim: int) -> RandomNetwork:
    return RandomNetwork.sample([rng] * BLOCK, Shape(dim, (width,) * depth), kind="dense")


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "L{}-k{}-d{}".format(*shape))
def drawn(request: pytest.FixtureRequest) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Depth, f, ||grad f||^2 and f with every output weight positive, of one input of each of many networks."""
    depth, width, dim = request.param
    parts = []
    for start in range(0, NETWORKS, BLOCK):
        rng = stream(0, "laws", *request.param, start)
        nets, x = networks(rng, depth, width, dim), random_inputs([rng] * BLOCK, 1, dim)
        value, gradient = nets.value_and_gradient(x)
        nets.output.abs_()
        unsigned, _ = nets.value_and_gradient(x)
        parts.append(torch.cat([value, gradient.square().sum(-1), unsigned], -1))
    f, squared_gradient, unsigned = torch.cat(parts).numpy().T
    return depth, f, squared_gradient, unsigned


def p_value(samples: np.ndarray, mean: float) -> float:
    """Of the hypothesis that the samples have this mean: normal approximation."""
    return float(2 * stats.norm.sf(abs(samples.mean() - mean) / (samples.std(ddof=1) / math.sqrt(len(samples)))))


def test_the_value_has_mean_zero_and_variance_one_half(drawn) -> None:
    _, f, _, _ = drawn
    assert p_value(f, 0.0) > LEVEL
    assert p_value(f**2, 0.5) > LEVEL


def test_the_gradient_has_mean_square_norm_one_half(drawn) -> None:
    _, _, squared_gradient, _ = drawn
    assert p_value(squared_gradient, 0.5) > LEVEL


def test_the_wrong_hidden_variance_is_rejected(drawn) -> None:
    """1/k in place of 2/k; of one hidden layer, whose law does not have it, 1.9/d in place of 1/d: less than the depths have."""
    depth, f, squared_gradient, _ = drawn
    factor = unit_factor(depth) if depth > 1 else math.sqrt(0.9)
    assert p_value((factor * f) ** 2, 0.5) < LEVEL
    assert p_value(factor**2 * squared_gradient, 0.5) < LEVEL


def test_positive_and_negative_values_are_equally_likely(drawn) -> None:
    _, f, _, unsigned = drawn
    assert stats.binomtest(int((f > 0).sum()), int((f != 0).sum())).pvalue > LEVEL
    assert stats.binomtest(int((unsigned > 0).sum()), int((unsigned != 0).sum())).pvalue < LEVEL


def test_the_value_of_a_wide_network_is_normal_and_that_of_a_narrow_one_is_not() -> None:
    """By Kolmogorov and Smirnov, on 20,000 networks of 400 hidden neurons: only there is the normal law a limit."""

    def values(width: int) -> np.ndarray:
        rng = stream(0, "normal", width)
        blocks = [(networks(rng, 1, width, 3), random_inputs([rng] * BLOCK, 1, 3)) for _ in range(NETWORKS // BLOCK)]
        return torch.cat([nets.value_and_gradient(x)[0] for nets, x in blocks]).numpy().ravel()

    assert stats.kstest(values(400), stats.norm(0, math.sqrt(0.5)).cdf).pvalue > LEVEL
    assert stats.kstest(values(3), stats.norm(0, math.sqrt(0.5)).cdf).pvalue < LEVEL


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_random_inputs_are_uniform_on_the_sphere(dim: int) -> None:
    """Every squared coordinate over d is then Beta(1/2, (d-1)/2); points of a cube pushed out to the sphere are not."""
    law = stats.beta(0.5, (dim - 1) / 2)
    net = RandomNetwork.sample([stream(0, "sphere network")], Shape(dim, (1,)), kind="dense")
    x = net.inputs([stream(0, "sphere", dim)], NETWORKS)[0].numpy()
    cube = stream(0, "cube", dim).uniform(-1, 1, (NETWORKS, dim))
    cube *= math.sqrt(dim) / np.linalg.norm(cube, axis=1, keepdims=True)
    for axis in range(min(dim, 3)):
        assert stats.kstest(x[:, axis] ** 2 / dim, law.cdf).pvalue > LEVEL
        assert stats.binomtest(int((x[:, axis] > 0).sum()), NETWORKS).pvalue > LEVEL
        assert stats.kstest(cube[:, axis] ** 2 / dim, law.cdf).pvalue < LEVEL
