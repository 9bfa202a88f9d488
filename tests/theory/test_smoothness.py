"""Theorem 2's inequalities against random pairs, closed forms and a search whose result is known."""

import math

import pytest
import torch

from onestep.networks.residual import ARCHITECTURES, Architecture, Block, Convolution, Pool
from onestep.seeds import stream
from onestep.theory import residual_kernels as kernels
from onestep.theory import smoothness

IN_CLASS = ["periodic", "periodic-pooled", "fully-connected"]


def pairs(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and what is added to them: patterns and random ones, of three lengths."""
    x = smoothness.patterns(stream(0, "pairs"), side)
    changes = torch.cat([scale * x.roll(shift, 0) for scale, shift in ((1, 1), (0.1, 3), (0.001, 4), (-1, 2))])
    return x.repeat(4, 1), changes


# ---------------------------------------------------------------------------------------------- the certificate


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_pair_lies_outside_the_weighted_energies(name: str) -> None:
    """2% of leeway for walks with large steps between them."""
    x, change = pairs(8)
    lower, upper = smoothness.energy_weights(ARCHITECTURES[name], 8)
    leeway = 1.02 if name == "resnet" else 1 + 1e-6
    assert (kernels.covariance(ARCHITECTURES[name], 8, x[:10], x[:10]) * leeway >= x[:10].square() @ lower).all()
    assert (kernels.squared_distance(ARCHITECTURES[name], 8, x, x + change) <= change.square() @ upper * leeway).all()


@pytest.mark.parametrize("name", ["convolutional", "periodic", "fully-connected"])
def test_without_poolings_and_shortcuts_the_weights_are_those_of_the_gradient(name: str) -> None:
    x = torch.from_numpy(stream(0, "x").random((1, 192)))
    value, gradient = kernels.variances(ARCHITECTURES[name], 8, x)
    for weights in smoothness.energy_weights(ARCHITECTURES[name], 8):
        torch.testing.assert_close(weights, gradient[0])
        torch.testing.assert_close(x.square() @ weights, value)


@pytest.mark.parametrize("side", [8, 12])
def test_the_certificate_is_one_where_the_theorem_holds_and_above_elsewhere(side: int) -> None:
    """C = 2 / sqrt(n) where nothing is pooled, half of it behind one pooling; zero padding, strides, shortcuts: above."""
    for name in ARCHITECTURES:
        value = smoothness.certificate(ARCHITECTURES[name], side)
        assert value == pytest.approx(1, abs=1e-12) if name in IN_CLASS else value > 2
    least = [float(smoothness.energy_weights(ARCHITECTURES[name], side)[0].min().sqrt()) for name in IN_CLASS]
    assert least == pytest.approx([2 / side / math.sqrt(3), 1 / side / math.sqrt(3), 2 / side / math.sqrt(3)])


def test_means_of_the_image_itself_may_vanish() -> None:
    """A chequerboard of signs, whose means are 0: there is no C."""
    pooled = Architecture((Convolution(1, pooled=True), Convolution(1)), periodic=True)
    assert not smoothness.energy_weights(pooled, 4)[0].any()
    x = smoothness.patterns(stream(0, "x"), 4)[7:8]
    assert float(kernels.covariance(pooled, 4, x, x)) < 1e-12
    assert float(kernels.covariance(ARCHITECTURES["periodic-pooled"], 4, x, x)) > 0.1


def test_the_energies_of_a_shortcut_counted_by_hand() -> None:
    """One pixel, one channel: 1 x 1 convolutions. v = 2 x^2, behind ReLU x^2; body: 2 x^2, ReLU x^2, 2 x^2; f: 4 times."""
    one = Convolution(1, 1)
    net = Architecture((one, Block((one, Convolution(1, 1, linear=True)))))
    assert [float(weights) for weights in smoothness.energy_weights(net, 1, 1)] == pytest.approx([4 * (1 + 1), 4 * (1 + 2)])
    assert [float(w[0]) for w in smoothness.energy_weights(Architecture((one, Pool())), 2, 1)] == pytest.approx([0.25, 1])


# ---------------------------------------------------------------------------------------------- the search


@pytest.mark.parametrize("name", ["convolutional", *IN_CLASS])
def test_the_search_finds_what_is_known_and_nothing_beyond_it(name: str) -> None:
    """The largest ratio of distances, 2 / sqrt(n) or that of the heaviest pixel; the largest C, but for poolings."""
    architecture, side = ARCHITECTURES[name], 4
    lower, upper = smoothness.energy_weights(architecture, side)
    largest = smoothness.largest_distance_ratio(stream(0, "search"), architecture, side, 20)
    assert 1 - 1e-3 < largest / float(upper.max().sqrt()) < 1 + 1e-8
    smallest = smoothness.smallest_deviation_ratio(stream(0, "search"), architecture, side, 20)
    above = smallest / float(lower.min().sqrt())
    assert 1.1 < above < 1.3 if architecture.poolings else above == pytest.approx(1)


def test_an_ascent_climbs_from_random_pairs_to_the_heaviest_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random pairs see something like the mean of the weights; the best of them, on the way up, nearly the largest."""
    monkeypatch.setattr(smoothness, "patterns", lambda generator, side: torch.from_numpy(generator.standard_normal((4, 3 * side**2))))
    architecture = ARCHITECTURES["convolutional"]
    upper = smoothness.energy_weights(architecture, 6)[1]
    start, end = (smoothness.largest_distance_ratio(stream(0, "climb"), architecture, 6, steps) ** 2 for steps in (1, 60))
    assert start < 0.85 * float(upper.max())
    assert end > 0.98 * float(upper.max())
