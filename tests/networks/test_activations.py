"""Activations: their derivatives by automatic differentiation, and the bound on how far they leave their chords."""

import numpy as np
import pytest
import torch

from onestep.networks.activations import ACTIVATIONS

every = pytest.mark.parametrize("name", ACTIVATIONS)
SMOOTH = {"tanh": torch.tanh, "softplus": torch.nn.functional.softplus, "gelu": torch.nn.functional.gelu}


@every
def test_it_is_zero_at_zero(name: str) -> None:
    assert float(ACTIVATIONS[name].value(torch.zeros(1).double())) == 0


@pytest.mark.parametrize("name", SMOOTH)
def test_values_and_derivatives_are_those_of_torch(name: str) -> None:
    activation, z = ACTIVATIONS[name], torch.linspace(-9, 9, 1001, dtype=torch.float64, requires_grad=True)
    value = SMOOTH[name](z) - SMOOTH[name](torch.zeros(1).double())
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    for ours, theirs in ((activation.value, value), (activation.derivative, first), (activation.second_derivative, second)):
        torch.testing.assert_close(ours(z).detach(), theirs.detach(), rtol=1e-10, atol=1e-14)


@every
def test_slope_and_curvature_are_bounded_and_the_bounds_are_reached(name: str) -> None:
    activation, z = ACTIVATIONS[name], torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    slope = float(activation.derivative(z).abs().max())
    assert slope == pytest.approx(activation.lipschitz, rel=1e-4)
    assert slope <= activation.lipschitz * (1 + 1e-12)
    if activation.second_derivative is not None:
        curvature = float(activation.second_derivative(z).abs().max())
        assert curvature == pytest.approx(activation.curvature, rel=1e-7)
        assert curvature <= activation.curvature * (1 + 1e-12)


@every
def test_it_leaves_its_chord_by_no_more_than_its_bends_say(name: str) -> None:
    activation = ACTIVATIONS[name]
    p, q = 3 * torch.randn(2, 20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    peak, left, right = map(torch.from_numpy, activation.bends(p.numpy(), q.numpy()))
    tightest = 0.0
    for theta in np.linspace(0.01, 0.99, 50):
        chord = (1 - theta) * activation.value(p) + theta * activation.value(q)
        off = (activation.value((1 - theta) * p + theta * q) - chord).abs()
        bound = torch.minimum(torch.minimum(theta * left, (1 - theta) * right), peak)
        assert (off <= bound + 1e-12).all()
        tightest = max(tightest, float((off / bound.clamp(min=1e-9)).max()))
    assert tightest > 0.9  # a bound much smaller would be exceeded
