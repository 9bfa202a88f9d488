"""The smallest distance found, against closed forms, a scan of all directions in the plane, and what a minimum has to satisfy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from solvers import shortest

from onestep.attacks import minimal, projection
from onestep.attacks.minimal import EFFORTS, FAILED, OK, smallest
from onestep.attacks.ray import SWITCHED, two_layer_roots
from onestep.errors import Mistake
from onestep.networks.residual import ARCHITECTURES, Architecture, Convolution, Dense, ImageNetwork, Pool
from onestep.seeds import stream

NORMS = (1, 2, math.inf)
BOX = (0.0, 1.0)


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


def check(model, x, found, norm=2, box=None) -> None:
    """What is promised of every result, worked out afresh."""
    ok = found.status == OK
    before, after = model(x)[0], model(found.points)[0]
    assert ((before * after < 0) | (before == 0))[ok].all()
    assert torch.equal(found.distance.isnan(), ~ok)
    double = x.dtype == torch.float64
    torch.testing.assert_close(found.distance[ok], length(found.points - x, norm)[ok], rtol=1e-12 if double else 1e-5, atol=0)
    # Landed: a ten-millionth nearer, on the same ray, the sign has not changed yet.
    short = model(x + (1 - (1e-7 if double else 1e-3)) * (found.points - x))[0]
    assert (before * short >= 0)[ok].all()
    assert torch.equal(found.points[~ok], x[~ok])
    if box:
        assert found.points.min() >= box[0]
        assert found.points.max() <= box[1]


def length(vectors, norm):
    return torch.linalg.vector_norm(vectors, norm, dim=1)


def linear(normal, offset):
    """points -> <normal, point> + offset, and the normal."""
    return lambda points: ((points * normal).sum(1) + offset, normal.expand_as(points))


KINDS = ("no box", "inside", "near its faces", "on its faces")


def hyperplane(kind: str, index: int):
    """A linear model and inputs, in the box [0, 1] or without one; in the box it is within reach of the first of them."""
    rng = stream(0, "hyperplane", kind, index)
    d = int(rng.integers(1, 30))
    normal, x = rng.standard_normal(d), rng.random((4, d))
    if kind == "near its faces":
        x = np.where(rng.random((4, d)) < 0.8, np.where(x < 0.5, 0.05 * x, 1 - 0.05 * x), x)
    elif kind == "on its faces":
        x = np.where(rng.random((4, d)) < 0.6, x.round(), x)
    # The boundary lies on the way to one of the two corners where the model is extreme: the one farther off.
    corner = np.where((normal > 0) == (normal @ (1 - 2 * x[0]) > 0), 1.0, 0.0)
    offset = -float(normal @ (x[0] + rng.random() * (corner - x[0])))
    return torch.tensor(normal), offset, torch.tensor(x)


def check_linear(norm: float, kind: str, cases: int) -> tuple[int, int]:
    """Distances to hyperplanes, in both efforts; how many the box has made longer, and how many are out of reach."""
    longer = failed = 0
    box = None if kind == "no box" else BOX
    low, high = box or (-math.inf, math.inf)
    for i in range(cases):
        normal, offset, x = hyperplane(kind, i)
        model = linear(normal, offset)
        values = model(x)[0]
        ends = [(low - row, high - row) for row in x]
        known = [shortest(norm, float(f), normal.numpy(), *(end.numpy() for end in pair)) for f, pair in zip(values, ends, strict=True)]
        reached = torch.tensor([distance is not None for distance in known])
        expected = torch.tensor([math.nan if distance is None else distance for distance in known]).double()
        free = values.abs() / torch.linalg.vector_norm(normal, {1: math.inf, 2: 2, math.inf: 1}[norm])
        if not box:
            torch.testing.assert_close(expected, free, rtol=1e-6, atol=0)
        longer, failed = longer + int((expected > free * 1.0001).sum()), failed + int((~reached).sum())
        for effort in EFFORTS:
            found = smallest(model, x, norm, box=box, effort=effort)
            check(model, x, found, norm, box)
            assert torch.equal(found.status == OK, reached)
            torch.testing.assert_close(found.distance, expected, rtol=1e-6, atol=1e-12, equal_nan=True)
    return longer, failed


@pytest.mark.parametrize("norm", NORMS)
def test_of_a_linear_model_the_distance_is_known(norm: float) -> None:
    assert check_linear(norm, "no box", cases=60) == (0, 0)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("norm", NORMS)
def test_of_a_linear_model_the_distance_is_known_in_a_box_too(norm: float, kind: str) -> None:
    longer, failed = check_linear(norm, kind, cases=60)
    assert longer > 50
    assert failed < 120


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("norm", NORMS)
def test_of_a_linear_model_it_is_known_wherever_the_search_begins(norm: float, effort: str) -> None:
    """Before the boundary, behind it, at the input itself or beyond the box."""
    for i in range(20):
        normal, offset, x = hyperplane(KINDS[1], i)
        model, rng = linear(normal, offset), stream(0, "begin", i)
        start = torch.tensor(rng.standard_normal(x.shape)) * torch.tensor(rng.choice([0.0, 0.1, 1.0, 10.0], (len(x), 1)))
        found, plain = (smallest(model, x, norm, box=BOX, effort=effort, start=begin) for begin in (start, None))
        check(model, x, found, norm, BOX)
        torch.testing.assert_close(found.distance, plain.distance, rtol=1e-6, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("norm", NORMS)
def test_of_a_linear_model_it_takes_few_gradients(norm: float) -> None:
    for i in range(20):
        normal, offset, x = hyperplane("no box", i)
        found = smallest(linear(normal, offset), x, norm)
        # In l1 it searches twice.
        assert (found.gradients <= (2 * EFFORTS["thorough"].patience[1] if norm == 1 else 10)).all()


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


CORNER = torch.tensor([[0.0, 0.0], [0.0, 0.05], [0.2, -0.1]]).double()
"""Inputs before the corner (1, 0) of f = 1 - min(y_1 + y_2 / 2, y_1 - y_2 / 3)."""


def corner(points):
    pieces = torch.stack([points[:, 0] + points[:, 1] / 2, points[:, 0] - points[:, 1] / 3], dim=1)
    normals = torch.tensor([[1.0, 0.5], [1.0, -1 / 3]]).double()
    smaller, which = pieces.min(dim=1)
    return 1 - smaller, -normals[which]


@pytest.mark.parametrize(("effort", "accuracy"), [("fast", 0.05), ("thorough", 2e-3)])
@pytest.mark.parametrize("norm", [2, math.inf])
def test_a_corner_of_the_boundary_is_found(norm: float, effort: str, accuracy: float) -> None:
    """In l2 and l-infinity the nearest point is (1, 0), which is on no linear piece's own shortest way."""
    found = smallest(corner, CORNER, norm, effort=effort)
    check(corner, CORNER, found, norm)
    expected = length(torch.tensor([1.0, 0.0]) - CORNER, norm)
    assert (found.distance >= expected * (1 - 1e-9)).all()
    torch.testing.assert_close(found.distance, expected, rtol=accuracy, atol=0)


