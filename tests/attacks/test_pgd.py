"""Projected gradient descent against closed forms and a scan of the ball."""

import math

import pytest
import torch

from onestep.attacks import pgd
from onestep.networks.two_layer import TwoLayer

RADIUS = 0.3


def linear(slope: torch.Tensor) -> pgd.Gradient:
    return lambda x: slope.expand_as(x)


def network(seed: int, m: int = 40, d: int = 2) -> TwoLayer:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(m, d, generator=generator, dtype=torch.float64)
    return TwoLayer(weights, torch.where(torch.rand(m, generator=generator) < 0.5, -1.0, 1.0).double())


def labelled(seed: int, n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, d, generator=generator, dtype=torch.float64), torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0).double()


@pytest.mark.parametrize("steps", [1, 3, 100])
def test_on_a_linear_model_it_ends_at_the_point_of_the_ball_with_the_smallest_margin(steps: int) -> None:
    x, y = labelled(0, 10, 6)
    slope = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = x - RADIUS * y[:, None] * slope / slope.norm()
    assert torch.allclose(pgd.l2(linear(slope), x, y, RADIUS, steps), expected, atol=1e-12)


@pytest.mark.parametrize("box", [False, True])
def test_it_leaves_neither_the_ball_nor_the_box(box: bool) -> None:
    x, y = labelled(2, 600, 5)
    points = pgd.l2(network(0, d=5).gradient, x, y, RADIUS, 20, box=box)
    assert ((points - x).norm(dim=1) <= RADIUS * (1 + 1e-12)).all()
    outside = ((points < 0) | (points > 1)).any()
    assert not outside if box else outside


def test_on_small_networks_a_hundred_steps_come_close_to_the_smallest_margin_of_a_scan_of_the_ball() -> None:
    angles = torch.linspace(0, 2 * math.pi, 361, dtype=torch.float64)[:-1]
    radii = torch.linspace(0, RADIUS, 61, dtype=torch.float64)
    disc = torch.stack([radii[:, None] * angles.cos(), radii[:, None] * angles.sin()], -1).reshape(-1, 2)
    worse = []
    for seed in range(10):
        net = network(seed)
        x, y = labelled(seed, 20, 2)
        lowest = torch.stack([(y[i] * net.value(x[i] + disc)).min() for i in range(len(x))])
        start, found = y * net.value(x), y * net.value(pgd.l2(net.gradient, x, y, RADIUS, 100))
        # A scan of a grid misses the minimum by little, a local search where there are several minima.
        assert (found >= lowest - 0.05 * (start - lowest)).all()
        worse.append((found - lowest) / (start - lowest))
    shares = torch.cat(worse)
    assert shares.median() < 0.01
    assert (shares > 0.1).double().mean() < 0.05


def test_the_first_coordinate_of_a_network_with_a_hidden_bias_does_not_move() -> None:
    x, y = labelled(3, 10, 4)
    x[:, 0] = 1
    net = network(1, d=4)
    biased = TwoLayer(net.weights, net.signs, biased=True)
    assert torch.equal(pgd.l2(biased.gradient, x, y, RADIUS, 5)[:, 0], x[:, 0])
    assert not torch.equal(pgd.l2(net.gradient, x, y, RADIUS, 5)[:, 0], x[:, 0])


def test_a_budget_of_zero_leaves_the_image_and_so_does_a_network_without_a_gradient() -> None:
    x, y = labelled(4, 10, 3)
    assert torch.equal(pgd.l2(network(0, d=3).gradient, x, y, 0.0, 5), x)
    assert torch.equal(pgd.l2(linear(torch.zeros(3, dtype=torch.float64)), x, y, RADIUS, 5), x)
