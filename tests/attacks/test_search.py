"""The second search: it comes near closed forms from bad starts, so what it does not find nearer has been looked for."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from solvers import shortest

from onestep.attacks import search
from onestep.attacks.minimal import smallest
from onestep.attacks.search import closer, into_ball
from onestep.networks.residual import Architecture, Convolution, Dense, ImageNetwork, Pool
from onestep.seeds import stream

NORMS = (1, 2, math.inf)
BOX = (0.0, 1.0)


def length(vectors, norm):
    return torch.linalg.vector_norm(vectors, norm, dim=-1)


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_point_of_a_ball_is_the_one_that_a_solver_finds(norm: float) -> None:
    for i in range(40):
        rng = stream(0, "ball", i)
        vector, radius = rng.standard_normal(int(rng.integers(1, 6))), float(rng.exponential())
        found = into_ball(torch.tensor(vector)[None], norm, torch.tensor([radius], dtype=torch.float64))[0].numpy()
        assert np.linalg.norm(found, norm) <= radius * (1 + 1e-12)
        if np.linalg.norm(vector, norm) <= radius:
            assert found == pytest.approx(vector, rel=1e-15)
            continue
        # It has the signs of the vector: what is left are sizes >= 0, with a smooth constraint.
        assert abs(found) == pytest.approx(shrunk(abs(vector), norm, radius), abs=1e-4)


def shrunk(sizes, norm: float, radius: float):
    """The nearest sizes >= 0 in the ball, by SciPy."""
    room = {1: lambda parts: radius - parts.sum(), 2: lambda parts: radius**2 - parts @ parts, math.inf: lambda parts: radius - parts}[norm]
    limits = {"bounds": [(0, None)] * len(sizes), "constraints": [{"type": "ineq", "fun": room}]}
    return minimize(lambda parts: ((parts - sizes) ** 2).sum(), 0 * sizes, method="SLSQP", options={"ftol": 1e-14}, **limits).x


def linear(normal, offset):
    return lambda points: ((points * normal).sum(1) + offset, normal.expand_as(points))


def bad_starts(boxed: bool, norm: float, count: int = 12):
    """Hyperplanes, inputs, perturbations that end on them in some direction at least 1.3 times too far, and the true distances."""
    for i in range(count):
        rng = stream(0, "bad start", i)
        d = int(rng.integers(4, 30))
        normal, x = rng.standard_normal(d), rng.random(d)
        ends = (-x, 1 - x) if boxed else (np.full(d, -np.inf), np.full(d, np.inf))
        corner = np.where(normal > 0, 1 - x, -x)
        value = -float(0.3 * normal @ corner)
        known = shortest(norm, value, normal, *ends)
        assert known is not None
        for _ in range(1000):
            # Some of the way to points of the box that are nearer to the corner than to the input.
            move = corner * rng.random(d)
            start = move * (-value / (normal @ move)) if normal @ move > 0 else corner
            if (start >= ends[0]).all() and (start <= ends[1]).all() and np.linalg.norm(start, norm) >= 1.3 * known:
                break
        else:
            start = corner
        yield torch.tensor(normal), value - float(normal @ x), torch.tensor(x)[None], torch.tensor(start)[None] * (1 + 1e-9), known


def ratios(boxed: bool, norm: float) -> np.ndarray:
    found = []
    for i, (normal, offset, x, start, known) in enumerate(bad_starts(boxed, norm)):
        assert length(start, norm) >= 1.3 * known
        distance = closer(linear(normal, offset), x, start, norm, BOX if boxed else None, stream(0, "search", i))
        found.append(float(distance[0]) / known)
    return np.array(found)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_from_a_bad_start_it_comes_near_the_closed_form(norm: float, boxed: bool) -> None:
    found = ratios(boxed, norm)
    assert found.min() >= 1 - 1e-9
    assert found.max() <= 1.03


@pytest.mark.parametrize("norm", NORMS)
def test_that_check_notices_a_search_that_does_not_follow_the_gradient(monkeypatch, norm: float) -> None:
    monkeypatch.setattr(search, "PACE", 0.0)
    monkeypatch.setattr(search, "LAST_PACE", 0.0)
    assert not (ratios(False, norm) <= 1.03).all()


def image_network(index: int) -> ImageNetwork:
    """A small random one, of images 6 x 6 with 3 channels."""
    layers = (Convolution(8), Convolution(8), Pool(), Dense(16))
    return ImageNetwork.sample(stream(0, "search images", index), Architecture(layers), 6)


@pytest.mark.parametrize("norm", NORMS)
def test_of_image_networks_it_finds_what_is_nearer_than_a_bad_start_and_nothing_nearer_than_a_good_one(norm: float) -> None:
    good, bad = [], []
    for i in range(4):
        net, rng = image_network(i), stream(0, "search", i)
        x = torch.tensor(rng.random((6, 108)))
        found = smallest(net, x, norm, box=BOX)
        good.append(closer(net, x, found.points - x, norm, BOX, rng) / found.distance)
        # Across the box, away from most of the gradient, until the sign changes; half of the inputs have none there.
        corner = torch.where(torch.tensor(rng.random(x.shape)) < 0.5, -x, 1 - x) * 0.98
        start = 0.7 * corner + 0.3 * 4 * (found.points - x)
        start = start.clamp(-x, 1 - x)
        changed = net.value(x) * net.value(x + start) < 0
        distance = closer(net, x, start, norm, BOX, rng)
        bad.append((distance / length(start, norm))[changed])
    # So few pixels leave the best ones little room.
    assert torch.cat(good).min() >= 0.95
    assert torch.cat(good).median() >= 0.99
    assert len(torch.cat(bad)) >= 6
    assert torch.cat(bad).max() <= 0.7


def test_where_there_is_no_sign_change_it_finds_none() -> None:
    x, start = torch.tensor([[0.5, 0.5], [0.1, 0.9]]).double(), torch.tensor([[0.1, 0.2], [0.0, 0.0]]).double()

    def never(points):
        return 1 + (points**2).sum(1), 2 * points

    assert closer(never, x, start, 2, BOX, stream(0, "never")).isnan().all()


def test_points_that_it_asks_about_are_inside_the_box() -> None:
    asked = []
    model = linear(torch.tensor([1.0, -3.0]).double(), 0.5)

    def watched(points):
        asked.append(points)
        return model(points)

    x = torch.tensor([[0.0, 0.5], [1.0, 1.0]]).double()
    closer(watched, x, torch.tensor([[0.5, 0.5], [-1.0, -0.5]]).double(), 1, BOX, stream(0, "box"), steps=50)
    assert torch.cat(asked).min() >= 0
    assert torch.cat(asked).max() <= 1
