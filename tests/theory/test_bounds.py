"""The published bounds, recomputed by hand with Python's own arithmetic, and where they say nothing."""

import math

import numpy as np
import pytest

from onestep.seeds import stream
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


def test_the_radii_of_theorem_1_of_guarantees_at_one_point() -> None:
    """By equation (40) of its proof: M r / ||x|| = delta / (16 a / sqrt(pi) + 2), a = 3/4 sqrt(ln 4n) + ln n / 2 sqrt(ln 2n)."""
    a = 0.75 * math.sqrt(math.log(1200)) + 0.5 * math.log(300) * math.sqrt(math.log(600))
    assert float(bounds.guarantee_radius(10, 300, 4, 0.1)) == pytest.approx(10 / 4 * 0.1 / (16 * a / math.sqrt(math.pi) + 2))
    assert float(bounds.ray_radius(10, 4, 0.1)) == pytest.approx(10 * 0.1 / (1 + 8 / math.pi))


def test_the_radii_of_guarantees_grow_with_the_image_and_the_risk_and_shrink_with_the_stretch() -> None:
    dims = np.array([100.0, 1000.0, 10_000.0])
    assert (np.diff(bounds.guarantee_radius(np.sqrt(dims / 3), dims, 2, 0.1)) > 0).all()
    assert (np.diff(bounds.guarantee_radius(1, dims, 2, 0.1)) < 0).all()
    for delta in (0.1, 0.5):
        assert float(bounds.guarantee_radius(1, 100, 1, delta)) == pytest.approx(2 * bounds.guarantee_radius(1, 100, 2, delta))
        assert float(bounds.ray_radius(1, 2, delta)) == pytest.approx(delta * bounds.ray_radius(1, 2, 1))
        assert bounds.ray_radius(1, 1, delta) > bounds.ray_radius(1, 2, delta)


@pytest.mark.parametrize("delta", [0.05, 0.3, 0.9])
def test_linear_processes_cross_within_the_radii_with_probability_delta_at_most(delta: float) -> None:
    """f(x) = <w, x>, w ~ N(0, I_2): K(x, x) = ||x||^2, M = 1. 100,000 draws, four standard errors.

    Straight across x the share is arctan(r / ||x||) / pi. A ray of six times the radius would be too long in some direction.
    """
    x, count = np.array([3.0, 4.0]), 100_000
    w = stream(0, "linear").standard_normal((count, 2))
    f, radius = w @ x, float(bounds.ray_radius(5, 1, delta))
    error = 4 * math.sqrt(0.25 / count)

    def share(angle: float, length: float) -> float:
        """Of signs that change along a ray at this angle to x."""
        v = np.array([3 * np.cos(angle) - 4 * np.sin(angle), 4 * np.cos(angle) + 3 * np.sin(angle)]) / 5
        return float((f * (f + length * (w @ v)) < 0).mean())

    angles = np.linspace(0, np.pi, 13)
    assert max(share(angle, radius) for angle in angles) + error <= delta
    assert max(share(angle, 6 * radius) for angle in angles) - error > delta
    assert share(np.pi / 2, radius) == pytest.approx(math.atan(radius / 5) / math.pi, abs=error)
    assert (abs(f) < bounds.guarantee_radius(5, 2, 1, delta) * abs(w).max(1)).mean() + error <= delta
