"""The two-layer network of infinite width, k = infinity: value, gradient and first sign change along the gradient, exactly in law.

For ||x|| = sqrt(d), f(x) = (1/sqrt k) sum a_l relu(<w_l, x>) with w ~ N(0, I/d), a = +-1 tends to the centred Gaussian process with

    E f(x) f(y) = ||x|| ||y|| kappa(t) / d,    kappa(t) = (sin t + (pi - t) cos t) / (2 pi),    t the angle between x and y.

**At x.** f(x) ~ N(0, 1/2). The radial derivative is f(x) / sqrt(d), by homogeneity; the d - 1 tangential ones are N(0, 1/(2d)),
independent of it and of each other. So with T ~ chi_{d-1} / sqrt 2, independent of f(x),

    ||grad f(x)||^2 = (f(x)^2 + T^2) / d.

**Along the ray.** In the plane of x and grad f(x), f is the radius over sqrt(d) times h(t), t the angle from x towards the ray. The
derivatives at x across that plane do not correlate with h. Given the gradient, sign(f(x)) h is therefore the stationary process of
covariance kappa with

    h(0) = |f(x)|,    h'(0) = -T:

the plane contains the gradient, so T is all of its tangential length and not one component of it. x - sign(f(x)) eta grad f(x) lies at
tan t = eta T / (d - eta |f(x)|). The first sign change is h's first zero t in (0, pi), at eta = d sin t / (T cos t + |f(x)| sin t).

**Between two angles.** relu(cos t)'' + relu(cos t) is a Dirac delta at pi/2 and one at -pi/2, so h'' + h is white noise on (0, pi), of
intensity 2/pi. kappa and its first two derivatives vanish at pi: the states (h, h') at 0 and pi are independent, each N(0, I/2). Between
them h is an oscillator driven by white noise and tied to both, hence Markov: given two states, what lies between does not
depend on what lies beyond, and the state halfway is Gaussian in closed form (`middle_law`). So no grid is needed: cells of (0, pi)
are halved, the leftmost first, until each is known to hold no zero or to hold the first one, within TOLERANCE (`chord_error`).

What this misses: a deviation of MARGIN standard deviations within a cell, less than 1e-9 for a whole path, and sign changes
shorter than pi / 2^LEVELS.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TOLERANCE = 1e-9
"""Relative error of a zero."""
MARGIN = 7.0
"""How many standard deviations the process may leave its mean within a cell; more has probability 3e-12 there."""
LEVELS = 40
"""How often (0, pi) is halved at most."""
_SPLITS = 32
"""For how many halvings a network draws its normal variates at a time."""


@dataclass(frozen=True)
class Samples:
    """One entry for each network."""

    value: Array  # f(x)
    gradient_norm: Array  # ||grad f(x)||
    step: Array  # |eta|, the first sign change; not-a-number where there is none below the cap


def covariance(angle: ArrayLike) -> Array:
    """kappa(t) = (sin t + (pi - t) cos t) / (2 pi), t in [0, pi]: of f at two points of norm sqrt(d) with this angle between them."""
    t = np.asarray(angle, dtype=np.float64)
    return np.asarray((np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi), dtype=np.float64)


def _excess(x: Array) -> Array:
    """x - sin x for x >= 0, to full relative precision."""
    y = x * x
    series = x * y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72 * (1 - y / 110))))
    return np.where(x < 0.25, series, x - np.sin(x))


def middle_law(gap: ArrayLike) -> tuple[Array, Array]:
    """The state (h, h') halfway between two angles, given the states (h0, h0') and (h1, h1') there: its mean is
    weights @ (h0, h0', h1, h1'), its two entries are independent. Returns weights [..., 2, 4] and standard deviations [..., 2].

    With u = gap / 2, s = sin u, c = cos u; the mean solves (d^2 + 1)^2 h = 0:

        E h  = ((h0 + h1) (s + u c) + (h0' - h1') u s) / (2 (u + s c)),      Var h  = (u^2 - s^2) / (2 pi (u + s c))
        E h' = ((h1 - h0) u s - (h0' + h1') (s - u c)) / (2 (u - s c)),      Var h' = (u^2 - s^2) / (2 pi (u - s c))
    """
    u = np.asarray(gap, dtype=np.float64) / 2
    s, c, excess = np.sin(u), np.cos(u), _excess(u)
    even, odd = u + s * c, _excess(2 * u) / 2
    bent = 2 * u * np.sin(u / 2) ** 2 - excess  # s - u c
    value = np.stack([s + u * c, u * s, s + u * c, -u * s], -1) / (2 * even[..., None])
    slope = np.stack([-u * s, -bent, u * s, -bent], -1) / (2 * odd[..., None])
    variance = (excess * (u + s))[..., None] / (2 * np.pi * np.stack([even, odd], -1))
    return np.stack([value, slope], -2), np.sqrt(variance)


def chord_error(start: Array, end: Array, gap: Array, deviation: Array, margin: float = MARGIN) -> Array:
    """Bound on how far h leaves its chord in a cell, states [N, 2] at its two ends; infinite for cells longer than 1.

    The chord is the combination of sin and cos that has h's values at both ends; a linear network's h is its chord. h's mean
    given both states leaves it by at most gap / 3 times the larger of the two differences in slope at the ends, and h leaves its mean
    by normal amounts, of standard deviation `deviation` in the middle and less elsewhere.
    """
    sine, cosine = np.sin(gap), np.cos(gap)
    at_start = start[:, 1] - (end[:, 0] - start[:, 0] * cosine) / sine
    at_end = end[:, 1] - (end[:, 0] * cosine - start[:, 0]) / sine
    error = gap / 3 * np.maximum(abs(at_start), abs(at_end)) + margin * deviation
    return np.where(gap <= 1, error, np.inf)


def first_zeros(value: Array, slope: Array, limit: Array, generators: Sequence[np.random.Generator], tolerance: float = TOLERANCE) -> Array:
    """The first zero in (0, limit), limit <= pi, of h given h(0) = value > 0 and h'(0) = slope; not-a-number where there is none.

    What lies left of a cell is known to be positive. Its right end lies on a stack, above those of the cells that are next; in units
    of pi all ends are exact.
    """
    gaps = np.pi / 2.0 ** np.arange(LEVELS + 1)
    weights, deviations = middle_law(gaps)
    networks = len(value)
    left, start = np.zeros(networks), np.stack([value, slope], -1)
    rights, ends = np.empty((networks, LEVELS + 1)), np.empty((networks, LEVELS + 1, 2))
    rights[:, 0], ends[:, 0] = 1, [np.sqrt(0.5) * generator.standard_normal(2) for generator in generators]
    top = np.zeros(networks, dtype=np.int64)
    noise, used = np.empty((networks, _SPLITS, 2)), np.full(networks, _SPLITS)
    zeros = np.full(networks, np.nan)
    rows = np.arange(networks)

    while rows.size:
        a, p, b, q = left[rows], start[rows], rights[rows, top[rows]], ends[rows, top[rows]]
        level = 1 - np.frexp(b - a)[1]
        gap = gaps[level]
        error = chord_error(p, q, gap, deviations[level, 0])
        crossing = np.pi * a + np.arctan2(p[:, 0] * np.sin(gap), p[:, 0] * np.cos(gap) - q[:, 0])
        short = level == LEVELS
        found = (q[:, 0] < 0) & (short | (gap * error <= tolerance * crossing * (p[:, 0] - q[:, 0])))
        advance = ~found & (short | ((p[:, 0] > error) & (q[:, 0] > error)))
        split = ~found & ~advance

        zeros[rows[found]] = crossing[found]
        on = rows[advance]
        left[on], start[on] = b[advance], q[advance]
        top[on] -= 1

        cut = rows[split]
        for row in cut[used[cut] == _SPLITS]:
            noise[row] = generators[row].standard_normal((_SPLITS, 2))
            used[row] = 0
        mean = (weights[level[split]] * np.concatenate([p, q], -1)[split, None]).sum(-1)
        top[cut] += 1
        rights[cut, top[cut]] = (a + b)[split] / 2
        ends[cut, top[cut]] = mean + deviations[level[split]] * noise[cut, used[cut]]
        used[cut] += 1

        rows = rows[~found & (np.pi * left[rows] < limit[rows]) & (top[rows] >= 0)]
    return np.where(zeros < limit, zeros, np.nan)


def sample(generators: Sequence[np.random.Generator], dim: int, cap: float) -> Samples:
    """One network of infinite width from each generator, at one input of norm sqrt(d), d >= 2, each.

    A network uses its own generator only: its numbers do not depend on which others are drawn with it.
    """
    value = np.sqrt(0.5) * np.array([generator.standard_normal() for generator in generators])
    tangential = np.sqrt(0.5 * np.array([generator.chisquare(dim - 1) for generator in generators]))
    height = abs(value)
    limit = np.arctan2(cap * tangential, dim - cap * height)
    zero = first_zeros(height, -tangential, limit, generators)
    step = dim * np.sin(zero) / (tangential * np.cos(zero) + height * np.sin(zero))
    return Samples(value, np.hypot(value, tangential) / np.sqrt(dim), step)
