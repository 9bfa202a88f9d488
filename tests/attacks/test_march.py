"""The march along deeper networks, against a path follower that shares nothing with the package, and the bound by which it steps."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from path_following import Walk, exact, follow
from rays import CAP, Patient, downhill, march, ray_from
from sphere import random_inputs

from onestep.attacks import ray as ray_search
from onestep.attacks.ray import (
    DEAD,
    OVERSHOOT,
    RELATIVE_ERROR,
    RESOLUTION,
    STATUS,
    SWITCHED,
    UNSWITCHED,
    Band,
    Roots,
    chord_path,
    first_roots,
    path_error,
    two_layer_roots,
)
from onestep.networks.random_relu import DenseMatrix, NetworkRay, RandomNetwork, Shape
from onestep.seeds import stream


def walks(nets: RandomNetwork, x, sign, direction) -> list[list[Walk]]:
    def one(b: int, i: int) -> Walk:
        layers = [matrix.weights[b].numpy() for matrix in nets.layers]
        return follow(layers, (sign[b, i] * nets.output[b]).numpy(), x[b, i].numpy(), direction[b, i].numpy(), CAP)

    return [[one(b, i) for i in range(x.shape[1])] for b in range(len(x))]


def disagreements(roots: Roots, expected: list[list[Walk]], tolerance: float) -> list[str]:
    found = []
    for b, row in enumerate(expected):
        for i, walk in enumerate(row):
            status, t = STATUS[int(roots.status[b, i])], float(roots.t[b, i])
            if status != walk.status or (walk.root is not None and not abs(t - walk.root) <= tolerance * walk.root):
                found.append(f"network {b}, input {i}: {status} at {t}, but {walk}")
    return found


# ---------------------------------------------------------------------------------------------- the path follower

SHAPES = [(2, 2, 2), (2, 3, 10), (2, 10, 5), (2, 40, 50), (3, 2, 5), (3, 5, 2), (3, 20, 20), (4, 3, 10), (4, 10, 10), (4, 40, 5)]
SHAPES += [(5, 5, 50), (5, 20, 10), (6, 2, 3), (6, 10, 20), (6, 40, 30)]


@pytest.mark.parametrize("rigorous", [False, True])
@pytest.mark.parametrize(("depth", "width", "dim"), SHAPES)
def test_the_march_finds_what_the_path_follower_finds(depth: int, width: int, dim: int, rigorous: bool) -> None:
    nets, x, sign, direction = downhill("follow", depth, width, dim, networks=6, inputs=4)
    roots, expected = march(nets.ray(x, direction), sign, rigorous=rigorous), walks(nets, x, sign, direction)
    assert disagreements(roots, expected, tolerance=1e-9) == []
    # Only where the value comes down to zero without crossing it is anything left uncertified.
    clear = torch.tensor([[walk.clearance is None or walk.clearance > 1e-12 for walk in row] for row in expected])
    assert (roots.unresolved[clear] == 0).all()


def test_the_path_follower_notices_wrong_weights() -> None:
    """The comparison has teeth: one weight changed by a part in a million is a disagreement."""
    nets, x, sign, direction = downhill("follow", 3, 20, 20, networks=2, inputs=4)
    expected = walks(nets, x, sign, direction)
    nets.layers[1].weights[:, 3] *= 1 + 1e-6
    assert disagreements(march(nets.ray(x, direction), sign), expected, tolerance=1e-9)


def test_the_path_follower_in_floats_agrees_with_itself_in_fractions() -> None:
    for depth, width, dim in ((2, 3, 2), (3, 2, 3), (2, 6, 4)):
        nets, x, sign, direction = downhill("fractions", depth, width, dim, networks=5, inputs=1)
        for b, (walk,) in enumerate(walks(nets, x, sign, direction)):
            arrays = (sign[b, 0] * nets.output[b], x[b, 0], direction[b, 0])
            true = follow(
                [exact(matrix.weights[b].numpy()) for matrix in nets.layers], *(exact(part.numpy()) for part in arrays), Fraction(CAP)
            )
            assert walk.status == true.status
            assert walk.root == true.root or abs(walk.root - float(true.root)) <= 1e-12 * walk.root


def test_the_march_ends_where_the_last_neuron_dies() -> None:
    """t0 + step (phi - E) / drop is t0 itself in front of a plateau at which one neuron leaves: a march must go on from there."""
    u, v = torch.tensor([[[1.0, 1.0, 1.0]]]).double(), torch.tensor([[[-0.0501, 0.0, 0.0]]]).double()
    hidden = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]).double()
    for output in ((1.0, 1, 1), (1, 1, 0), (1, 2, 2), (0.3, 0.5, 0.7)):
        for speed in np.linspace(0.0501, 0.07, 25):
            a = torch.tensor([output]).double()
            ray = ray_from(
                u,
                v * speed / 0.0501,
                (DenseMatrix(hidden, 1.0),),
                a,
                ((hidden.norm(dim=(1, 2)).numpy(), 1.0), (a.norm(dim=-1).numpy(), 1.0)),
            )
            roots = march(ray, torch.ones(1, 1).double())
            assert int(roots.status) == UNSWITCHED


def test_the_march_ends_on_narrow_networks_that_die_along_the_ray() -> None:
    for dim in (2, 5, 10, 50):
        for width in (2, 3, 5):
            nets, x, sign, direction = downhill("narrow", 2, width, dim, networks=40, inputs=4)
            roots = march(nets.ray(x, direction), sign)
            assert disagreements(roots, walks(nets, x, sign, direction), tolerance=1e-9) == []


def shifted(ray: NetworkRay, shift: float) -> NetworkRay:
    """The same rays of networks of two hidden layers, the values shifted by a neuron that is always one."""
    one, zero = torch.ones_like(ray.start[..., :1]), torch.zeros_like(ray.start[..., :1])
    hidden = torch.nn.functional.pad(ray.hidden[0].weights, (0, 1, 0, 1))
    hidden[:, -1, -1] = 1
    output = torch.nn.functional.pad(ray.output, (0, 1), value=shift)
    maps = ((torch.linalg.matrix_norm(hidden).numpy(), 1.0), (output.norm(dim=-1).numpy(), 1.0))
    return ray_from(torch.cat([ray.start, one], -1), torch.cat([ray.slope, zero], -1), (DenseMatrix(hidden, 1.0),), output, maps)


@pytest.mark.parametrize("dip", [1e-3, 1e-6, 1e-8])
def test_a_lowest_point_just_below_zero_is_a_root_and_one_just_above_is_not(dip: float) -> None:
    """Random networks shifted so that the lowest value along the ray is -dip or +dip: stretches about as short as the dip is deep."""

    def walk(ray: NetworkRay, sign: float) -> Walk:
        layers, output = [np.eye(13), ray.hidden[0].weights[0].numpy()], sign * ray.output[0].numpy()
        return follow(layers, output, ray.start[0, 0].numpy(), ray.slope[0, 0].numpy(), CAP)

    nets, x, signs, direction = downhill("dips", 2, 12, 6, networks=30, inputs=1)
    rays, outcomes = nets.ray(x, direction), []
    for b in range(30):
        ray, sign = rays.only(torch.tensor([b]), torch.tensor([0])), float(signs[b])
        lowest = walk(shifted(ray, 30 * sign), sign).clearance - 30  # lifted so far that it stays positive
        for below in (dip, -dip):
            moved = shifted(ray, sign * (-lowest - below))
            if sign * float(moved.at(torch.zeros(1, 1).double())[1]) < 0:
                continue  # it never falls
            roots = march(moved, signs[b : b + 1], rigorous=True)
            assert disagreements(roots, [[walk(moved, sign)]], tolerance=1e-9) == []
            assert int(roots.unresolved) == 0
            outcomes.append(int(roots.status))
    assert outcomes.count(SWITCHED) >= 20
    assert outcomes.count(UNSWITCHED) >= 10


def test_with_one_hidden_layer_the_march_and_the_exact_root_agree() -> None:
    statuses = set()
    for width, dim in ((1, 2), (3, 2), (10, 10), (50, 20), (200, 100)):
        nets, x, sign, direction = downhill("one layer", 1, width, dim, networks=10, inputs=5)
        ray = nets.ray(x, direction)
        exact_roots = two_layer_roots(ray.start, ray.slope, nets.output[:, None] * sign[..., None], CAP)
        for rigorous in (False, True):
            roots = march(ray, sign, rigorous=rigorous)
            assert torch.equal(roots.status, exact_roots.status)
            torch.testing.assert_close(roots.t, exact_roots.t, rtol=1e-9, atol=0, equal_nan=True)
        statuses |= set(roots.status.unique().tolist())
    assert statuses == {SWITCHED, UNSWITCHED, DEAD}


# ---------------------------------------------------------------------------------------------- the bound of the march

INTERVALS = [(0, 0.01), (0, 0.1), (0, 1.0), (0.5, 0.6), (0, 5.0), (0, 20.0), (1.0, 20.0)]
BOUND_SHAPES = [(2, 100, 200), (2, 1000, 20), (2, 1000, 1000), (3, 300, 300), (4, 300, 20), (6, 100, 100)]


def on_path(ends: np.ndarray, path: np.ndarray, start: np.ndarray, theta: float) -> np.ndarray:
    """Piecewise linear functions [B, I] at theta, by NumPy."""
    places = np.ndindex(start.shape)
    return np.array([np.interp(theta, [0.0, *ends[at]], [start[at], *path[at]]) for at in places]).reshape(start.shape)


@pytest.fixture(scope="module")
def deviations() -> list[tuple[float, float, float, float]]:
    """(deviation from the path, the default band, the rigorous one, the peak of that), downhill and in random directions."""
    rows = []
    for shape in BOUND_SHAPES:
        nets, x, _, gradient = downhill("chords", *shape, networks=1, inputs=2)
        aside = random_inputs([stream(0, "directions", *shape)], 2, shape[-1]) * gradient.norm(dim=-1, keepdim=True) / math.sqrt(shape[-1])
        for direction in (gradient, aside):
            ray = nets.ray(x, direction)
            # Every interval at once: the rays of a network may be repeated.
            ends = torch.tensor(INTERVALS, dtype=torch.float64)
            start, slope = (part.repeat(1, len(ends), 1) for part in (ray.start, ray.slope))
            repeated = ray_from(start, slope, ray.hidden, ray.output, ray.maps)
            left, right = (part.repeat_interleave(2)[None] for part in ends.T)
            (layers0, phi0), (layers1, phi1) = repeated.at(left), repeated.at(right)
            layers0, layers1 = ([layer.numpy() for layer in layers] for layers in (layers0, layers1))
            default = path_error(repeated.maps, repeated.activation, layers0, layers1)
            rigorous = path_error(repeated.maps, repeated.activation, layers0, layers1, rigorous=True)
            values = (phi0.numpy(), phi1.numpy())
            path = chord_path(repeated, np.ones(phi0.shape), layers0[-1], layers1[-1], values, 0.0, default.corners)
            for w in (0.02, *np.linspace(0, 1, 18)[1:-1], 0.98):
                off = np.abs(repeated.at(left + w * (right - left))[1].numpy() - on_path(*path, values[0], w))
                theta = np.full((*off.shape, 1), w)
                rows += zip(
                    off[0].tolist(),
                    default.at(theta)[0, :, 0].tolist(),
                    rigorous.at(theta)[0, :, 0].tolist(),
                    rigorous.peak[0].tolist(),
                    strict=True,
                )
    return rows


def test_the_value_never_leaves_the_path_by_more_than_the_band(deviations) -> None:
    assert max(deviation - default for deviation, default, _, _ in deviations) <= 1e-13
    assert all(default <= rigorous for _, default, rigorous, _ in deviations)


def test_the_band_is_nothing_only_where_the_value_is_the_path(deviations) -> None:
    exact_ones = [deviation for deviation, _, _, peak in deviations if peak == 0]
    assert exact_ones
    assert max(exact_ones) <= 1e-13


def test_a_band_thirty_times_narrower_is_left(deviations) -> None:
    assert any(deviation > default / 30 + 1e-13 for deviation, default, _, _ in deviations)


def test_nothing_is_overlooked_right_behind_a_point_with_a_small_value() -> None:
    """phi = 0.001 - t + 10 relu(t - 0.01) + relu(t - 0.5) as a network of two hidden layers: it falls below zero at 0.001 and is positive
    again at 0.011, long before the march looks at 1, where phi has grown by far more than the band is high."""
    start, slope, output = (
        torch.tensor(part, dtype=torch.float64) for part in ([[[0.001, 0, -0.1, -0.5]]], [[[0, 1, 10, 1]]], [[1, -1, 1, 1]])
    )
    maps = ((np.array([1.0]), 0.5), (np.array([2.0]), 1.0))
    ray = ray_from(start, slope, (DenseMatrix(torch.eye(4).double()[None], 0.5),), output, maps)
    one = torch.ones(1, 1).double()
    for look in (1.0, 0.3, 5.0):
        roots = first_roots(Patient(ray), one, 20.0, guess=look / OVERSHOOT * one, rigorous=True)
        assert (int(roots.status), float(roots.t)) == (SWITCHED, pytest.approx(0.001, abs=1e-3 * 20 * RESOLUTION[torch.float64])), look


def wrong_steps() -> tuple[int, int, int]:
    """Steps that the march might take, how many of them had a bracket, and for how many what is said of one is wrong: that phi is
    positive up to `lower` and negative somewhere before `upper`, on 100 points. Levels make phi disappear but for a little at its start.
    """
    steps = bracketed = wrong = 0
    for depth, width, dim in ((2, 10, 5), (3, 30, 10), (6, 30, 10)):
        nets, x, sign, direction = downhill("steps", depth, width, dim, networks=30, inputs=2)
        ray, oriented = nets.ray(x, direction), sign.numpy()

        def look(t: float, ray=ray, oriented=oriented):
            layers, value = ray.at(torch.full(oriented.shape, t, dtype=torch.float64))
            return [layer.numpy() for layer in layers], oriented * value.numpy()

        for t0, t1 in ((0.0, 0.3), (0.0, 2.0), (1.0, 4.0), (3.0, 3.5)):
            (layers0, start), (layers1, end) = look(t0), look(t1)
            theta = np.linspace(0, 1, 101) ** 2
            path = np.stack([look(t0 + (t1 - t0) * part)[1] for part in theta], -1)
            for part in (0.0, 0.9, 0.99, 0.999):
                level = -part * np.abs(start)
                with np.errstate(all="ignore"):
                    lower, upper, _, _ = ray_search._between(ray, oriented, level, layers0, start + level, layers1, end + level, True)
                phi = path + level[..., None]
                positive = ~((phi < -1e-13) & (theta < np.where(np.isnan(lower), 2, lower)[..., None])).any(-1)
                negative = np.isnan(upper) | (phi < 1e-13).any(-1)
                judged = start + level > 0
                steps += int(judged.sum())
                bracketed += int((judged & (lower > 0) & (upper > 0)).sum())
                wrong += int((judged & ~(positive & negative)).sum())
    return steps, bracketed, wrong


def test_what_a_step_of_the_march_says_is_true_on_100_points_of_it() -> None:
    steps, bracketed, wrong = wrong_steps()
    assert wrong == 0
    assert steps > 1000
    assert bracketed > 200


def test_it_would_not_be_with_a_band_thirty_times_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(*arguments, **options) -> Band:
        band = path_error(*arguments, **options)
        return Band(band.peak / 30, band.left / 30, band.right / 30)

    monkeypatch.setattr(ray_search, "path_error", narrow)
    assert wrong_steps()[2] > 0


def test_with_one_hidden_layer_the_path_is_the_value_itself() -> None:
    nets, x, sign, direction = downhill("one layer path", 1, 300, 10, networks=2, inputs=3)
    ray = nets.ray(x, direction)
    end = torch.full((2, 3), 9.0, dtype=torch.float64)
    (layers0, value0), (layers1, value1) = ray.at(torch.zeros_like(end)), ray.at(end)
    values = ((sign * value0).numpy(), (sign * value1).numpy())
    layers0, layers1 = ([layer.numpy() for layer in layers] for layers in (layers0, layers1))
    band = path_error(ray.maps, ray.activation, layers0, layers1)
    assert (band.peak == 0).all()
    path = chord_path(ray, sign.numpy(), layers0[-1], layers1[-1], values, 0.0, band.corners)
    for w in (0.1, 0.37, 0.9):
        np.testing.assert_allclose(on_path(*path, values[0], w), sign * ray.at(w * end)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("depth", "width"), [(2, 1000), (3, 300)])
def test_the_statistical_bound_and_the_rigorous_one_lead_to_the_same_roots_of_wide_networks(depth: int, width: int) -> None:
    nets, x, sign, direction = downhill("wide", depth, width, 10, networks=1, inputs=3)
    ray = nets.ray(x, direction)
    default, rigorous = march(ray, sign), march(ray, sign, rigorous=True)
    assert torch.equal(default.status, rigorous.status)
    torch.testing.assert_close(default.t, rigorous.t, rtol=1e-9, atol=0, equal_nan=True)
    assert default.evaluations.sum() < rigorous.evaluations.sum()


# ---------------------------------------------------------------------------------------------- guesses, levels, precision, activations


@pytest.mark.parametrize("factor", [0.01, 0.8, 1.0, 3.0, 1e9])
def test_a_guess_changes_the_work_and_not_the_root(factor: float) -> None:
    for depth, width, dim in ((1, 5, 3), (1, 300, 40), (2, 30, 20), (4, 10, 10)):
        nets, x, sign, direction = downhill("guess", depth, width, dim, networks=10, inputs=3)
        ray = nets.ray(x, direction)
        guess = factor * nets.forward(x)[1].abs() / direction.square().sum(-1)
        guess = torch.where(guess.isfinite(), guess, 1.0)
        if depth == 1:
            parts = (ray.start, ray.slope, nets.output[:, None] * sign[..., None], CAP)
            plain, guided = two_layer_roots(*parts), two_layer_roots(*parts, guess)
        else:
            plain, guided = march(ray, sign), first_roots(Patient(ray), sign, CAP, guess=guess)
        assert torch.equal(plain.status, guided.status)
        torch.testing.assert_close(guided.t, plain.t, rtol=1e-11, atol=0, equal_nan=True)


def test_a_level_is_where_the_value_has_fallen_by_so_much_more() -> None:
    """phi + level = 0 at the first place where f reaches -level: here its own size, on the other side."""
    nets, x, sign, direction = downhill("level", 2, 100, 50, networks=10, inputs=2)
    ray, size = nets.ray(x, direction), nets.forward(x)[1].abs()
    roots = first_roots(Patient(ray), sign, CAP, level=size)
    plain = first_roots(Patient(ray), sign, CAP)
    reached = roots.status == SWITCHED
    assert reached.float().mean() > 0.7
    t = torch.where(reached, roots.t, 0.0)
    torch.testing.assert_close((sign * ray.at(t)[1])[reached], -size[reached], rtol=1e-9, atol=1e-12)
    assert (roots.t[reached] > plain.t[reached]).all()


def test_in_single_precision_roots_are_those_of_double_precision_to_a_part_in_ten_thousand() -> None:
    for depth, width, dim in ((2, 100, 50), (3, 60, 10), (6, 40, 300)):
        nets, x, sign, direction = downhill("single", depth, width, dim, networks=10, inputs=3)
        ray = nets.ray(x, direction)
        single = ray_from(
            ray.start.float(),
            ray.slope.float(),
            tuple(DenseMatrix(matrix.weights.float(), matrix.deviation) for matrix in ray.hidden),
            ray.output.float(),
            ray.maps,
        )
        double, roots = march(ray, sign), march(single, sign)
        assert torch.equal(double.status, roots.status)
        torch.testing.assert_close(roots.t, double.t, rtol=1e-4, atol=0, equal_nan=True)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu"])
@pytest.mark.parametrize("depth", [1, 2])
def test_with_a_smooth_activation_the_march_finds_what_a_scan_of_20_000_points_finds(activation: str, depth: int) -> None:
    shape = Shape(10, (30,) * depth, activation=activation)
    nets = RandomNetwork.sample([stream(0, "smooth", activation, i) for i in range(8)], shape, kind="dense")
    x = nets.inputs([stream(0, "smooth x", i) for i in range(8)], 3)
    value, gradient = nets.value_and_gradient(x)
    sign = torch.where(value < 0, -1.0, 1.0).double()
    ray = nets.ray(x, -sign[..., None] * gradient)
    roots = march(ray, sign)
    grid = torch.linspace(0, CAP, 20_001, dtype=torch.float64)
    phi = torch.stack([sign * ray.at(t.expand(8, 3))[1] for t in grid])
    first = (phi < 0).to(torch.uint8).argmax(0)
    scanned = (phi < 0).any(0)
    assert torch.equal(roots.status == SWITCHED, scanned)
    right, left = grid[first], grid[(first - 1).clamp(min=0)]
    assert ((roots.t >= left) & (roots.t <= right))[scanned].all()
    assert scanned.float().mean() > 0.8


# ---------------------------------------------------------------------------------------------- batches


def test_a_root_does_not_depend_on_the_networks_that_share_the_batch() -> None:
    for depth, width, dim in ((2, 5, 5), (4, 20, 10)):
        nets, x, sign, direction = downhill("batch", depth, width, dim, networks=8, inputs=3)
        together = march(nets.ray(x, direction), sign)
        for b in range(8):
            alone = march(nets.ray(x, direction).only(torch.tensor([b]), torch.arange(3)), sign[b : b + 1])
            assert torch.equal(alone.status[0], together.status[b])
            torch.testing.assert_close(alone.t[0], together.t[b], rtol=10 * RELATIVE_ERROR[torch.float64], atol=0, equal_nan=True)
