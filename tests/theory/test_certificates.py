"""Certified lower bounds against exact distances, found by enumerating the linear pieces of tiny networks, and against the attack."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import optimize

from onestep.attacks.minimal import OK, smallest
from onestep.seeds import stream
from onestep.theory import certificates


class Net(NamedTuple):
    W: torch.Tensor
    b: torch.Tensor | None
    a: torch.Tensor
    x: torch.Tensor

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """W, b, c = a / sqrt(k) and x in NumPy, c signed so that f(x) >= 0."""
        W, a, x = (part.numpy() for part in (self.W, self.a, self.x))
        b, c = np.zeros(len(W)) if self.b is None else self.b.numpy(), a / math.sqrt(len(a))
        return W, b, -c if value(W, b, c, x) < 0 else c, x


def net_of(W, b, a, x) -> Net:
    return Net(*(None if part is None else torch.tensor(part, dtype=torch.float64) for part in (W, b, a, x)))


def value(W: np.ndarray, b: np.ndarray, c: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(y @ W.T + b, 0) @ c


def model(net: Net):
    c = net.a / math.sqrt(len(net.a))

    def evaluate(points):
        z = points @ net.W.T + (0 if net.b is None else net.b)
        return z.relu() @ c, ((z > 0) * c) @ net.W

    return evaluate


def tiny(name: str, count: int, dims: tuple[int, ...] = (1, 2, 3)):
    """Networks of up to 8 neurons with and without bias, with signs and with any numbers as output weights; f(x) != 0."""
    for i in range(count):
        rng = stream(0, name, i)
        d = int(rng.choice(dims))
        k = int(rng.integers(1, 9 if d < 3 else 6))
        W, b, x = rng.standard_normal((k, d)), rng.standard_normal(k) if i % 3 else None, rng.standard_normal(d)
        a = rng.standard_normal(k) if i % 2 else rng.choice([-1.0, 1.0], k)
        net = net_of(W, b, a, x)
        if value(*net.arrays) > 0:
            yield net


def wide(d: int, k: int, index: int) -> Net:
    """w ~ N(0, 1/d), a = +-1, ||x|| = sqrt d."""
    rng = stream(0, "wide", d, k, index)
    W, a, x = rng.standard_normal((k, d)) / math.sqrt(d), rng.choice([-1.0, 1.0], k), rng.standard_normal(d)
    return net_of(W, None, a, x * math.sqrt(d) / np.linalg.norm(x))


def exact_l2(net: Net) -> float:
    """The distance from x to the nearest point with f <= 0, where f > 0 at x.

    That point lies on some set S of hyperplanes <w_s, y> + b_s = 0, perhaps empty, and is the projection of x onto their intersection,
    or onto that and the zero set of one of the 2^k linear pieces. So project onto all of these, and keep what the network itself confirms.
    """
    W, b, c, x = net.arrays
    k, d = W.shape
    patterns = np.array(list(itertools.product([0.0, 1.0], repeat=k)))
    pieces, planes = np.c_[(patterns * c) @ W, patterns @ (c * b)][:, None], np.c_[W, b]
    points = []
    for j in range(d + 1):
        for chosen in itertools.combinations(range(k), j):
            fixed = planes[list(chosen)].reshape(1, j, d + 1)
            with_piece = np.concatenate([fixed.repeat(len(pieces), axis=0), pieces], axis=1) if j < d else fixed
            for flats in (fixed, with_piece):
                A, offset = flats[..., :d], flats[..., :d] @ x + flats[..., d]
                points.append(x - (np.linalg.pinv(A) @ offset[..., None])[..., 0])
    found = np.concatenate(points)
    found = found[value(W, b, c, found) <= 1e-10]
    return np.linalg.norm(found - x, axis=1).min(initial=np.inf)


def exact_by_linear_programs(net: Net, order: float) -> float:
    """The same in l1 (order 1) or l-infinity: one linear program for each activation pattern."""
    W, b, c, x = net.arrays
    k, d = W.shape
    sizes = d if order == 1 else 1  # -t <= delta <= t, one t for each coordinate or one for all
    wide_ = np.eye(d) if order == 1 else np.ones((d, 1))
    best = math.inf
    for pattern in itertools.product([0.0, 1.0], repeat=k):
        on = np.array(pattern)
        side = 1 - 2 * on  # side (W y + b) <= 0
        rows = [np.c_[np.eye(d), -wide_], np.c_[-np.eye(d), -wide_], np.c_[side[:, None] * W, np.zeros((k, sizes))]]
        rows.append(np.r_[(on * c) @ W, np.zeros(sizes)][None])
        limits = np.r_[np.zeros(2 * d), -side * (W @ x + b), -(on * c) @ (W @ x + b)]
        program = optimize.linprog(np.r_[np.zeros(d), np.ones(sizes)], np.vstack(rows), limits, bounds=(None, None))
        best = min(best, program.fun) if program.status == 0 else best
    return best


# ---------------------------------------------------------------------------------------------- tiny networks, exactly


@pytest.fixture(scope="module")
def solved() -> list[tuple[Net, float]]:
    return [(net, exact_l2(net)) for net in tiny("solved", 220)]


def test_the_exact_distance_is_the_smallest_that_a_dense_cloud_of_points_finds() -> None:
    for net in itertools.islice(tiny("cloud", 40, dims=(2,)), 15):
        exact = exact_l2(net)
        angle, radius = np.meshgrid(np.linspace(0, 2 * math.pi, 2000), np.linspace(0.5, 1.5, 201) * min(exact, 10.0))
        W, b, c, x = net.arrays
        values = value(W, b, c, x + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1))
        assert (values[radius < exact * (1 - 1e-9)] > 0).all()
        if math.isfinite(exact) and exact < 10:
            slack = 0.005 * exact * np.abs(c) @ np.linalg.norm(W, axis=1)
            assert values[radius <= 1.005 * exact].min() <= slack


def test_bound_below_exact_distance_below_attack(solved) -> None:
    ratios, attained = [], []
    for net, exact in solved:
        bound = certificates.l2_lower_bound(*net)
        assert 0 < bound <= exact * (1 + 1e-9)
        found = smallest(model(net), net.x[None], 2)
        if int(found.status[0]) == OK:
            assert float(found.distance[0]) >= exact * (1 - 1e-9)
            attained.append(float(found.distance[0]) <= exact * 1.001)
        if math.isfinite(exact):
            ratios.append(bound / exact)
    assert len(ratios) >= 150
    assert np.median(ratios) > 0.9
    assert np.quantile(ratios, 0.25) > 0.75
    # Where neurons are so few, the nearest sign change is often behind another linear piece than the ones the attack sees.
    assert len(attained) >= 90
    assert np.mean(attained) > 0.7


def radius_at(nu_above: float, constant, slope, curvature) -> float:
    """The radius that one dual point certifies, worked out without eigenvectors."""
    nu = max(float(torch.linalg.eigvalsh(curvature)[-1]), 0.0) + nu_above
    solved = torch.linalg.solve(nu * torch.eye(len(slope), dtype=slope.dtype) - curvature, slope)
    return math.sqrt(max(float(constant - slope @ solved / 4) / nu, 0.0))


def random_minorant(net: Net, exact: float, seed: int, reach: float):
    rng = stream(0, "dual point", seed)
    z, c, _ = certificates._oriented(net.W, net.b, net.a, net.x)
    centre = torch.tensor(rng.standard_normal(len(net.x))) * min(exact, 10) * rng.random()
    return certificates.minorant(net.W, z, c, centre, float(rng.exponential(0.3)) + 0.01, reach), float(rng.exponential(1.0)) + 1e-6


BROKEN = {
    "curvature": lambda constant, slope, curvature, value: (constant, slope, curvature / 2),
    "constant": lambda constant, slope, curvature, value: (value, slope, curvature),
    "slope": lambda constant, slope, curvature, value: (constant, slope / 2, curvature),
}


@pytest.mark.parametrize("broken", [None, *BROKEN, "reach"])
def test_any_dual_point_gives_a_valid_bound_and_a_wrong_minorant_does_not(solved, broken: str | None) -> None:
    """Random centre, softness, reach and nu. The same check catches a minorant with one of its parts wrong."""
    violations, positive = 0, 0
    for seed, (net, exact) in enumerate(solved):
        reach = 2 * exact if math.isfinite(exact) else 10.0
        if broken == "reach":
            reach /= 8  # neurons that do change sign are taken as linear
        parts, nu_above = random_minorant(net, exact, seed, reach)
        if broken in BROKEN:
            parts = BROKEN[broken](*parts, float(value(*net.arrays)))
        radius = radius_at(nu_above, *parts)
        best = certificates.positive_radius(*parts)
        assert best >= radius * (1 - 1e-6), "the search is at least as good as a random point"
        violations += best > exact * (1 + 1e-9) and (broken == "reach" or best <= reach)
        positive += best > 0
    assert positive >= 100
    assert violations == 0 if broken is None else violations >= 5


def test_the_minorant_is_below_the_network_and_nearly_touches_it_at_its_centre() -> None:
    for seed, net in enumerate(tiny("touch", 60)):
        W, b, c, x = net.arrays
        rng = stream(0, "touch", seed, "points")
        reach, soft = float(rng.exponential(2.0)), 0.05
        delta = rng.standard_normal((500, len(x)))
        delta *= (reach * rng.random(500) / np.linalg.norm(delta, axis=1))[:, None]
        parts = certificates.minorant(net.W, torch.tensor(W @ x + b), torch.tensor(c), torch.tensor(delta[0]), soft, reach)
        constant, slope, curvature = (part.numpy() for part in parts)
        gaps = value(W, b, c, x + delta) - (constant + delta @ slope - ((delta @ curvature) * delta).sum(1))
        assert gaps.min() >= -1e-12
        assert gaps[0] <= soft * np.abs(c) @ np.linalg.norm(W, axis=1) / 4 + 1e-12


def test_the_radius_of_a_quadratic_is_the_one_that_the_circle_shows() -> None:
    """Along a direction u, C + r <q, u> - r^2 u'Mu = 0 is an equation for r; the smallest over a dense circle is the radius."""
    angle = np.linspace(0, 2 * math.pi, 40_000)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for i in range(20):
        rng = stream(0, "quadratic", i)
        half = rng.standard_normal((2, 2 if i % 4 else 1))
        M, q, constant = half @ half.T, rng.standard_normal(2), rng.exponential()
        if i % 5 == 0:  # the hard case: q has no part along the largest eigenvalue
            M, q = np.diag([0.3, 2.0]), np.array([0.1 * i, 0.0])
        linear, square = circle @ q, ((circle @ M) * circle).sum(1)
        root = 2 * constant / (np.sqrt(linear**2 + 4 * square * constant) - linear).clip(min=1e-300)
        assert certificates.positive_radius(*(torch.tensor(part) for part in (constant, q, M))) == pytest.approx(root.min(), rel=1e-7)