@pytest.mark.parametrize("effort", EFFORTS)
def test_in_l1_the_shortest_way_past_a_corner_is_found(effort: str) -> None:
    """It goes along y_1 alone, to the farther one of the two pieces."""
    found = smallest(corner, CORNER, 1, effort=effort)
    check(corner, CORNER, found, 1)
    second = CORNER[:, 1]
    torch.testing.assert_close(found.distance, 1 + torch.maximum(-second / 2, second / 3) - CORNER[:, 0], rtol=1e-3, atol=0)


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


def image_network(index: int, dtype=torch.float64) -> ImageNetwork:
    """A small random one, of images 6 x 6 with 3 channels."""
    layers = (Convolution(8), Convolution(8), Pool(), Dense(16))
    return ImageNetwork.sample(stream(0, "minimal images", index), Architecture(layers), 6, dtype=dtype)


def images(count: int, index: int, dtype=torch.float64):
    """Uniform in [0, 1], some pixels at the ends."""
    x = stream(0, "images of minimal", index).random((count, 108)) * 1.2 - 0.1
    return torch.tensor(x.clip(0, 1), dtype=dtype)


def nearby(start, points, distance, norm, rng, share):
    """Points [1000, d] of the box within a share of the distance: around the point found, and in all directions, many or few pixels."""
    d = len(start)
    moves = torch.tensor(rng.standard_normal((1000, d)))
    moves[500:] *= torch.tensor(rng.random((500, d)) < rng.random((500, 1)) ** 2)
    moves[:750] = (points - start) / distance + torch.logspace(-3, 0, 750).double()[:, None] * moves[:750] * d ** (-1 / norm)
    size = length(moves, norm)[:, None].clamp(min=1e-9)
    return (start + share * distance * moves / size).clamp(*BOX)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("norm", NORMS)
