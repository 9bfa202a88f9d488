"""The published bounds, recomputed by hand with Python's own arithmetic, and where they say nothing."""

import math

import numpy as np
import pytest

from onestep.theory import bounds


def test_proposition_3_at_one_point() -> None:
    log = math.log(2 / 0.1)
    assert float(bounds.value_bound(0.1, 100)) == pytest.approx(math.sqrt(2 * log) * (1 + math.sqrt(log / 100)))
    inside = 0.5 - math.sqrt(2 * math.log(40) / 10_000) * (1 + math.sqrt(math.log(10) / 10_000))
    expected = math.sqrt(inside) * (1 - 5 * math.sqrt(math.log(40) / 1000))
    assert float(bounds.gradient_bound(0.1, 10_000, 1000)) == pytest.approx(expected)


def test_where_the_bound_on_the_gradient_says_nothing_it_is_zero() -> None:
    assert float(bounds.gradient_bound(0.1, 10, 1000)) == 0  # the width is too small
    assert float(bounds.gradient_bound(0.1, 10_000, 50)) == 0  # the dimension is too small


def test_bounds_loosen_with_confidence_and_tighten_with_size() -> None:
    gamma = np.array([0.3, 0.1, 0.01])
    assert (np.diff(bounds.value_bound(gamma, 1000)) > 0).all()
    assert (np.diff(bounds.gradient_bound(gamma, 1000, 1000)) < 0).all()
    assert (np.diff(bounds.gradient_change_bound(2.0, np.array([1e4, 1e5, 1e6]), 1000.0)) < 0).all()


def test_proposition_4_at_one_point() -> None:
    log = math.log(2 * 10_000)
    expected = 20 * (2 * log**2 * math.sqrt(math.log(1000) / 1000)) ** 0.25 + 40 * math.sqrt(1000 / 10_000) * log
    assert float(bounds.gradient_change_bound(2, 10_000, 1000)) == pytest.approx(expected)


def test_proposition_1_at_one_point() -> None:
    log = math.log
    assert float(bounds.smooth_value_bound(0.1, 100)) == pytest.approx(math.sqrt(2 * log(10)) * (1 + math.sqrt(log(20) / 100)))
    inside = 0.46 - math.sqrt(2 * log(40) / 10_000) * (1 + math.sqrt(log(40) / 10_000))
    expected = math.sqrt(inside) * (1 - 5 * math.sqrt(log(80) / 1000))
    assert float(bounds.smooth_gradient_bound(0.1, 10_000, 1000, 0.46)) == pytest.approx(expected)
    assert float(bounds.smooth_gradient_bound(0.1, 10, 1000, 0.46)) == 0


def test_proposition_2_at_one_point() -> None:
    expected = 20 * 2 * 0.77 * (math.sqrt(math.log(2 * 10_000 / 0.1) / 1000) + math.log(10) / 100)
    assert float(bounds.smooth_change_bound(2, 10_000, 1000, 0.1, 0.77)) == pytest.approx(expected)


def test_the_proof_of_theorem_1_works_from_its_width_on() -> None:
    """There, and not at half of it, Proposition 2 bounds the change in the proof's ball by c/4 when d is beyond all bounds."""
    gamma, slope, curvature = 0.3, 0.46, 0.77
    c = math.sqrt(slope)
    width = float(bounds.smooth_step_width(gamma, slope, curvature))
    radius = 64 / c**3 * math.sqrt(math.log(1 / gamma))
    assert float(bounds.smooth_step(gamma, slope)) == pytest.approx(radius * c / 2)  # ||eta grad f|| <= R where ||grad f|| >= c / 2
    assert float(bounds.smooth_change_bound(radius, 1.001 * width, 1e30, gamma, curvature)) <= c / 4
    assert float(bounds.smooth_change_bound(radius, width / 2, 1e30, gamma, curvature)) > c / 4