def test_l1_and_linf_bounds_are_below_the_linear_programs() -> None:
    ratios = []
    for net in itertools.islice(tiny("programs", 100, dims=(2,)), 40):
        if len(net.a) > 5:
            continue
        for order, bound in ((1, certificates.l1_lower_bound), (math.inf, certificates.linf_lower_bound)):
            exact = exact_by_linear_programs(net, order)
            assert 0 < bound(*net) <= exact * (1 + 1e-8)
            ratios.append((order, bound(*net) / exact))
    assert len(ratios) >= 30
    assert np.median([ratio for order, ratio in ratios if order == 1]) > 0.8


def test_l1_finds_the_exact_minimum_of_its_minorant() -> None:
    """Where every neuron but the one that is always on has c < 0, f is its own minorant: compare with a scan along the axes."""
    t = np.linspace(0, 20, 20_001)
    for i in range(10):
        rng = stream(0, "concave", i)
        W, b, a, x = rng.standard_normal((6, 3)), rng.standard_normal(6), -rng.random(6), rng.standard_normal(3)
        W[0], b[0], a[0] = 0, 1, 0
        a[0] = 1 - np.maximum(W @ x + b, 0) @ a
        net = net_of(W, b, a, x)
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        positive = value(*net.arrays[:3], x + t[:, None, None] * axes).min(axis=1) > 0
        reached = t[positive.argmin()] if not positive.all() else 20.0
        assert min(certificates.l1_lower_bound(*net), 20.0) == pytest.approx(reached, abs=1.1e-3)


