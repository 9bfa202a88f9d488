"""The first sign change along a direction, against a fine grid and against roots that are known."""

import math

import numpy as np
import pytest
import torch

from onestep.attacks import scan
from onestep.attacks.ray import two_layer_roots
from onestep.attacks.scan import first_root
from onestep.networks.residual import ARCHITECTURES, ImageNetwork
from onestep.seeds import stream


def wavy(points):
    """f = cos |y|_1, whose sign changes at odd multiples of pi / 2 along the first axis."""
    return points[:, 0].cos(), torch.nn.functional.one_hot(torch.zeros(len(points), dtype=torch.long), points.shape[1]) * -points.sin()


def test_known_roots_from_both_signs_and_none_below_the_cap() -> None:
    x = torch.tensor([[0.0, 1.0], [1.5, 1.0], [2.0, 0.0], [0.0, 0.0]]).double()
    v = torch.tensor([[1.0, 0.0]]).double().expand(4, 2)
    root, value = first_root(wavy, x, v, torch.tensor([3.0, 3.0, 4.0, 1.5]).double())
    expected = [math.pi / 2, math.pi / 2 - 1.5, 3 * math.pi / 2 - 2, math.nan]
    assert root.tolist() == pytest.approx(expected, rel=2e-5, nan_ok=True)
    assert value.tolist() == pytest.approx(x[:, 0].cos().tolist())


def test_a_dip_between_two_points_is_seen_by_its_tangents(monkeypatch) -> None:
    """f = (t - c)^2 - 1e-4, c midway between two points, changes its sign twice within a sixteenth of the way."""

    c = 8.5 / scan.POINTS

    def dip(points):
        return (points[:, 0] - c) ** 2 - 1e-4, 2 * (points - c)

    x, v, cap = torch.zeros(1, 1).double(), torch.ones(1, 1).double(), torch.ones(1).double()
    assert float(first_root(dip, x, v, cap)[0]) == pytest.approx(c - 0.01, rel=2e-5)
    monkeypatch.setattr(scan, "_doubtful", lambda value, *rest: value > math.inf)
    assert first_root(dip, x, v, cap)[0].isnan().all()


def test_of_two_layers_it_is_the_exact_root() -> None:
    rng = stream(0, "scan")
    W, a = torch.tensor(rng.standard_normal((400, 30)) / math.sqrt(30)), torch.tensor(rng.choice([-1.0, 1.0], 400) / 20)

    def model(points):
        z = points @ W.T
        return z.relu() @ a, ((z > 0) * a) @ W

    x, v = torch.tensor(rng.standard_normal((2, 200, 30)))
    v = v / v.norm(dim=1, keepdim=True)
    cap = 2 * x.norm(dim=1)
    found, value = first_root(model, x, v, cap)
    sign = torch.where(value < 0, -1.0, 1.0)[:, None]
    exact = two_layer_roots(x @ W.T, v @ W.T, sign * a, cap=float(cap.max())).t
    exact = torch.where(exact <= cap, exact, torch.nan)
    both = ~found.isnan() & ~exact.isnan()
    assert both.sum() > 50
    # Twice in a grid's step: a shorter root may be missed, seldom.
    assert ((found - exact).abs()[both] <= 2e-5 * exact[both]).double().mean() > 0.99
    assert (found.isnan() == exact.isnan()).double().mean() > 0.99
    assert (found >= exact * (1 - 1e-6))[both].all()


def test_of_an_image_network_a_fine_grid_sees_no_earlier_one() -> None:
    architecture, side = ARCHITECTURES["resnet"], 8
    for index in range(3):
        rng = stream(0, "scanned", index)
        net = ImageNetwork.sample(rng, architecture, side, dtype=torch.float32)
        x = torch.tensor(rng.random((2, 192)), dtype=torch.float32)
        v = torch.tensor(rng.standard_normal((2, 192)), dtype=torch.float32)
        v, cap = v / v.norm(dim=1, keepdim=True), x.norm(dim=1)
        root, value = first_root(net, x, v, cap)
        shares = torch.linspace(0, 1, 501)[1:]
        for i in range(2):
            with torch.no_grad():
                values = net.value(x[i] + (shares * cap[i])[:, None] * v[i])
            changed = np.flatnonzero((values * value[i] < 0).numpy())
            assert bool(root[i].isnan()) == (not len(changed))
            if len(changed):
                assert float(root[i] / cap[i]) == pytest.approx(float(shares[changed[0]]), abs=1 / 500)


def test_on_the_boundary_there_is_no_sign_to_change() -> None:
    x = torch.tensor([[math.pi / 2, 0.0]]).double()
    zero = lambda points: (torch.zeros(len(points)).double(), torch.zeros_like(points))  # noqa: E731
    assert first_root(zero, x, torch.ones_like(x), torch.ones(1).double())[0].isnan().all()
