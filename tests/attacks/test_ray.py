"""The first sign change of networks of one hidden layer, against brute force and exact arithmetic, and the documented outcomes."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from path_following import evaluate, exact, follow
from rays import CAP, downhill, march, ray_from

from onestep.attacks.ray import RESOLUTION, STATUS, two_layer_roots
from onestep.networks.random_relu import NetworkRay
from onestep.seeds import stream

EPS = float(np.finfo(np.float64).eps)


def two_layers(u, v, amplitude, cap: float = CAP) -> tuple[str, float]:
    u, v, amplitude = (torch.tensor(part, dtype=torch.float64) for part in (u, v, amplitude))
    roots = two_layer_roots(u, v, amplitude, cap)
    return STATUS[int(roots.status)], float(roots.t)


def one_hidden_layer(u, v, amplitude) -> NetworkRay:
    """phi(t) = sum_l A_l relu(u_l + t v_l) as a ray that can be marched along."""
    u, v, amplitude = (torch.tensor(part, dtype=torch.float64) for part in (u, v, amplitude))
    return ray_from(u[None, None], v[None, None], (), amplitude[None], ((amplitude.norm()[None].numpy(), 1 / math.sqrt(len(u))),))


def marched(u, v, amplitude, cap: float = CAP) -> tuple[str, float]:
    roots = march(one_hidden_layer(u, v, amplitude), torch.ones(1, 1, dtype=torch.float64), cap)
    return STATUS[int(roots.status)], float(roots.t)


# ---------------------------------------------------------------------------------------------- two layers: brute force


def scan(u: np.ndarray, v: np.ndarray, amplitude: np.ndarray, points: int = 100_000, chunk: int = 1000) -> float | None:
    """The first of 100,000 points on (0, cap] at which the network is negative, refined by bisection to where it becomes so."""

    def phi(t):
        return np.maximum(u + np.multiply.outer(t, v), 0) @ amplitude

    grid = np.linspace(0, CAP, points + 1)
    for first in range(1, points + 1, chunk):
        t = grid[first : first + chunk]
        negative = phi(t) < -64 * EPS * (np.abs(amplitude) @ (np.abs(u) + CAP * np.abs(v)))
        if negative.any():
            right = t[negative.argmax()]
            left = right - CAP / points
            for _ in range(50):
                middle = (left + right) / 2
                left, right = (left, middle) if phi(middle) < 0 else (middle, right)
            return right
    return None


def turns_negative_at(root: float, u: np.ndarray, v: np.ndarray, amplitude: np.ndarray) -> bool:
    """Exactly, for these very float64 numbers: phi < 0 somewhere between the root and the next breakpoint behind it."""
    U, V, A, t = exact(u), exact(v), exact(amplitude), Fraction(root)
    later = [-a / b for a, b in zip(U, V, strict=True) if b != 0 and -a / b > t * (1 + Fraction(1, 10**14))]
    return evaluate([np.eye(len(U), dtype=int)], A, U + V * (t + min([*later, Fraction(CAP)])) / 2) < 0


def shallow_networks(count: int):
    for i in range(count):
        rng = stream(0, "brute force", i)
        k, d = (max(1, round(200 ** rng.random())), 2) if i % 10 == 0 else (round(200 ** rng.random()), rng.integers(2, 201))
        W, a, x = rng.standard_normal((k, d)) / math.sqrt(d), rng.choice([-1.0, 1.0], k) / math.sqrt(k), rng.standard_normal(d)
        x *= math.sqrt(d) / np.linalg.norm(x)
        sign = -1.0 if np.maximum(W @ x, 0) @ a < 0 else 1.0
        yield W @ x, W @ (-sign * (a * (W @ x > 0)) @ W), sign * a


def test_the_exact_root_is_the_one_that_a_scan_of_100_000_points_finds_on_1000_networks() -> None:
    switched, earlier = 0, 0
    for u, v, amplitude in shallow_networks(1000):
        status, root = two_layers(u, v, amplitude)
        scanned = scan(u, v, amplitude)
        if scanned is not None:
            assert status == "switched"
            assert root <= scanned * (1 + 1e-6), "a later root than the scan's"
        if status != "switched":
            continue
        switched += 1
        if scanned is None or root < scanned * (1 - 1e-6):
            earlier += 1
            assert turns_negative_at(root, u, v, amplitude), "an earlier root than the scan's, and phi is not negative behind it"
        # Rounding level: relative to the sizes of the terms that cancel at the root.
        size = np.abs(amplitude) @ (np.abs(u) + root * np.abs(v))
        assert abs(np.maximum(u + root * v, 0) @ amplitude) <= 4 * EPS * size
    assert switched > 600
    assert earlier <= 20, "short dips between the scan's points are rare"


def test_the_scan_notices_a_root_that_is_not_the_first() -> None:
    """The brute force has teeth: the last root in place of the first one is caught."""
    u, v, amplitude = np.array([1.0, 0, 0, 0]), np.array([0.0, 1, 1, 1]), np.array([1.0, -2, 0, 0])
    u[2:], amplitude[2:] = (-2.0, -4.0), (4.0, -4.0)  # phi: 1 at 0, -3 at 2, 1 at 4, then falls for ever
    assert scan(u, v, amplitude) == pytest.approx(0.5, rel=1e-6)
    assert two_layers(u, v, amplitude) == ("switched", pytest.approx(0.5, rel=1e-15))


# ---------------------------------------------------------------------------------------------- two layers: exact arithmetic


def test_the_root_of_networks_with_rational_weights_is_the_exact_rational_root_to_1e_14() -> None:
    outcomes = {"switched": 0, "unswitched": 0, "dead": 0}
    for i in range(300):
        rng = stream(0, "rational", i)
        k, d = rng.integers(2, 9), rng.integers(2, 5)
        # Multiples of 1/1024 (in one dimension all breakpoints would be the same): float64 holds the weights, W x and W g without rounding.
        W, x, g = (np.round(1024 * rng.standard_normal(shape)) / 1024 for shape in ((k, d), d, d))
        amplitude = rng.choice([-1.0, 1.0], k)
        amplitude *= -1 if np.maximum(W @ x, 0) @ amplitude < 0 else 1
        walk = follow([exact(W)], exact(amplitude), exact(x), exact(g), Fraction(CAP))
        status, root = two_layers(W @ x, W @ g, amplitude)
        outcomes[walk.status] += 1
        assert status == walk.status
        if status == "switched":
            assert abs(Fraction(root) - walk.root) <= Fraction(1, 10**14) * walk.root
    assert min(outcomes.values()) >= 3, outcomes


# ---------------------------------------------------------------------------------------------- the documented outcomes

NAN = pytest.approx(math.nan, nan_ok=True)
CASES = {
    "a linear descent": ([1.0, 0], [0.0, 1], [1.0, -1], ("switched", 1)),
    "one neuron that never turns on is dead": ([-1.0], [-1.0], [1.0], ("dead", None)),
    "one neuron that turns on and counts negatively": ([-1.0], [0.5], [-1.0], ("switched", 2)),
    "one neuron that turns on and counts positively": ([-1.0], [0.5], [1.0], ("unswitched", None)),
    "one neuron that stays on": ([1.0], [1.0], [1.0], ("unswitched", None)),
    "one neuron that turns off: zero, but not on the whole ray": ([1.0], [-0.5], [1.0], ("unswitched", None)),
    "all neurons off and staying off": ([-1.0, -2, 0], [-1.0, 0, -1], [1.0, -1, -1], ("dead", None)),
    "a plateau of zeros, then a negative stretch: its end": ([1.0, -2], [-1.0, 1], [1.0, -1], ("switched", 2)),
    "a plateau of zeros, then a positive stretch": ([1.0, -2], [-1.0, 1], [1.0, 1], ("unswitched", None)),
    "a plateau of zeros, a positive stretch, then a negative one": ([1.0, -2, -3], [-1.0, 1, 1], [1.0, 1, -2], ("switched", 4)),
    "a plateau of zeros up to the cap": ([1.0, -1], [-1.0, -1], [1.0, 1], ("unswitched", None)),
    "a plateau of zeros from the start, then a negative stretch": ([-3.0, -1], [1.0, -1], [-1.0, 1], ("switched", 3)),
    "a breakpoint exactly at the root, falling on": ([1.0, 0, -1], [0.0, 1, 1], [1.0, -1, -1], ("switched", 1)),
    "touching zero at a breakpoint and rising again": ([1.0, 0, -1], [0.0, 1, 1], [1.0, -1, 2], ("unswitched", None)),
    "two neurons that switch at the same place": ([1.0, -1, -1, 0], [0.0, 1, 1, 0.5], [1.0, 1, -2, -1], ("switched", 4 / 3)),
    "every neuron starts at zero and the first stretch is negative": ([0.0, 0], [1.0, -1], [-1.0, 1], ("switched", 0)),
    "every neuron starts at zero and the first stretch is positive": ([0.0, 0], [1.0, -1], [1.0, -1], ("unswitched", None)),
    "a direction that moves nothing": ([1.0, 2, -1], [0.0, 0, 0], [1.0, 1, -1], ("unswitched", None)),
    "a direction that moves nothing, dead": ([-1.0, -2], [0.0, 0], [1.0, 1], ("dead", None)),
    "neurons that do not move": ([1.0, 0, -5, 2], [0.0, 1, 0, 0], [1.0, -1, -9, 0.5], ("switched", 2)),
    "the first of three crossings": ([1.0, 0, -2, -4], [0.0, 1, 1, 1], [1.0, -2, 4, -4], ("switched", 0.5)),
    "a root behind the cap": ([1.0, 0], [0.0, 1], [1.0, -1 / 32], ("unswitched", None)),
}


@pytest.mark.parametrize("find", [two_layers, marched])
@pytest.mark.parametrize("case", CASES)
def test_outcome_of(case: str, find) -> None:
    u, v, amplitude, (status, root) = CASES[case]
    # The march ends a plateau to within RESOLUTION, everything else exactly.
    assert find(u, v, amplitude) == (
        status,
        NAN if root is None else pytest.approx(root, rel=1e-14 if find is two_layers else RESOLUTION[torch.float64]),
    )


@pytest.mark.parametrize("find", [two_layers, marched])
def test_a_root_counts_only_where_the_value_is_negative_before_the_cap(find) -> None:
    line = ([1.0, 0], [0.0, 1], [1.0, -1])  # root at 1
    assert find(*line, cap=1 + 1e-9) == ("switched", pytest.approx(1))
    assert find(*line, cap=1.0)[0] == "unswitched"
    assert find(*line, cap=1 - 1e-9)[0] == "unswitched"


def test_a_network_that_is_zero_where_the_march_looks_but_not_in_between_is_alive() -> None:
    spike = ([-3.3, -3.301, -3.302], [1.0, 1, 1], [1.0, -2, 1])
    assert two_layers(*spike)[0] == marched(*spike)[0] == "unswitched"


# ---------------------------------------------------------------------------------------------- batches


def test_an_exact_root_does_not_depend_on_the_other_rays_of_the_batch() -> None:
    nets, x, sign, direction = downhill("batch", 1, 30, 5, networks=4, inputs=3)
    ray, amplitude = nets.ray(x, direction), nets.output[:, None] * sign[..., None]
    together = two_layer_roots(ray.start, ray.slope, amplitude, CAP)
    for b in range(4):
        for i in range(3):
            alone = two_layer_roots(ray.start[b, i], ray.slope[b, i], amplitude[b, i], CAP)
            assert alone.status == together.status[b, i]
            torch.testing.assert_close(alone.t, together.t[b, i], rtol=1e-14, atol=0, equal_nan=True)
