"""Limit laws without a free parameter for wide random networks."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

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


def sample_distance(values: Array, others: Array) -> float:
    """Kolmogorov-Smirnov distance between two samples, in which infinite values stand for "beyond every other"."""
    return float(stats.ks_2samp(values, others, method="asymp").statistic)


def equal_law_distance(size: float, other: float, level: float) -> float:
    """What the distance between two samples of one continuous law stays below with probability `level` (Smirnov), for large samples."""
    return float(stats.kstwobign.ppf(level) * np.sqrt(1 / size + 1 / other))


def gradient_change(radius: ArrayLike, dim: ArrayLike) -> Array:
    """||grad f(x + delta) - grad f(x)|| / ||grad f(x)|| at ||delta|| = R, ||x|| = sqrt d: sqrt(2 R / (pi sqrt d)) for small R / sqrt d.

    A neuron changes sign when x and x + delta lie on different sides of its hyperplane, with probability (angle) / pi; about
    R / (pi sqrt d) of all do, and half of all carry the gradient.
    """
    return np.asarray(np.sqrt(2 * np.asarray(radius) / (np.pi * np.sqrt(np.asarray(dim)))), dtype=np.float64)


def linear_flip_share(coefficient: ArrayLike, deviation: float = 0.5**0.5) -> Array:
    """Share of signs that the step c / ||grad f||^2 flips if f is linear: P(|f(x)| < c), f(x) normal; relu: of variance 1/2."""
    return np.asarray(stats.halfnorm.cdf(np.asarray(coefficient) / deviation), dtype=np.float64)


@cache
def _normal_nodes() -> tuple[Array, Array]:
    """Nodes on (0, 12) and their weights times the normal density."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = 6 * (nodes + 1)
    return x, 6 * weights * stats.norm.pdf(x)


def normal_mean(function: Callable[[Array], Array]) -> float:
    """E g(X), X ~ N(0, 1), for g of at most polynomial growth, smooth but for a kink or a jump at 0: error below 1e-9."""
    x, density = _normal_nodes()
    return float((density * (function(x) + function(-x))).sum())


def hessian_norm(width: float, dim: float, second_derivative: Callable[[Array], Array], curvature: float) -> float:
    """The norm of the Hessian of a wide two-layer network in high dimension, at any ratio k / d; `curvature`: max |psi''|.

        min over 0 < s < 1 / max |psi''| of  1 / (s sqrt k) + (s sqrt k / d) E[psi''(X)^2 / (1 - s^2 psi''(X)^2)]

    The Hessian is sum_l t_l g_l g_l' / d with g_l ~ N(0, I_d) and t_l = a_l psi''(<w_l, x>) / sqrt(k), which knows of g_l only its part
    along x. The Stieltjes transform m(z) of such a matrix solves z = -1/m + (k/d) E[t / (1 + t m)] (Silverstein and Bai). Right of the
    spectrum z falls as -m = s sqrt(k) grows, down to the spectrum's edge, where it is smallest; t is symmetric.
    k >> d: 2 sqrt(E psi''^2 / d), a semicircle's edge; k << d: max |psi''| / sqrt(k), one neuron's.
    """

    def right_of_the_spectrum(s: float) -> float:
        bent = normal_mean(lambda x: second_derivative(x) ** 2 / (1 - (s * second_derivative(x)) ** 2))
        return float(1 / (s * np.sqrt(width)) + s * np.sqrt(width) / dim * bent)

    bounds = (1e-6 / curvature, (1 - 1e-9) / curvature)
    return float(optimize.minimize_scalar(right_of_the_spectrum, bounds=bounds, method="bounded", options={"xatol": 1e-6 / curvature}).fun)


def normal_vector_norm(dim: int, q: float) -> float:
    """The l_q norm of an N(0, I_n) vector: n^(1/q) (E|X|^q)^(1/q), to which it concentrates for q < infinity; E max |X_i| for q = infinity.

    To first order the distance of x to the boundary in l_p is |f(x)| / ||grad f(x)||_q, 1/p + 1/q = 1, where the gradient has nearly
    independent normal entries: ||grad f(x)||_q = ||grad f(x)||_2 normal_vector_norm(n, q) / sqrt(n).
    """
    if np.isinf(q):
        t = np.linspace(0, 12, 12_001)
        return float(np.trapezoid(1 - stats.halfnorm.cdf(t) ** dim, t))
    return float((dim * 2 ** (q / 2) * special.gamma((q + 1) / 2) / np.sqrt(np.pi)) ** (1 / q))
