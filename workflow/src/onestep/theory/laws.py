"""Limit laws without a free parameter for wide random ReLU networks."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

HALF_NORMAL_MEAN = float(stats.halfnorm.mean())
HALF_NORMAL_MEDIAN = float(stats.halfnorm.median())
UNIVERSAL_LENGTH_RATIO = float(np.sqrt(2))
"""||sum a_l w_l|| / (sqrt k ||grad f(x)||): half of the neurons are active at x, all of them enter the universal direction."""


def half_normal_quantile(probability: ArrayLike) -> Array:
    """Quantiles of |N(0, 1)|, the limit law of sqrt(d) ||delta|| / ||x|| at every depth and hidden scale."""
    return np.asarray(stats.halfnorm.ppf(np.asarray(probability, dtype=np.float64)), dtype=np.float64)


def half_normal_distance(values: Array) -> float:
    """Kolmogorov-Smirnov distance between |N(0, 1)| and a sample in which infinite values stand for "beyond every other"."""
    ordered = np.sort(values)
    steps = np.arange(len(ordered) + 1) / len(ordered)
    law = stats.halfnorm.cdf(ordered)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def gradient_change(radius: ArrayLike, dim: ArrayLike) -> Array:
    """||grad f(x + delta) - grad f(x)|| / ||grad f(x)|| at ||delta|| = R, ||x|| = sqrt d: sqrt(2 R / (pi sqrt d)) for small R / sqrt d.

    A neuron changes sign when x and x + delta lie on different sides of its hyperplane, with probability (angle) / pi; about
    R / (pi sqrt d) of all do, and half of all carry the gradient.
    """
    return np.asarray(np.sqrt(2 * np.asarray(radius) / (np.pi * np.sqrt(np.asarray(dim)))), dtype=np.float64)


def linear_flip_share(coefficient: ArrayLike) -> Array:
    """Share of signs that the step c / ||grad f||^2 flips if f is linear: P(|f(x)| < c), f(x) ~ N(0, 1/2)."""
    return np.asarray(stats.halfnorm.cdf(np.asarray(coefficient) * np.sqrt(2)), dtype=np.float64)
