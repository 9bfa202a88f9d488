"""The arc-cosine kernel of ReLU layers: how angles, values and norms go through a wide random network, layer by layer.

For g ~ N(0, I) and x, y at an angle t (Cho and Saul 2009; Lemma 3.2 of Bartlett, Bubeck and Cherapanamjeri 2021),

    E[relu(g.x) relu(g.y)] / sqrt(E relu(g.x)^2 E relu(g.y)^2) = (sin t + (pi - t) cos t) / pi,

so images of two inputs that enter a layer of infinite width at an angle t leave it at the angle whose cosine this is. Iterated, the
angle falls like 3 pi / L: the images of all inputs become parallel.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def angle_after_layer(angle: ArrayLike) -> Array:
    """The angle behind one layer: 1 - cos t' = 2 sin(t/2)^2 - (sin t - t cos t) / pi, without loss where t is small."""
    t = np.asarray(angle, dtype=np.float64)
    bent = np.where(t < 1e-3, t**3 / 3 * (1 - t**2 / 10), np.sin(t) - t * np.cos(t))
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(np.sin(t / 2) ** 2 - bent / (2 * np.pi), 0, 1))), dtype=np.float64)


def angles_by_layer(angle: ArrayLike, layers: int) -> Array:
    """The angles behind 0, 1, .. `layers` layers, [layers + 1, ...]."""
    angles = [np.asarray(angle, dtype=np.float64)]
    for _ in range(layers):
        angles.append(angle_after_layer(angles[-1]))
    return np.stack(angles)


def slope_after(angle: ArrayLike, layers: int) -> Array:
    """d rho / d t of rho(t) = cos(the angle behind `layers` layers): the chain rule, d cos t' / d cos t = (pi - t) / pi at each layer."""
    angles = angles_by_layer(angle, layers)
    return np.asarray(-np.sin(angles[0]) * np.prod(1 - angles[:-1] / np.pi, axis=0), dtype=np.float64)


def conditional_process(angles: ArrayLike, layers: int) -> tuple[Array, Array, Array]:
    """The value h(t) of a network of infinite width on a circle, at the angles t [T], given h(0) and h'(0).

    h is a stationary Gaussian process of covariance rho(t) = cos(the angle behind `layers` layers), rho''(0) = -1. So

        h(t) = rho(t) h(0) - rho'(t) h'(0) + rest,    Cov(rest(s), rest(t)) = rho(s - t) - rho(s) rho(t) - rho'(s) rho'(t).

    Returned are rho [T], -rho' [T] and a square root R of that covariance: rest = R g, g ~ N(0, I).
    """
    t = np.asarray(angles, dtype=np.float64)
    pairs = np.triu_indices(len(t))
    apart = abs(t[pairs[0]] - t[pairs[1]])
    for _ in range(layers):
        apart = angle_after_layer(apart)
    both = np.empty((len(t), len(t)))
    both[pairs] = both.T[pairs] = np.cos(apart)
    value, slope = np.cos(angles_by_layer(t, layers)[-1]), -slope_after(t, layers)
    covariance = both - np.outer(value, value) - np.outer(slope, slope)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return value, slope, np.asarray(vectors * np.sqrt(eigenvalues.clip(min=0)), dtype=np.float64)


def square_difference(angle: ArrayLike) -> Array:
    """Var(2 relu(u)^2 - 2 relu(v)^2), u and v standard normal with correlation cos t: 12 - 4 J(t) / pi, J(t) = 3 sin t cos t
    + (pi - t)(1 + 2 cos^2 t)."""
    t = np.asarray(angle, dtype=np.float64)
    fourth = 3 * np.sin(t) * np.cos(t) + (np.pi - t) * (1 + 2 * np.cos(t) ** 2)
    return np.asarray(np.clip(12 - 4 / np.pi * fourth, 0, None), dtype=np.float64)


def norm_ratio_deviation(angle: ArrayLike, layers: int, width: ArrayLike) -> Array:
    """Standard deviation of log(||h(x)|| / ||h(y)||) behind `layers` layers of width k, for ||x|| = ||y||, to first order in 1/k.

    A layer multiplies the squared norms of the two images by the means over k neurons of 2 relu(u)^2 and 2 relu(v)^2, so the logarithm of
    their ratio moves by a variance of `square_difference` / k, at the angle at which the layer finds them. The angles fall like 1/L and
    these variances like their squares, so that the sum converges: the ratio of the norms freezes.
    """
    total = square_difference(angles_by_layer(angle, layers)[:-1]).sum(axis=0)
    return np.asarray(0.5 * np.sqrt(total / np.asarray(width, dtype=np.float64)), dtype=np.float64)
