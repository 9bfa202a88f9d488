"""Limit laws: closed forms against integrals and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from onestep.theory import laws


def test_the_half_normal_constants() -> None:
    assert pytest.approx(math.sqrt(2 / math.pi)) == laws.HALF_NORMAL_MEAN
    assert pytest.approx(0.6744897501960817) == laws.HALF_NORMAL_MEDIAN
    assert np.allclose(laws.half_normal_quantile([0.5, 0.9]), stats.norm.ppf([0.75, 0.95]))


def test_the_distance_is_scipys_and_infinite_values_count() -> None:
    values = np.abs(np.random.default_rng(1).standard_normal(500)) * 1.1
    assert laws.half_normal_distance(values) == pytest.approx(stats.kstest(values, stats.halfnorm.cdf).statistic)
    assert laws.half_normal_distance(np.full(10, np.inf)) == 1
    assert laws.half_normal_distance(np.append(values[:100], np.full(100, np.inf))) >= 0.5


def test_the_linear_step_flips_what_lies_within_reach() -> None:
    """P(|f| < c) for f ~ N(0, 1/2), by simulation; 1e5 draws, within 4 standard errors."""
    value = np.random.default_rng(2).normal(0, math.sqrt(0.5), 100_000)
    for c in (0.25, 1.0, 2.0):
        assert float(laws.linear_flip_share(c)) == pytest.approx((abs(value) < c).mean(), abs=4 * 0.5 / math.sqrt(1e5))


def test_the_gradient_changes_with_the_share_of_neurons_that_switch() -> None:
    """2-d geometry: a hyperplane with random normal separates x and x + delta (orthogonal, small) with probability angle / pi."""
    radius, dim = 0.5, 400
    angles = np.random.default_rng(3).uniform(0, 2 * math.pi, 2_000_000)
    x, y = np.array([math.sqrt(dim), 0.0]), np.array([math.sqrt(dim), radius])
    normals = np.stack([np.cos(angles), np.sin(angles)])
    separated = ((x @ normals) * (y @ normals) < 0).mean()
    assert float(laws.gradient_change(radius, dim)) ** 2 == pytest.approx(separated / 0.5, rel=0.05)


def test_a_linear_step_for_values_of_another_deviation() -> None:
    assert float(laws.linear_flip_share(0.6, 0.3)) == pytest.approx(2 * stats.norm.cdf(2) - 1)


def test_the_distance_of_two_samples_and_what_it_is_for_one_law() -> None:
    """Two samples of one law, 400 times: the distance exceeds the floor in about 5%; infinite values count."""
    rng = np.random.default_rng(7)
    floor = laws.equal_law_distance(200, 300, 0.95)
    beyond = np.mean([laws.sample_distance(rng.standard_normal(200), rng.standard_normal(300)) > floor for _ in range(400)])
    assert 0.01 < beyond < 0.08
    assert laws.sample_distance(np.array([1.0, np.inf]), np.array([1.0, 1.0])) == 0.5


def tanh_curvature(x: np.ndarray) -> np.ndarray:
    return -2 * np.tanh(x) / np.cosh(x) ** 2


CURVED = 4 / (3 * math.sqrt(3))
"""max |tanh''|."""


@pytest.mark.parametrize(("width", "dim"), [(150, 300), (600, 300)])
def test_the_norm_of_the_hessian_is_that_of_a_random_matrix(width: int, dim: int) -> None:
    """W' diag(a tanh''(W x)) W / sqrt(k) itself, four times: within 5%, at d = 300 the edge fluctuates by about 300^(-2/3) = 2%."""
    rng = np.random.default_rng(8)
    norms = []
    for _ in range(4):
        x = rng.standard_normal(dim)
        W = rng.standard_normal((width, dim)) / math.sqrt(dim)
        weights = rng.choice([-1.0, 1.0], width) * tanh_curvature(W @ x * math.sqrt(dim) / np.linalg.norm(x))
        norms.append(np.abs(np.linalg.eigvalsh((W.T * weights) @ W / math.sqrt(width))).max())
    assert laws.hessian_norm(width, dim, tanh_curvature, CURVED) == pytest.approx(np.mean(norms), rel=0.05)


def test_the_norm_of_the_hessian_far_from_k_equal_d() -> None:
    """k >> d: the semicircle's edge; k << d: one neuron's curvature, its direction has length 1."""
    semicircle = 2 * math.sqrt(laws.normal_mean(lambda x: tanh_curvature(x) ** 2) / 100)
    assert laws.hessian_norm(1e8, 100, tanh_curvature, CURVED) == pytest.approx(semicircle, rel=1e-3)
    assert laws.hessian_norm(100, 1e6, tanh_curvature, CURVED) == pytest.approx(CURVED / 10, rel=0.03)
