"""The arc-cosine recursion and what follows from it, against closed forms, simulation and series."""

import math

import numpy as np
import pytest

from onestep.theory import kernels

ANGLES = np.array([0.0, 0.3, 1.0, math.pi / 2, 2.5, math.pi])


def normal_pairs(angle: float, count: int = 400_000) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.random.default_rng(0).standard_normal((2, count))
    return u, math.cos(angle) * u + math.sin(angle) * v


def test_the_closed_form_at_the_angles_where_it_is_known() -> None:
    assert np.cos(kernels.angle_after_layer([0, math.pi / 2, math.pi])) == pytest.approx([1, 1 / math.pi, 0])


@pytest.mark.parametrize("angle", [0.3, 1.0, math.pi / 2, 2.5])
def test_one_layer_is_the_expectation_over_normal_pairs(angle: float) -> None:
    """E[relu(u) relu(v)] / E[relu(u)^2] with E relu(u)^2 = 1/2; four standard errors of 400,000 pairs."""
    u, v = normal_pairs(angle)
    products = 2 * np.maximum(u, 0) * np.maximum(v, 0)
    assert math.cos(kernels.angle_after_layer(angle)) == pytest.approx(products.mean(), abs=4 * products.std() / math.sqrt(len(u)))


def test_the_angle_is_the_inverse_cosine_and_stays_exact_where_that_loses_digits() -> None:
    cosines = (np.sin(ANGLES) + (np.pi - ANGLES) * np.cos(ANGLES)) / np.pi
    assert np.allclose(kernels.angle_after_layer(ANGLES), np.arccos(cosines.clip(-1, 1)), atol=1e-7)
    small = 10.0 ** np.arange(-12, -2)
    # t' = t - t^2 / (3 pi) + O(t^3), by expanding 1 - cos t' = t^2 / 2 - t^3 / (3 pi) + ...
    assert np.allclose(kernels.angle_after_layer(small) / small, 1 - small / (3 * math.pi), rtol=1e-5, atol=0)
    below, above = kernels.angle_after_layer(np.array([1e-3 * (1 - 1e-9), 1e-3 * (1 + 1e-9)]))
    assert above - below == pytest.approx(2e-12, rel=1e-2)  # no jump where the series takes over


def test_the_recursion_iterates_one_layer_and_falls_like_three_pi_over_depth() -> None:
    angles = kernels.angles_by_layer(ANGLES, 1000)
    assert np.array_equal(angles[0], ANGLES)
    assert np.allclose(angles[3], kernels.angle_after_layer(kernels.angle_after_layer(kernels.angle_after_layer(ANGLES))))
    assert np.allclose(angles[-1, 1:] * 1000, 3 * math.pi, rtol=0.05)
    assert (np.diff(angles[:, 1:], axis=0) < 0).all()


@pytest.mark.parametrize("layers", [1, 5, 50])
def test_the_slope_is_the_difference_quotient(layers: int) -> None:
    t, h = np.array([0.2, 1.0, 2.0, 3.0]), 1e-6
    rho = [np.cos(kernels.angles_by_layer(point, layers)[-1]) for point in (t - h, t + h)]
    assert np.allclose(kernels.slope_after(t, layers), (rho[1] - rho[0]) / (2 * h), rtol=1e-6, atol=1e-9)
    # rho''(0) = -1 at every depth.
    assert float(kernels.slope_after(1e-4, layers)) == pytest.approx(-1e-4, rel=0.01)


@pytest.mark.parametrize("layers", [1, 10])
def test_the_conditional_process_has_the_covariance_of_the_stationary_one(layers: int) -> None:
    """With h(0) and h'(0) drawn as N(0, 1), which are independent, h is stationary with covariance rho again."""
    t = np.array([0.1, 0.5, 1.5, 3.0])
    value, slope, root = kernels.conditional_process(t, layers)
    whole = np.outer(value, value) + np.outer(slope, slope) + root @ root.T
    assert np.allclose(whole, np.cos(kernels.angles_by_layer(abs(t[:, None] - t), layers)[-1]), atol=1e-12)


def test_with_one_layer_the_process_is_the_one_of_infinite_width() -> None:
    """`infinite_width` has variance 1/2: its covariance is half of ours."""
    from onestep.theory import infinite_width

    t = np.linspace(0, math.pi, 9)
    assert np.allclose(np.cos(kernels.angles_by_layer(t, 1)[-1]), 2 * infinite_width.covariance(t))


@pytest.mark.parametrize("angle", [0.2, 1.0, math.pi / 2, math.pi])
def test_squares_move_apart_by_the_variance_over_normal_pairs(angle: float) -> None:
    u, v = normal_pairs(angle)
    squares = 2 * np.maximum(u, 0) ** 2 - 2 * np.maximum(v, 0) ** 2
    fourth = (squares - squares.mean()) ** 4
    error = math.sqrt((fourth.mean() - squares.var() ** 2) / len(u))
    assert float(kernels.square_difference(angle)) == pytest.approx(squares.var(), abs=4 * error)


def test_the_ratio_of_norms_freezes() -> None:
    """20 layers of width 400 from opposite inputs: the deviation of log(|h(x)| / |h(y)|) over 300 networks, to 4 errors."""
    rng, width, layers, networks = np.random.default_rng(1), 400, 20, 300
    found = []
    for _ in range(networks):
        x = rng.standard_normal(10)
        both = np.stack([x, -x]) / np.linalg.norm(x)
        for layer in range(layers):
            # Rows of a fresh matrix are normal with the inputs' Gram matrix: 2 numbers a neuron in place of a row.
            values, vectors = np.linalg.eigh(both @ both.T)
            root = vectors * np.sqrt(values.clip(min=0))
            both = np.maximum(root @ rng.standard_normal((2, width)), 0) * math.sqrt((1 if layer == 0 else 2) / width)
        found.append(math.log(np.linalg.norm(both[0]) / np.linalg.norm(both[1])))
    law = float(kernels.norm_ratio_deviation(math.pi, layers, width))
    assert float(np.std(found)) == pytest.approx(law, rel=4 / math.sqrt(2 * networks))
    deeper = float(kernels.norm_ratio_deviation(math.pi, 1000, width))
    assert law < deeper < 1.2 * law
