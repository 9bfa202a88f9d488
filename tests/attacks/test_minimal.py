"""The smallest distance found, against closed forms, a scan of all directions in the plane, and what a minimum has to satisfy."""

import math

import numpy as np
import pytest
import torch

from onestep.attacks import minimal
from onestep.attacks.minimal import FAILED, OK, smallest
from onestep.attacks.ray import SWITCHED, two_layer_roots
from onestep.seeds import stream


def two_layers(W, b, a):
    """points -> values, gradients, of a network with one hidden layer."""
    W, b, a = (torch.as_tensor(part, dtype=torch.float64) for part in (W, b, a))

    def model(points):
        z = points @ W.T + b
        return z.relu() @ a, ((z > 0) * a) @ W

    return model


def wide(d: int, k: int, index: int, inputs: int):
    """A random network, w ~ N(0, 1/d), a = +-1/sqrt(k), with inputs of length sqrt d."""
    rng = stream(0, "minimal", d, k, index)
    W, a, x = rng.standard_normal((k, d)) / math.sqrt(d), rng.choice([-1.0, 1.0], k) / math.sqrt(k), rng.standard_normal((inputs, d))
    return W, a, torch.tensor(x * math.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True))


def check(model, x, found) -> None:
    """What is promised of every result, worked out afresh."""
    ok = found.status == OK
    before, after = model(x)[0], model(found.points)[0]
    assert ((before * after < 0) | (before == 0))[ok].all()
    assert torch.equal(found.distance.isnan(), ~ok)
    torch.testing.assert_close(found.distance[ok], (found.points - x).norm(dim=1)[ok], rtol=1e-12, atol=0)
    # Landed: a ten-millionth nearer, on the same ray, the sign has not changed yet.
    short = model(x + (1 - 1e-7) * (found.points - x))[0]
    assert (before * short >= 0)[ok].all()
    assert torch.equal(found.points[~ok], x[~ok])


def test_of_a_linear_model_the_distance_is_known() -> None:
    for i in range(20):
        rng = stream(0, "hyperplane", i)
        d = int(rng.integers(1, 50))
        normal, offset = torch.tensor(rng.standard_normal(d)), float(rng.standard_normal())
        x = torch.tensor(rng.standard_normal((7, d)))

        def model(points, normal=normal, offset=offset):
            return points @ normal + offset, normal.expand_as(points)

        found = smallest(model, x, 2)
        check(model, x, found)
        assert (found.status == OK).all()
        torch.testing.assert_close(found.distance, model(x)[0].abs() / normal.norm(), rtol=1e-9, atol=0)
        assert (found.gradients <= 8).all()


def test_of_a_sphere_the_distance_is_known() -> None:
    """f = |y - c|^2 - 1: curved everywhere, from inside and from outside."""
    rng = stream(0, "sphere")
    centre = torch.tensor(rng.standard_normal(6))
    x = torch.tensor(rng.standard_normal((40, 6))) * torch.linspace(0.1, 2, 40).double()[:, None]

    def model(points):
        return ((points - centre) ** 2).sum(1) - 1, 2 * (points - centre)

    found = smallest(model, x, 2)
    check(model, x, found)
    assert (found.status == OK).all()
    torch.testing.assert_close(found.distance, ((x - centre).norm(dim=1) - 1).abs(), rtol=1e-4, atol=0)


def test_a_corner_of_the_boundary_is_found() -> None:
    """f = 1 - min(y_1 + y_2 / 2, y_1 - y_2 / 3): nearest to the origin is the corner (1, 0), on no linear piece's own nearest point."""

    def model(points):
        pieces = torch.stack([points[:, 0] + points[:, 1] / 2, points[:, 0] - points[:, 1] / 3], dim=1)
        normals = torch.tensor([[1.0, 0.5], [1.0, -1 / 3]]).double()
        smaller, which = pieces.min(dim=1)
        return 1 - smaller, -normals[which]

    x = torch.tensor([[0.0, 0.0], [0.0, 0.05], [0.2, -0.1]]).double()
    found = smallest(model, x, 2)
    check(model, x, found)
    expected = (torch.tensor([1.0, 0.0]) - x).norm(dim=1)
    assert (found.distance >= expected * (1 - 1e-9)).all()
    torch.testing.assert_close(found.distance, expected, rtol=1e-4, atol=0)


