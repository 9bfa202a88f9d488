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
