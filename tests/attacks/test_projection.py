"""Projections onto a hyperplane inside a box, against SciPy's solvers of the same problem."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog

from onestep.attacks.projection import project
from onestep.errors import Mistake
from onestep.seeds import stream

NORMS = (1, 2, math.inf)
KINDS = ("none", "around", "at a bound", "apart")


def problem(kind: str, index: int):
    """A plane and a box in a few dimensions that may not reach it: without bounds, around 0, with 0 on some faces, or apart from 0."""
    rng = stream(0, "projection", kind, index)
    d = int(rng.integers(1, 9))
    normal = rng.standard_normal(d) * (rng.random(d) < 0.9)
    if not normal.any():
        normal[0] = 1.0
    middle = rng.standard_normal(d) * (kind == "apart")
    below, above = rng.exponential(size=(2, d))
    if kind == "at a bound":
        below, above = below * (rng.random(d) < 0.5), above * (rng.random(d) < 0.5)
    lower, upper = (np.full(d, -np.inf), np.full(d, np.inf)) if kind == "none" else (middle - below, middle + above)
    return rng.standard_normal() * (1 if d < 4 else 2), normal, lower, upper


def projected(norm: float, offset, normal, lower, upper):
    parts = (torch.tensor(part, dtype=torch.float64)[None] for part in (normal, lower, upper))
    found = project(norm, torch.tensor([offset], dtype=torch.float64), *parts)
    return found.delta[0].numpy(), bool(found.reached[0])


def by_linear_program(norm: float, offset, normal, lower, upper) -> float | None:
    """The smallest l1 or l-infinity norm: with sizes s >= |delta|, one for each coordinate or one for all, the least sum of s."""
    d = len(normal)
    sizes = d if norm == 1 else 1
    size = np.eye(d) if norm == 1 else np.ones((d, 1))
    inequalities = np.block([[np.eye(d), -size], [-np.eye(d), -size]])
    plane = np.concatenate([normal, np.zeros(sizes)])[None]
    bounds = [*zip(lower, upper, strict=True), *[(0, None)] * sizes]
    cost = np.concatenate([np.zeros(d), np.ones(sizes)])
    result = linprog(cost, inequalities, np.zeros(2 * d), plane, [-offset], bounds)
    return result.fun if result.status == 0 else None


def by_multiplier(offset, normal, lower, upper) -> float | None:
    """The smallest l2 norm: delta = clip(mu normal) solves it for the mu that puts it on the plane."""

    def height(mu):
        return offset + normal @ np.clip(mu * normal, lower, upper)

    low, high = -1e6, 1e6
    if height(low) * height(high) > 0:
        return None
    mu = brentq(height, low, high, xtol=1e-14, rtol=1e-14)
    return float(np.linalg.norm(np.clip(mu * normal, lower, upper)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", NORMS)
def test_it_is_as_short_as_a_solver_finds_on_the_plane_and_inside_the_box(norm: float, kind: str) -> None:
    unreached = 0
    for i in range(100):
        offset, normal, lower, upper = problem(kind, i)
        delta, reached = projected(norm, offset, normal, lower, upper)
        assert (delta >= lower).all()
        assert (delta <= upper).all()
        shortest = by_multiplier(offset, normal, lower, upper) if norm == 2 else by_linear_program(norm, offset, normal, lower, upper)
        assert reached == (shortest is not None)
        if shortest is None:
            unreached += 1
            side = np.sign(offset + normal @ delta)
            nearest = np.where(side * normal > 0, lower, upper)
            assert (delta == nearest)[normal != 0].all()
        else:
            assert abs(offset + normal @ delta) < 1e-12
            assert np.linalg.norm(delta, norm) == pytest.approx(shortest, rel=1e-6, abs=1e-9)
    assert (unreached == 0) if kind == "none" else (5 < unreached < 90)


@pytest.mark.parametrize("norm", NORMS)
def test_without_bounds_it_is_the_closed_form(norm: float) -> None:
    rng = stream(0, "closed form")
    normal, offset = torch.tensor(rng.standard_normal((300, 40))), torch.tensor(rng.standard_normal(300))
    dual = {1: math.inf, 2: 2, math.inf: 1}[norm]
    bounds = torch.full_like(normal, math.inf)
    found = project(norm, offset, normal, -bounds, bounds)
    assert found.reached.all()
    torch.testing.assert_close(
        torch.linalg.vector_norm(found.delta, norm, dim=1), offset.abs() / torch.linalg.vector_norm(normal, dual, dim=1), rtol=1e-13, atol=0
    )
    torch.testing.assert_close((normal * found.delta).sum(1), -offset, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("norm", NORMS)
def test_in_single_precision_many_coordinates_stay_in_the_box_and_on_the_plane(norm: float) -> None:
    rng = stream(0, "images")
    x = torch.tensor(rng.random((5, 10_000)), dtype=torch.float32)
    normal = torch.tensor(rng.standard_normal((5, 10_000)), dtype=torch.float32)
    offset = torch.tensor([1e-3, 1.0, 30.0, 1500.0, 4100.0])
    found = project(norm, offset, normal, -x, 1 - x)
    assert found.reached.tolist() == [True] * 4 + [False]
    assert (x + found.delta).min() >= 0
    assert (x + found.delta).max() <= 1
    torch.testing.assert_close((normal * found.delta).double().sum(1)[:4], -offset.double()[:4], rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_from_the_plane_it_does_not_move_and_without_a_normal_it_reaches_nothing(norm: float) -> None:
    normal = torch.tensor([[1.0, -2.0], [0.0, 0.0], [0.0, 0.0]])
    offset, bounds = torch.tensor([0.0, 1.0, 0.0]), torch.full((3, 2), math.inf)
    found = project(norm, offset, normal, -bounds, bounds)
    assert found.delta.tolist() == [[0.0, 0.0]] * 3
    assert found.reached.tolist() == [True, False, True]


def test_another_norm_is_a_mistake() -> None:
    one = torch.ones(1, 1)
    with pytest.raises(Mistake, match="norm 3: "):
        project(3, one[0], one, -one, one)