def test_of_image_networks_no_random_direction_is_nearer(norm: float, effort: str) -> None:
    rng, noticed, count = stream(0, "random directions"), 0, 0
    for i in range(3):
        net, x = image_network(i), images(3, i)
        found = smallest(net, x, norm, box=BOX, effort=effort)
        check(net, x, found, norm, BOX)
        assert (found.status == OK).all()
        for start, point, distance in zip(x, found.points, found.distance, strict=True):
            before = net(start[None])[0]
            assert (net.value(nearby(start, point, distance, norm, rng, 0.97)) * before >= 0).all()
            # They would notice a distance that is a tenth too long.
            noticed += bool((net.value(nearby(start, point, 1.1 * distance, norm, rng, 0.97)) * before < 0).any())
            count += 1
    assert noticed > 0.8 * count


def one_by_one(model):
    """A model whose answers do not depend on what else is asked, not even in the last digit."""

    def alone(points):
        values, gradients = zip(*(model(point[None]) for point in points), strict=True)
        return torch.cat(values), torch.cat(gradients)

    return alone


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("norm", NORMS)
def test_inputs_do_not_see_each_other(norm: float, effort: str) -> None:
    model, x = one_by_one(image_network(0)), images(4, 0)
    together = smallest(model, x, norm, box=BOX, effort=effort)
    assert len(set(together.gradients.tolist())) > 1
    for i in range(4):
        alone = smallest(model, x[i : i + 1], norm, box=BOX, effort=effort)
        torch.testing.assert_close(alone.distance, together.distance[i : i + 1], rtol=1e-9, atol=0)
        torch.testing.assert_close(alone.points, together.points[i : i + 1], rtol=0, atol=1e-9)
        assert alone.gradients == together.gradients[i]


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("norm", NORMS)
def test_it_costs_what_it_says(norm: float, effort: str) -> None:
    net, asked = image_network(1), []

    def counted(points):
        asked.append(len(points))
        return net(points)

    for i in range(3):
        asked.clear()
        found = smallest(counted, images(1, i), norm, box=BOX, effort=effort)
        assert found.gradients.tolist() == [len(asked)]
        # It goes on as long as it gains, but not without end.
        # Before the sign has changed, after, and the landing; all of it twice in a thorough search in l1.
        rounds = 2 if norm == 1 and effort == "thorough" else 1
        assert rounds * EFFORTS[effort].patience[norm] < len(asked) <= rounds * (10 + EFFORTS[effort].steps[norm] + 10)


@pytest.mark.parametrize("norm", NORMS)
def test_a_thorough_search_is_hardly_ever_the_longer_one(norm: float) -> None:
    ratios = []
    for i in range(10):
        net, x = image_network(i), images(4, i)
        fast, thorough = (smallest(net, x, norm, box=BOX, effort=effort) for effort in ("fast", "thorough"))
        assert (fast.gradients <= thorough.gradients).all()
        ratios.append(thorough.distance / fast.distance)
    assert torch.cat(ratios).quantile(0.9) <= 1.001
    assert torch.cat(ratios).max() < 1.1


@pytest.mark.parametrize("norm", NORMS)
def test_single_precision_finds_what_double_precision_does(norm: float) -> None:
    single, double = image_network(2, torch.float32), image_network(2)
    x = images(8, 2, torch.float32)
    found, exact = smallest(single, x, norm, box=BOX), smallest(double, x.double(), norm, box=BOX)
    check(single, x, found, norm, BOX)
    check(double, x.double(), exact, norm, BOX)
    assert found.points.dtype == found.distance.dtype == torch.float32
    assert exact.points.dtype == exact.distance.dtype == torch.float64
    # The two searches may settle in other pieces of the boundary.
    torch.testing.assert_close(found.distance.double(), exact.distance, rtol=0.02, atol=0)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("norm", NORMS)
def test_very_near_the_boundary_rounding_leaves_no_doubt_of_the_sign_change(norm: float, effort: str) -> None:
    """What single precision found is behind the boundary in double precision too, however many images are asked at once."""
    for index in range(2):
        draw = stream(0, "minimal near", index)
        single = ImageNetwork.sample(draw, ARCHITECTURES["resnet"], 12, dtype=torch.float32)
        double = replace(single, weights={name: weight.double() for name, weight in single.weights.items()})
        far = torch.tensor(draw.random((4, single.side**2 * 3)))
        x = smallest(double, far, 2, box=BOX, effort="fast").points.lerp(far, 1e-3).float()
        found = smallest(single, x, norm, box=BOX, effort=effort)
        assert (found.status == OK).all()
        assert (double.value(x.double()) * double.value(found.points.double()) < 0).all()


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