def scanned(W, b, a, x, rays: int = 20_000) -> float:
    """The nearest sign change on any of so many rays from x in the plane; each ray is followed exactly."""
    angle = np.arange(rays) * 2 * math.pi / rays
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    z = W @ x + b
    sign = -1.0 if np.maximum(z, 0) @ a < 0 else 1.0
    roots = two_layer_roots(torch.tensor(z), torch.tensor(directions @ W.T), torch.tensor(sign * a), cap=100.0)
    return float(roots.t.nan_to_num(math.inf).min())


def test_in_the_plane_no_direction_has_a_nearer_sign_change_and_most_results_are_the_nearest() -> None:
    exact, failed = [], 0
    for i in range(120):
        rng = stream(0, "plane", i)
        k = int(rng.integers(2, 9))
        W, b, a, x = rng.standard_normal((k, 2)), rng.standard_normal(k) * (i % 2), rng.choice([-1.0, 1.0], k), rng.standard_normal(2)
        nearest = scanned(W, b, a, x)
        model, inputs = two_layers(W, b, a), torch.tensor(x)[None]
        found = smallest(model, inputs, 2)
        check(model, inputs, found)
        if int(found.status[0]) == OK:
            # Between two rays the boundary may be nearer by half their angle where it is oblique.
            assert float(found.distance[0]) >= nearest * (1 - 1e-2)
            exact.append(float(found.distance[0]) <= nearest * (1 + 1e-3))
        else:
            failed += math.isfinite(nearest) and float(model(inputs)[0]) != 0
    assert len(exact) >= 50
    assert np.mean(exact) > 0.75
    # So few neurons have regions that send the linearisation nowhere.
    assert failed <= 20


SHAPES = [(5, 200), (50, 100), (100, 1000), (300, 300)]


@pytest.mark.parametrize(("d", "k"), SHAPES)
def test_never_farther_than_the_single_gradient_step(d: int, k: int) -> None:
    for i in range(4):
        W, a, x = wide(d, k, i, inputs=5)
        model = two_layers(W, 0, a)
        found = smallest(model, x, 2)
        check(model, x, found)
        values, gradients = model(x)
        sign = torch.where(values < 0, -1.0, 1.0)[:, None]
        direction = -sign * gradients / gradients.norm(dim=1, keepdim=True)
        z = torch.tensor(W)
        roots = two_layer_roots(x @ z.T, direction @ z.T, sign * torch.tensor(a), cap=1e3)
        switched = roots.status == SWITCHED
        assert (found.status[switched] == OK).all()
        assert (found.distance <= roots.t * (1 + 1e-9))[switched].all()


@pytest.mark.parametrize(("d", "k"), SHAPES[1:])
def test_at_the_point_found_the_perturbation_is_parallel_to_the_gradient(d: int, k: int) -> None:
    """Up to kinks, where the gradient has several values: so it is averaged over a small ball. Behind the single step it is not so."""
    W, a, x = wide(d, k, 9, inputs=6)
    model = two_layers(W, 0, a)
    rng = stream(0, "kinks", d, k)

    def angle(moves):
        around = torch.tensor(rng.standard_normal((200, *x.shape))) * 0.02 * moves.norm(dim=1, keepdim=True) / math.sqrt(d)
        gradient = torch.stack([model(x + moves + shift)[1] for shift in around]).mean(0)
        return torch.nn.functional.cosine_similarity(gradient, moves).abs().clamp(max=1).acos()

    found = smallest(model, x, 2)
    values, gradients = model(x)
    single = -values[:, None] * gradients / (gradients**2).sum(1, keepdim=True)
    assert (angle(found.points - x) < 0.12).all()
    assert angle(found.points - x).mean() < angle(single).mean() / 2


