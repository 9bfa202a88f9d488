"""Certificates over all networks of a ball, against networks that reach them and networks drawn from the ball."""

import math

import torch

from onestep.theory.ball import certain_flip, changeable, extremes

M, D, V = 60, 7, 0.3


def network(seed: int):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(M, D, generator=generator, dtype=torch.float64)
    signs = torch.where(torch.rand(M, generator=generator) < 0.5, -1.0, 1.0).double()
    x = torch.randn(5, D, generator=generator, dtype=torch.float64)
    return weights, signs, x, generator


def value(weights: torch.Tensor, signs: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x @ weights.T).relu() @ signs / math.sqrt(M)


def drawn(weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A network on the surface of the ball."""
    moved = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
    return weights + V * moved / moved.norm(dim=1, keepdim=True)


def test_the_extremes_are_the_values_of_two_networks_of_the_ball() -> None:
    for seed in range(20):
        weights, signs, x, _ = network(seed)
        low, high = extremes(x @ weights.T, signs, V * x.norm(dim=1, keepdim=True))
        for i in range(len(x)):
            outward = V * signs[:, None] * x[i] / x[i].norm()
            assert torch.isclose(value(weights + outward, signs, x[i]), high[i], atol=1e-12)
            assert torch.isclose(value(weights - outward, signs, x[i]), low[i], atol=1e-12)


def test_no_network_of_the_ball_has_a_value_beyond_the_extremes_and_only_changeable_neurons_change() -> None:
    for seed in range(20):
        weights, signs, x, generator = network(seed)
        u, reach = x @ weights.T, V * x.norm(dim=1, keepdim=True)
        low, high = extremes(u, signs, reach)
        count = changeable(u, reach)
        for _ in range(50):
            other = drawn(weights, generator)
            assert ((value(other, signs, x) >= low) & (value(other, signs, x) <= high)).all()
            assert (((x @ other.T > 0) != (u > 0)).sum(1) <= count).all()


def test_a_ball_of_radius_zero_is_one_network() -> None:
    weights, signs, x, _ = network(0)
    low, high = extremes(x @ weights.T, signs, 0.0)
    assert torch.equal(low, high)
    assert torch.allclose(low, value(weights, signs, x), atol=1e-12)
    assert changeable(x @ weights.T, 0.0).sum() == 0


def flip(weights: torch.Tensor, signs: torch.Tensor, x: torch.Tensor, label: torch.Tensor, radius: float):
    """The certain flip of each x along -label grad f(x; W_0), and that direction."""
    u = x @ weights.T
    gradient = ((u > 0) * signs / math.sqrt(M)) @ weights
    p = -label[:, None] * gradient
    return certain_flip(weights, signs, x, p, label, radius, torch.full_like(label, 0.1)), p


def test_behind_a_certain_flip_no_network_of_the_ball_has_the_label() -> None:
    found = 0
    for seed in range(20):
        weights, signs, x, generator = network(seed)
        label = torch.where(value(weights, signs, x) < 0, -1.0, 1.0).double()
        t, p = flip(weights, signs, x, label, 0.02)
        certain = t.isfinite()
        found += int(certain.sum())
        points = (x + t[:, None] * p)[certain]
        for _ in range(20):
            assert (label[certain] * value(drawn(weights, generator) * 0.02 / V + weights * (1 - 0.02 / V), signs, points) < 0).all()
    assert found > 50


def test_for_a_single_network_a_certain_flip_is_a_sign_change_of_it() -> None:
    weights, signs, x, _ = network(3)
    label = torch.where(value(weights, signs, x) < 0, -1.0, 1.0).double()
    t, p = flip(weights, signs, x, label, 0.0)
    certain = t.isfinite()
    assert certain.any()
    before, after = ((x + share * t[:, None] * p)[certain] for share in (1 - 1e-3, 1.0))
    assert (label[certain] * value(weights, signs, after) < 0).all()
    assert (label[certain] * value(weights, signs, before) >= 0).all()