@pytest.mark.parametrize("norm", NORMS)
def test_on_the_boundary_the_distance_is_zero(norm: float) -> None:
    model, x = linear(torch.tensor([1.0, -2.0]).double(), 0.0), torch.tensor([[0.5, 0.25], [0.5, 0.5]]).double()
    found = smallest(model, x, norm, box=BOX)
    check(model, x, found, norm, BOX)
    assert found.status.tolist() == [OK, OK]
    assert found.distance.tolist() == pytest.approx([0, 0.5 / {1: 2, 2: math.sqrt(5), math.inf: 3}[norm]])
    assert found.gradients[0] == 1
    assert torch.equal(found.points[0], x[0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [3.0, -3.0, 0.0])
def test_a_constant_network_and_one_without_a_gradient_fail(norm: float, value: float) -> None:
    x = torch.tensor([[0.5, 0.25], [0.0, 1.0]]).double()

    def constant(points):
        return torch.full_like(points[:, 0], value), torch.zeros_like(points)

    found = smallest(constant, x, norm, box=BOX)
    check(constant, x, found, norm, BOX)
    assert found.status.tolist() == [FAILED, FAILED]
    assert found.gradients.tolist() == [1, 1]
    # f = relu(y_1 - 1/2) - 1/4 has a boundary, but the first input does not see it.
    hidden = two_layers([[1.0, 0.0], [0.0, 0.0]], [-0.5, 0.25], [1.0, -1.0])
    found = smallest(hidden, torch.tensor([[0.2, 0.25], [0.6, 1.0]]).double(), norm, box=BOX)
    assert found.status.tolist() == [FAILED, OK]
    assert float(found.distance[1]) == pytest.approx(0.15)


@pytest.mark.parametrize("norm", NORMS)
def test_a_pixel_at_its_bound_stays_there_and_the_others_go_on(norm: float) -> None:
    """f = 2 y_1 + y_2 - 2.5: from (1, 0) y_2 alone can rise. Without room f cannot change its sign."""
    normal = torch.tensor([2.0, 1.0]).double()
    x = torch.tensor([[1.0, 0.0]]).double()
    found = smallest(linear(normal, -2.5), x, norm, box=BOX)
    check(linear(normal, -2.5), x, found, norm, BOX)
    assert found.status.tolist() == [OK]
    assert found.points[0].tolist() == pytest.approx([1.0, 0.5])
    assert float(found.distance[0]) == pytest.approx(0.5)
    found = smallest(linear(normal, -3.5), x, norm, box=BOX)
    assert found.status.tolist() == [FAILED]
    assert torch.equal(found.points, x)


@pytest.mark.parametrize("norm", [0, 1.5, 3, -math.inf, math.nan])
def test_another_norm_is_a_mistake(norm: float) -> None:
    with pytest.raises(Mistake, match=r"^norm .*: .*1, 2 and inf; choose one of them$"):
        smallest(linear(torch.ones(2), 0.0), torch.ones(1, 2), norm)


@pytest.mark.parametrize("box", [(0.0, 0.9), (1.1, 2.0), (1.0, 0.0)])
def test_a_box_that_excludes_an_input_is_a_mistake(box) -> None:
    with pytest.raises(Mistake, match=r"^an input lies outside the box from .* to .*; choose a box around it$"):
        smallest(linear(torch.ones(2), 0.0), torch.tensor([[0.5, 0.5], [0.5, 1.0]]), 2, box=box)


def test_the_checks_notice_a_wrong_projection_and_a_wrong_landing(monkeypatch) -> None:
    """The one of l-infinity in place of l2, one of l1 that fills the wrong coordinates, and points that lie too far behind the boundary."""
    exact, land = projection.project, minimal._land
    with monkeypatch.context() as patch:
        patch.setattr(minimal, "project", lambda norm, *parts: exact(math.inf, *parts))
        with pytest.raises(AssertionError, match="not close"):
            check_linear(2, "no box", cases=5)
    with monkeypatch.context() as patch:
        # Of a linear model the last step alone finds the nearest point.
        W, a, x = wide(50, 200, 2, inputs=8)
        model = two_layers(W, 0, a)
        reference = smallest(model, x, 1).distance
        patch.setattr(minimal, "project_near", lambda near, spread, *parts: exact(2, *parts))
        assert (smallest(model, x, 1).distance > 1.02 * reference).any()

    def beyond(model, x, ray):
        points, count = land(model, x, ray)
        return x + 1.01 * (points - x), count

    monkeypatch.setattr(minimal, "_land", beyond)
    with pytest.raises(AssertionError):
        check_linear(2, "no box", cases=5)
