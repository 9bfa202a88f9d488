"""Infinite width: against the kernel's definition, the conditional laws it implies, a grid of angles, and wide dense networks."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from onestep.attacks.ray import two_layer_roots
from onestep.seeds import stream
from onestep.theory import infinite_width as iw
from onestep.theory import laws

LEVEL = 1e-3
"""Of every Kolmogorov-Smirnov test, divided by the number of comparisons in it: the chance that a right program would have been
rejected, had the seed not been fixed."""
CAP = 20.0
NETWORKS = 20_000


def generators(*name: str | int, networks: int = NETWORKS) -> list[np.random.Generator]:
    return [stream(0, "infinite-width", *name, index) for index in range(networks)]


def states_covariance(angles: np.ndarray) -> np.ndarray:
    """Of (h, h') at each of the angles, in their order, by differentiating kappa by hand."""
    t = angles[:, None] - angles
    a, sign = abs(t), np.sign(t)
    kappa = (np.sin(a) + (np.pi - a) * np.cos(a)) / (2 * np.pi)
    first = -(np.pi - a) * np.sin(a) / (2 * np.pi)
    second = (np.sin(a) - (np.pi - a) * np.cos(a)) / (2 * np.pi)
    blocks = np.stack([np.stack([kappa, -sign * first], -1), np.stack([sign * first, -second], -1)], -2)
    return blocks.transpose(0, 2, 1, 3).reshape(2 * len(angles), 2 * len(angles))


def at_x(dim: int, networks: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|f(x)|, the gradient's tangential length times sqrt(d), and the angle at which the step reaches CAP."""
    height, length = abs(rng.standard_normal(networks)) * math.sqrt(0.5), np.sqrt(rng.chisquare(dim - 1, networks) / 2)
    return height, length, np.arctan2(CAP * length, dim - CAP * height)


def differ(first: np.ndarray, second: np.ndarray) -> float:
    """p-value of two samples in which not-a-number stands for "beyond every other"."""
    return float(stats.ks_2samp(*(np.nan_to_num(sample, nan=1e9) for sample in (first, second))).pvalue)


def test_the_covariance_is_that_of_random_neurons() -> None:
    """Of relu(<w, x>) and relu(<w, y>), w ~ N(0, I), by simulation: 1e6 neurons, within 4.5 standard errors at each of 6 angles."""
    first, second = np.random.default_rng(1).standard_normal((2, 1_000_000))
    for angle in np.linspace(0, np.pi, 6):
        products = first.clip(min=0) * (first * np.cos(angle) + second * np.sin(angle)).clip(min=0)
        error = 4.5 * products.std() / 1000
        assert float(iw.covariance(angle)) == pytest.approx(products.mean(), abs=error + 1e-12)
        assert abs(float(iw.covariance(angle)) + 0.02 - products.mean()) > error


@pytest.mark.parametrize("ends", [(0.0, np.pi), (0.3, 2.5), (1.0, 1.5), (2.0, 2.05)])
def test_the_state_halfway_is_the_regression_on_the_states_at_both_ends(ends: tuple[float, float]) -> None:
    """And states further out add nothing: h is Markov on (0, pi)."""
    low, high = ends
    weights, deviations = iw.middle_law(high - low)

    for outer in ([], [max(low - 0.3, 0.0)], [min(high + 0.3, np.pi)]):
        given = [low, high, *(angle for angle in outer if angle not in ends)]
        joint = states_covariance(np.array([(low + high) / 2, *given]))
        regression = np.linalg.solve(joint[2:, 2:], joint[2:, :2]).T
        assert np.allclose(regression[:, :4], weights, atol=1e-8)
        assert np.allclose(regression[:, 4:], 0, atol=1e-8)
        left = joint[:2, :2] - regression @ joint[2:, :2]
        assert np.allclose(left, np.diag(deviations**2), atol=1e-10)


def test_short_cells_are_as_accurate_as_long_ones() -> None:
    """As the gap g goes to 0: cubic interpolation, and the variances sigma^2 g^3 / 192 and sigma^2 g / 16, sigma^2 = 2/pi."""
    gap = 1e-9
    weights, deviations = iw.middle_law(gap)
    assert np.allclose(weights, [[0.5, gap / 8, 0.5, -gap / 8], [-1.5 / gap, -0.25, 1.5 / gap, -0.25]], rtol=1e-9)
    assert np.allclose(deviations**2, [2 / np.pi * gap**3 / 192, 2 / np.pi * gap / 16], rtol=1e-9)
    assert np.allclose(*(iw.middle_law(0.5 + side)[1] for side in (-1e-12, 1e-12)), rtol=1e-10)  # where the series begins


def halved(start: np.ndarray, end: np.ndarray, gap: float, times: int, rng: np.random.Generator | None) -> np.ndarray:
    """h on a grid of a cell, [N, 2^times + 1], given the states at its ends; its mean without a generator."""
    path = np.stack([start, end], 1)
    for level in range(times):
        weights, deviations = iw.middle_law(gap / 2**level)
        middle = (weights @ np.concatenate([path[:, :-1], path[:, 1:]], -1)[..., None])[..., 0]
        if rng is not None:
            middle += deviations * rng.standard_normal(middle.shape)
        finer = np.empty((len(path), 2 * path.shape[1] - 1, 2))
        finer[:, ::2], finer[:, 1::2] = path, middle
        path = finer
    return path[..., 0]


@pytest.mark.parametrize("gap", [1.0, 0.2, 1e-3])
def test_the_process_stays_near_its_chord(gap: float) -> None:
    """Its mean always and tightly so; itself but for what the margin leaves, twice the normal law's two tails for a whole cell."""
    rng = np.random.default_rng(2)
    start, end = rng.standard_normal((2, 5_000, 2)) * [gap, 1]
    x = np.linspace(0, gap, 33)
    chord = (start[:, :1] * np.sin(gap - x) + end[:, :1] * np.sin(x)) / np.sin(gap)
    deviation = np.full(len(start), iw.middle_law(gap)[1][0])

    mean = abs(halved(start, end, gap, 5, None) - chord).max(-1) / iw.chord_error(start, end, np.full(len(start), gap), deviation, 0.0)
    assert 0.7 < mean.max() < 0.8

    # From a chord's own slopes on, nothing but the noise is left.
    start[:, 1] = (end[:, 0] - start[:, 0] * np.cos(gap)) / np.sin(gap)
    end[:, 1] = (end[:, 0] * np.cos(gap) - start[:, 0]) / np.sin(gap)
    noise = abs(halved(start, end, gap, 5, rng) - chord).max(-1)
    left = (noise > iw.chord_error(start, end, np.full(len(start), gap), deviation, 2.0)).mean()
    assert stats.norm.sf(2.0) < left < 2 * 2 * stats.norm.sf(2.0)
    assert 2 * 2 * stats.norm.sf(iw.MARGIN) < 1e-11
    assert np.isinf(iw.chord_error(start, end, np.full(len(start), 1.01), deviation)).all()


def grid_zeros(height: np.ndarray, length: np.ndarray, limit: np.ndarray, angles: int, rng: np.random.Generator) -> np.ndarray:
    """First zeros the plain way: h on a grid by a Cholesky factor of its covariance given h(0) and h'(0), interpolated."""
    t = np.pi * (np.arange(1, angles + 1) / (angles + 1)) ** 1.5  # finer near 0
    value, slope = iw.covariance(t), (np.pi - t) * np.sin(t) / (2 * np.pi)
    conditional = iw.covariance(abs(t[:, None] - t)) - 2 * np.outer(value, value) - 2 * np.outer(slope, slope)
    factor = np.linalg.cholesky(conditional + 1e-13 * np.eye(angles))
    h = 2 * np.outer(height, value) - 2 * np.outer(length, slope) + rng.standard_normal((len(height), angles)) @ factor.T
    h, t = np.column_stack([height, h]), np.append(0, t)
    right = (h < 0).argmax(-1)
    rows = np.arange(len(h))[right > 0]
    right = right[rows]
    share = h[rows, right - 1] / (h[rows, right - 1] - h[rows, right])
    zero = np.full(len(h), np.nan)
    zero[rows] = t[right - 1] + share * (t[right] - t[right - 1])
    return np.where(zero < limit, zero, np.nan)


@pytest.mark.parametrize("dim", [3, 10, 100])
def test_first_zeros_are_those_on_a_grid(dim: int) -> None:
    rng = np.random.default_rng(3)
    height, length, limit = at_x(dim, 5_000, rng)
    reference = grid_zeros(height, length, limit, 250, rng)

    def zeros(slope: np.ndarray) -> np.ndarray:
        return iw.first_zeros(height, slope, limit, generators("grid", dim, networks=len(height)))

    level = LEVEL / 3
    assert differ(zeros(-length), reference) > level
    # A plane that does not contain the gradient, and a gradient that is not oriented.
    assert differ(zeros(-np.sqrt(rng.chisquare(1, len(height)) / 2)), reference) < level
    assert differ(zeros(length * rng.choice([-1, 1], len(height))), reference) < level


def finite(dim: int, width: int, networks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f(x), ||grad f(x)|| and the exact first sign change of dense networks, one input each."""
    rng, parts, block = np.random.default_rng(4), [], 50
    for _ in range(networks // block):
        W = rng.standard_normal((block, width, dim)) / math.sqrt(dim)
        a = rng.choice([-1.0, 1.0], (block, width)) / math.sqrt(width)
        x = rng.standard_normal((block, dim))
        x *= math.sqrt(dim) / np.linalg.norm(x, axis=-1, keepdims=True)
        u = (W @ x[..., None])[..., 0]
        value = (a * u.clip(min=0)).sum(-1)
        gradient = ((a * (u > 0))[:, None] @ W)[:, 0]
        sign = np.sign(value)
        v = -sign[:, None] * (W @ gradient[..., None])[..., 0]
        step = two_layer_roots(*map(torch.from_numpy, (u, v, a * sign[:, None])), CAP).t
        parts.append([value, np.linalg.norm(gradient, axis=-1), step.numpy()])
    value, norm, step = np.concatenate(parts, -1)
    return value, norm, step


def questions(value: np.ndarray, norm: np.ndarray, step: np.ndarray) -> list[np.ndarray]:
    """The three, the perturbation's length, and how much longer it is than a linear function's: a joint law has them all."""
    return [value, norm, step, step * norm, step * norm**2 / abs(value)]


@pytest.mark.parametrize(
    ("dim", "width", "networks"),
    [
        (10, 1_000, 3_000),
        *(pytest.param(dim, 3_000, 8_000, marks=pytest.mark.laws) for dim in (3, 10, 30)),
    ],
)
def test_wide_networks_have_this_joint_law(dim: int, width: int, networks: int) -> None:
    """Kolmogorov and Smirnov, five comparisons; wrong laws of the same three quantities are told apart."""
    limit = iw.sample(generators("finite", dim), dim, CAP)
    wide = questions(*finite(dim, width, networks))
    level = LEVEL / len(wide)

    def rejected(value: np.ndarray, norm: np.ndarray, step: np.ndarray) -> bool:
        return any(differ(mine, other) < level for mine, other in zip(questions(value, norm, step), wide, strict=True))

    assert not rejected(limit.value, limit.gradient_norm, limit.step)
    # Right one by one, but independent of each other.
    assert rejected(limit.value, limit.gradient_norm, np.random.default_rng(5).permutation(limit.step))
    # The tangential gradient of a dimension more: chi_d in place of chi_{d-1}; and of one alone, in the plane only.
    rng = np.random.default_rng(6)
    height = abs(limit.value)
    length = np.sqrt(dim * limit.gradient_norm**2 - height**2)
    for wrong in (np.sqrt(length**2 + rng.chisquare(1, NETWORKS) / 2), np.sqrt(rng.chisquare(1, NETWORKS) / 2)):
        zero = iw.first_zeros(height, -wrong, np.arctan2(CAP * wrong, dim - CAP * height), generators("wrong", dim))
        step = dim * np.sin(zero) / (wrong * np.cos(zero) + height * np.sin(zero))
        assert rejected(limit.value, limit.gradient_norm, step)


def test_the_perturbation_tends_to_the_half_normal_law() -> None:
    def p_value(dim: int) -> float:
        limit = iw.sample(generators("half-normal", dim, networks=10_000), dim, CAP)
        return float(stats.kstest(np.nan_to_num(limit.step * limit.gradient_norm, nan=np.inf), stats.halfnorm.cdf).pvalue)

    assert p_value(1_000_000) > LEVEL
    assert p_value(100) < LEVEL


def test_at_dimension_ten_not_all_networks_switch() -> None:
    """96.81% do, 95% interval [96.73, 96.89], of 200,000 other networks; with chi_10 in place of chi_9 97.5% would."""
    switched = np.isfinite(iw.sample(generators("share"), 10, CAP).step)
    interval = stats.binomtest(int(switched.sum()), NETWORKS).proportion_ci(1 - LEVEL)
    assert interval.low < 0.9681 < interval.high < 0.975
    low, high = (np.isfinite(iw.sample(generators("share", networks=2_000), dim, CAP).step).mean() for dim in (3, 100))
    assert low < interval.low
    assert high == 1


def test_a_looser_tolerance_moves_no_zero_by_more_and_loses_none() -> None:
    height, length, limit = at_x(10, 2_000, np.random.default_rng(7))
    reference = iw.first_zeros(height, -length, limit, generators("tolerance", networks=2_000), 1e-12)
    for tolerance in (1e-3, iw.TOLERANCE):
        zero = iw.first_zeros(height, -length, limit, generators("tolerance", networks=2_000), tolerance)
        assert (np.isnan(zero) == np.isnan(reference)).all()
        assert 0 < np.nanmax(abs(zero / reference - 1)) < tolerance


def test_the_cap_hides_steps_and_changes_none() -> None:
    far, near = (iw.sample(generators("cap", networks=2_000), 5, cap).step for cap in (100.0, 2.0))
    assert np.array_equal(near, np.where(far < 2.0, far, np.nan), equal_nan=True)
    assert 0.4 < np.isfinite(near).mean() < np.isfinite(far).mean() < 1


def test_a_networks_numbers_do_not_depend_on_the_others() -> None:
    """More than one helping of normal variates included: 2 dimensions need the most."""
    together, alone = (iw.sample(generators("split", networks=1_000)[first:], 2, CAP) for first in (0, 300))
    for name in ("value", "gradient_norm", "step"):
        assert np.array_equal(getattr(together, name)[300:], getattr(alone, name), equal_nan=True)


# Additions to theory/laws.py that hold at infinite width.


def test_normal_means() -> None:
    assert laws.normal_mean(lambda x: np.maximum(x, 0) ** 2) == pytest.approx(0.5, abs=1e-12)
    assert laws.normal_mean(lambda x: x**8) == pytest.approx(105, rel=1e-12)
    assert laws.normal_mean(lambda x: np.cos(x)) == pytest.approx(math.exp(-0.5), abs=1e-12)


@pytest.mark.parametrize("q", [1.0, 1.5, 2.0, math.inf])
def test_the_norm_of_a_normal_vector(q: float) -> None:
    vectors = np.random.default_rng(9).standard_normal((4_000, 500))
    norms = np.linalg.norm(vectors, q, axis=-1)
    assert laws.normal_vector_norm(500, q) == pytest.approx(norms.mean(), rel=4e-3)
