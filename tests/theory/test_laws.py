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