# ---------------------------------------------------------------------------------------------- closed forms and edges


def test_of_a_linear_network_every_distance_is_known() -> None:
    """Large biases keep every neuron on far beyond the boundary."""
    for i in range(30):
        rng = stream(0, "linear", i)
        k, d = int(rng.integers(1, 20)), int(rng.integers(1, 20))
        W, b, a = rng.standard_normal((2 * k, d)), 1e5 + rng.standard_normal(2 * k), rng.standard_normal(k)
        net = net_of(W, b, np.r_[a, -a], rng.standard_normal(d))
        W, b, c, x = net.arrays
        size, gradient = float(value(W, b, c, x)), c @ W
        distance = size / np.linalg.norm(gradient)
        assert distance < 1e3
        assert certificates.l2_lower_bound(*net) == pytest.approx(distance, rel=1e-7)
        assert certificates.l1_lower_bound(*net) == pytest.approx(size / np.abs(gradient).max(), rel=1e-7)
        assert certificates.linf_lower_bound(*net) == pytest.approx(distance / math.sqrt(d), rel=1e-7)
        assert float(smallest(model(net), net.x[None], 2).distance) == pytest.approx(distance, rel=1e-7)


BOUNDS = (certificates.l1_lower_bound, certificates.l2_lower_bound, certificates.linf_lower_bound)