def test_of_a_deeper_network_no_random_direction_is_nearer() -> None:
    rng = stream(0, "deep")
    layers = [
        torch.tensor(rng.standard_normal((rows, columns)) * math.sqrt(2 / columns)) for rows, columns in ((60, 20), (60, 60), (1, 60))
    ]

    def model(points):
        points = points.detach().requires_grad_()
        hidden = points
        for weights in layers[:-1]:
            hidden = (hidden @ weights.T).relu()
        values = (hidden @ layers[-1].T)[:, 0]
        return values.detach(), torch.autograd.grad(values.sum(), points)[0]

    x = torch.tensor(rng.standard_normal((12, 20)))
    found = smallest(model, x, 2)
    check(model, x, found)
    assert (found.status == OK).sum() >= 11
    for start, point, distance in zip(x, found.points, found.distance, strict=True):
        if distance.isnan():
            continue
        moves = torch.tensor(rng.standard_normal((4000, 20)))
        moves[:3000] = (point - start) / distance + torch.logspace(-2, 0, 3000).double()[:, None] * moves[:3000] / math.sqrt(20)
        inside = 0.97 * distance * moves / moves.norm(dim=1, keepdim=True)
        assert (model(start + inside)[0] * model(start[None])[0] > 0).all()


def test_inputs_do_not_see_each_other() -> None:
    W, a, x = wide(20, 100, 0, inputs=6)
    model = two_layers(W, 0, a)
    together = smallest(model, x, 2)
    for i in range(6):
        alone = smallest(model, x[i : i + 1], 2)
        torch.testing.assert_close(alone.distance, together.distance[i : i + 1], rtol=1e-6, atol=0)


def test_it_costs_what_it_says() -> None:
    W, a, x = wide(20, 100, 1, inputs=1)
    model, asked = two_layers(W, 0, a), []

    def counted(points):
        asked.append(len(points))
        return model(points)

    found = smallest(counted, x, 2)
    assert found.gradients.tolist() == [len(asked)]
    assert len(asked) <= 50


def test_without_a_sign_change_it_fails_and_on_the_boundary_the_distance_is_zero() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [3.0, 3.0]]).double()
    never = two_layers([[1.0, 0.0], [0.0, 1.0]], 0, [1.0, 1.0])  # positive or zero, and dead at the second input
    found = smallest(never, x, 2)
    check(never, x, found)
    assert found.status.tolist() == [FAILED] * 3
    diagonal = two_layers([[1.0, 0.0], [0.0, 1.0]], 0, [1.0, -1.0])
    found = smallest(diagonal, x, 2)
    check(diagonal, x, found)
    assert found.status.tolist() == [OK, FAILED, OK]
    assert found.distance[[0, 2]].tolist() == pytest.approx([math.sqrt(0.5), 0])


def test_reaching_zero_without_crossing_it_is_not_a_sign_change() -> None:
    """f = relu(y): zero from y = 0 on, never negative."""
    found = smallest(two_layers([[1.0]], 0, [1.0]), torch.tensor([[2.0]]).double(), 2)
    assert found.status.tolist() == [FAILED]


@pytest.mark.parametrize("broken", ["onto_plane", "_land"])
def test_the_checks_notice_a_wrong_projection_and_a_wrong_landing(monkeypatch, broken: str) -> None:
    W, a, x = wide(50, 200, 2, inputs=8)
    model = two_layers(W, 0, a)
    reference = smallest(model, x, 2)
    if broken == "_land":
        monkeypatch.setattr(minimal, "_land", lambda model, x, behind: (x + 1.01 * (behind - x), torch.zeros(len(x), 1)))
        with pytest.raises(AssertionError):
            check(model, x, smallest(model, x, 2))
    else:
        monkeypatch.setattr(minimal, "onto_plane", lambda offset, normal: -offset * normal.sign() / normal.abs().sum(-1, keepdim=True))
        assert (smallest(model, x, 2).distance > reference.distance * 1.01).all()
