"""Projections onto a hyperplane inside a box, against SciPy's solvers of the same problem."""

import math

import numpy as np
import pytest
import torch
from solvers import least, nearest_corner, reaches, shortest

from onestep.attacks import projection
from onestep.attacks.projection import project, project_near
from onestep.seeds import stream

NORMS = (1, 2, math.inf)
KINDS = ("none", "around", "at a bound")


def problem(kind: str, index: int):
    """A plane and a box around 0 in a few dimensions that may not reach it: without bounds, 0 inside, 0 on some of its faces."""
    rng = stream(0, "projection", kind, index)
    d = int(rng.integers(1, 9))
    normal = rng.standard_normal(d) * (rng.random(d) < 0.9)
    if not normal.any():
        normal[0] = 1.0
    below, above = rng.exponential(size=(2, d))
    if kind == "at a bound":
        below, above = below * (rng.random(d) < 0.5), above * (rng.random(d) < 0.5)
    lower, upper = (np.full(d, -np.inf), np.full(d, np.inf)) if kind == "none" else (-below, above)
    return float(rng.standard_normal() * (1 if d < 4 else 2)), normal, lower, upper


def rows(*parts):
    """One row each, in double precision."""
    return [torch.as_tensor(part, dtype=torch.float64)[None] for part in parts]


def check_shortest(kind: str, norm: float) -> None:
    unreached = 0
    for i in range(100):
        offset, normal, lower, upper = problem(kind, i)
        delta = project(norm, *rows(offset, normal, lower, upper))[0].numpy()
        assert (delta >= lower).all()
        assert (delta <= upper).all()
        if (known := shortest(norm, offset, normal, lower, upper)) is None:
            unreached += 1
            assert delta[normal != 0] == pytest.approx(nearest_corner(offset, normal, lower, upper)[normal != 0], rel=1e-14)
        else:
            assert abs(offset + normal @ delta) < 1e-12
            assert np.linalg.norm(delta, norm) == pytest.approx(known, rel=1e-6, abs=1e-9)
    assert (unreached == 0) if kind == "none" else (5 < unreached < 90)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", NORMS)
def test_it_is_as_short_as_a_solver_finds_on_the_plane_and_inside_the_box(norm: float, kind: str) -> None:
    check_shortest(kind, norm)


@pytest.mark.parametrize("norm", NORMS)
def test_that_check_notices_a_projection_that_forgets_what_the_bounds_have_kept(monkeypatch, norm: float) -> None:
    """Clipped from the plane's nearest point without bounds, it does not reach the plane."""
    exact = projection.project

    def clipped(norm, offset, normal, lower, upper):
        free = torch.full_like(normal, math.inf)
        return exact(norm, offset, normal, -free, free).clamp(lower, upper)

    monkeypatch.setitem(globals(), "project", clipped)
    with pytest.raises(AssertionError):
        check_shortest("around", norm)


@pytest.mark.parametrize("norm", NORMS)
def test_without_bounds_it_is_the_closed_form(norm: float) -> None:
    rng = stream(0, "closed form")
    normal, offset = torch.tensor(rng.standard_normal((300, 40))), torch.tensor(rng.standard_normal(300))
    dual = {1: math.inf, 2: 2, math.inf: 1}[norm]
    bounds = torch.full_like(normal, math.inf)
    delta = project(norm, offset, normal, -bounds, bounds)
    lengths = torch.linalg.vector_norm(delta, norm, dim=1)
    torch.testing.assert_close(lengths, offset.abs() / torch.linalg.vector_norm(normal, dual, dim=1), rtol=1e-13, atol=0)
    torch.testing.assert_close((normal * delta).sum(1), -offset, rtol=1e-12, atol=1e-14)


def image_planes():
    """Five planes and boxes of 10,000 pixels in single precision; the last plane is out of reach."""
    rng = stream(0, "images")
    x = torch.tensor(rng.random((5, 10_000)), dtype=torch.float32)
    normal = torch.tensor(rng.standard_normal((5, 10_000)), dtype=torch.float32)
    return x, torch.tensor([1e-3, 1.0, 30.0, 1500.0, 4100.0]), normal


@pytest.mark.parametrize("norm", NORMS)
def test_in_single_precision_many_coordinates_stay_in_the_box_and_on_the_plane(norm: float) -> None:
    x, offset, normal = image_planes()
    delta = project(norm, offset, normal, -x, 1 - x)
    assert delta.dtype == torch.float32
    assert (x + delta).min() >= 0
    assert (x + delta).max() <= 1
    torch.testing.assert_close((normal * delta).double().sum(1)[:4], -offset.double()[:4], rtol=1e-5, atol=0)
    assert torch.equal(delta[4], torch.where(normal[4] > 0, -x[4], 1 - x[4]))