@pytest.mark.parametrize("bound", BOUNDS)
def test_one_neuron_in_one_dimension(bound) -> None:
    for a in (2.0, -0.5):
        assert bound(*net_of([[3.0]], None, [a], [0.7])) == pytest.approx(0.7)
        assert bound(*net_of([[3.0]], [1.0], [a], [0.7])) == pytest.approx(0.7 + 1 / 3)


@pytest.mark.parametrize("bound", BOUNDS)
def test_where_the_value_is_zero_the_bound_is_zero_and_where_the_network_is_constant_infinite(bound) -> None:
    assert bound(*net_of([[1.0, 2.0], [3.0, 1.0]], None, [1.0, -1.0], [-1.0, -1.0])) == 0  # dead
    assert bound(*net_of([[1.0, 0.0], [0.0, 1.0]], None, [1.0, -1.0], [2.0, 2.0])) == 0  # on the boundary
    assert bound(*net_of([[0.0, 0.0]], [1.0], [1.0], [2.0, 2.0])) == math.inf


def test_a_network_whose_gradient_is_zero_at_the_input() -> None:
    """f = 1 - relu(y_1 - 1), times 1 / sqrt 2: flat at the origin, zero from y_1 = 2 on."""
    net = net_of([[0.0, 0.0], [1.0, 0.0]], [1.0, -1.0], [1.0, -1.0], [0.0, 0.0])
    assert certificates.l1_lower_bound(*net) == pytest.approx(2)
    assert 1 <= certificates.l2_lower_bound(*net) <= 2


@pytest.mark.parametrize("bound", BOUNDS)
def test_bounds_do_not_depend_on_scale_or_sign(bound) -> None:
    W, _, a, x = wide(20, 50, 0)
    expected = bound(W, None, a, x)
    for scaled in ((W, -a, x), (1e-6 * W, 1e3 * a, x), (1e5 * W, a, x)):
        assert bound(scaled[0], None, *scaled[1:]) == pytest.approx(expected, rel=1e-6)
    assert bound(W, None, a, 100 * x) == pytest.approx(100 * expected, rel=1e-6)


# ---------------------------------------------------------------------------------------------- wide networks


@pytest.mark.parametrize(("d", "k", "least"), [(100, 100, 0.9), (100, 1000, 0.9), (20, 1000, 0.7), (50, 5000, 0.7)])
def test_bound_and_attack_enclose_the_distance_closely(d: int, k: int, least: float) -> None:
    ratios = []
    for i in range(6):
        net = wide(d, k, i)
        found = smallest(model(net), net.x[None], 2)
        assert int(found.status[0]) == OK
        ratios.append(certificates.l2_lower_bound(*net) / float(found.distance[0]))
    assert max(ratios) <= 1
    assert np.median(ratios) > least
