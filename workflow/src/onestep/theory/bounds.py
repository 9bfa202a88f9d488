"""The explicit bounds of `singlestep` (Bubeck, Cherapanamjeri, Gidel, Tachet des Combes 2021) for two-layer ReLU networks."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _array(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def value_bound(gamma: ArrayLike, width: ArrayLike) -> Array:
    """Proposition 3: with probability at least 1 - gamma, |f(x)| <= sqrt(2 log(2/gamma)) (1 + sqrt(log(2/gamma) / k))."""
    log = np.log(2 / _array(gamma))
    return _array(np.sqrt(2 * log) * (1 + np.sqrt(log / _array(width))))


def gradient_bound(gamma: ArrayLike, width: ArrayLike, dim: ArrayLike) -> Array:
    """Proposition 3: with probability at least 1 - gamma, ||grad f(x)|| is at least this; 0 where the bound says nothing.

    (1/2 - sqrt(2 log(4/gamma) / k) (1 + sqrt(log(1/gamma) / k)))^(1/2) (1 - 5 sqrt(log(4/gamma) / d))
    """
    gamma, width, dim = _array(gamma), _array(width), _array(dim)
    log = np.log(4 / gamma)
    inside = 0.5 - np.sqrt(2 * log / width) * (1 + np.sqrt(np.log(1 / gamma) / width))
    return _array(np.sqrt(inside.clip(min=0)) * (1 - 5 * np.sqrt(log / dim)).clip(min=0))


def gradient_change_bound(radius: ArrayLike, width: ArrayLike, dim: ArrayLike) -> Array:
    """Proposition 4: bound on sup over ||delta|| <= R of ||grad f(x) - grad f(x + delta)||; it asks for 1 <= R <= sqrt(d)/2, k >= 52^2.

    20 (R log^2(Rk) sqrt(log d / d))^(1/4) + 40 sqrt(d/k) log(Rk)
    """
    radius, width, dim = _array(radius), _array(width), _array(dim)
    log = np.log(radius * width)
    return _array(20 * (radius * log**2 * np.sqrt(np.log(dim) / dim)) ** 0.25 + 40 * np.sqrt(dim / width) * log)