@pytest.mark.parametrize("norm", NORMS)
def test_from_the_plane_it_does_not_move_nor_does_it_without_a_normal(norm: float) -> None:
    normal = torch.tensor([[1.0, -2.0], [0.0, 0.0], [0.0, 0.0]])
    for bound in (math.inf, 1.0, 0.0):
        bounds = torch.full((3, 2), bound)
        delta = project(norm, torch.tensor([0.0, 1.0, 0.0]), normal, -bounds, bounds)
        assert delta.tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("norm", NORMS)
def test_rows_do_not_see_each_other(norm: float) -> None:
    x, offset, normal = image_planes()
    together = project(norm, offset, normal, -x, 1 - x)
    for i in range(5):
        alone = slice(i, i + 1)
        assert torch.equal(project(norm, offset[alone], normal[alone], -x[alone], 1 - x[alone]), together[alone])


def near_problem(kind: str, index: int):
    """A point that need not be in the box, and a spread: from far less than the entries of the solution to far more."""
    offset, normal, lower, upper = problem(kind, index)
    rng = stream(0, "near", kind, index)
    return rng.standard_normal(len(normal)), float(np.exp(rng.uniform(-3, 2))), offset, normal, lower, upper


def check_least(kind: str) -> None:
    reached = 0
    for i in range(60):
        near, spread, offset, normal, lower, upper = near_problem(kind, i)
        delta = project_near(*rows(near, spread, offset, normal, lower, upper))[0].numpy()
        assert (delta >= lower).all()
        assert (delta <= upper).all()
        if reaches(offset, normal, lower, upper):
            reached += 1
            assert abs(offset + normal @ delta) <= 1e-11 * abs(offset)
            cost = np.abs(delta).sum() + ((delta - near) ** 2).sum() / (2 * spread)
            assert cost == pytest.approx(least(near, spread, offset, normal, lower, upper), rel=1e-6)
        else:
            assert (delta == nearest_corner(offset, normal, lower, upper))[normal != 0].all()
    assert (reached == 60) if kind == "none" else (10 < reached < 55)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_near_costs_as_little_as_a_solver_finds(kind: str) -> None:
    check_least(kind)


def test_that_check_notices_a_search_that_stops_too_early(monkeypatch) -> None:
    monkeypatch.setattr(projection, "ITERATIONS", 3)
    with pytest.raises(AssertionError):
        check_least("around")


def test_what_is_near_is_the_shortest_where_it_is_so_already_and_where_the_spread_is_large() -> None:
    for i in range(60):
        offset, normal, lower, upper = problem("around", i)
        if not reaches(offset, normal, lower, upper):
            continue
        parts = rows(offset, normal, lower, upper)
        nearest = project(1, *parts)
        torch.testing.assert_close(project_near(nearest, torch.ones(1).double(), *parts), nearest, rtol=1e-9, atol=1e-11)
        far = project_near(torch.zeros_like(nearest), torch.full((1,), 1e5).double(), *parts)
        torch.testing.assert_close(far.abs().sum(), nearest.abs().sum(), rtol=1e-6, atol=1e-9)


def test_what_is_near_in_single_precision_is_in_the_box_and_on_the_plane() -> None:
    x, offset, normal = image_planes()
    near = torch.tensor(stream(0, "near images").standard_normal(x.shape), dtype=torch.float32) * 0.01
    delta = project_near(near, torch.full((5,), 0.02), offset, normal, -x, 1 - x)
    assert delta.dtype == torch.float32
    assert (x + delta).min() >= 0
    assert (x + delta).max() <= 1
    torch.testing.assert_close((normal * delta).double().sum(1)[:4], -offset.double()[:4], rtol=1e-5, atol=1e-4)
    assert torch.equal(delta[4], torch.where(normal[4] > 0, -x[4], 1 - x[4]))


def test_what_is_near_without_a_normal_is_as_near_as_without_a_plane() -> None:
    near, spread = torch.tensor([[1.0, -2.0, 0.3]] * 2), torch.tensor([0.5, 0.5])
    bounds = torch.tensor([[1.0], [math.inf]]).expand(2, 3)
    for offset in (0.0, 1.0):
        delta = project_near(near, spread, torch.tensor([offset, -offset]), torch.zeros(2, 3), -bounds, bounds)
        torch.testing.assert_close(delta, torch.tensor([[0.5, -1.0, 0.0], [0.5, -1.5, 0.0]]))
