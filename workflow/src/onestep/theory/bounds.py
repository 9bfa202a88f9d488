"""The explicit bounds of `singlestep` (Bubeck, Cherapanamjeri, Gidel, Tachet des Combes 2021) for two-layer networks, of `multilayer`
(Bartlett, Bubeck, Cherapanamjeri 2021) for deep ones, those in its definition NN-DEF: every weight of variance 1 / fan-in, and of
`guarantees` (De Palma, Kiani, Lloyd 2021) for Gaussian processes, the wide image networks with M = sqrt(|I_0| / |I_Lf|) among them."""

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


def smooth_value_bound(gamma: ArrayLike, width: ArrayLike) -> Array:
    """Proposition 1, a 1-Lipschitz activation with value 0 at 0: |f(x)| <= sqrt(2 log(1/gamma)) (1 + sqrt(log(2/gamma) / k)).

    As printed. Its proof bounds f(x) from one side with probability 1 - gamma; for both it needs log(2/gamma), as Proposition 3 has it
    (`value_bound`). The printed bound is the smaller one and so the stronger claim.
    """
    gamma = _array(gamma)
    return _array(np.sqrt(2 * np.log(1 / gamma)) * (1 + np.sqrt(np.log(2 / gamma) / _array(width))))


def smooth_gradient_bound(gamma: ArrayLike, width: ArrayLike, dim: ArrayLike, slope: ArrayLike) -> Array:
    """Proposition 1: with probability at least 1 - gamma, ||grad f(x)|| is at least this; 0 where the bound says nothing.

    (c^2 - sqrt(2 log(4/gamma) / k) (1 + sqrt(log(4/gamma) / k)))^(1/2) (1 - 5 sqrt(log(8/gamma) / d)),
    `slope`: c^2 = E psi'(X)^2 of the activation psi, 1-Lipschitz, X ~ N(0, 1).
    """
    gamma, width, dim = _array(gamma), _array(width), _array(dim)
    log = np.log(4 / gamma)
    inside = _array(slope) - np.sqrt(2 * log / width) * (1 + np.sqrt(log / width))
    return _array(np.sqrt(inside.clip(min=0)) * (1 - 5 * np.sqrt(np.log(8 / gamma) / dim)).clip(min=0))


def smooth_change_bound(radius: ArrayLike, width: ArrayLike, dim: ArrayLike, gamma: ArrayLike, curvature: ArrayLike) -> Array:
    """Proposition 2: bound on sup over ||delta|| <= R of ||grad f(x) - grad f(x + delta)||, with probability at least 1 - gamma; R >= 1.

    20 R L (sqrt(log(R k / gamma) / d) + log(1/gamma) / sqrt(k)), `curvature`: L = max |psi''|. A factor of psi is one of both sides, so
    it holds whether psi is 1-Lipschitz or not.
    """
    radius, width, gamma = _array(radius), _array(width), _array(gamma)
    return _array(
        20 * radius * _array(curvature) * (np.sqrt(np.log(radius * width / gamma) / _array(dim)) + np.log(1 / gamma) / np.sqrt(width))
    )


def smooth_step(gamma: ArrayLike, slope: ArrayLike) -> Array:
    """The c of the step c / ||grad f||^2 with which the proof of Theorem 1 works: 32 sqrt(log(1/gamma)) / c_psi^2, `slope`: c_psi^2."""
    return _array(32 * np.sqrt(np.log(1 / _array(gamma))) / _array(slope))


def smooth_step_width(gamma: ArrayLike, slope: ArrayLike, curvature: ArrayLike) -> Array:
    """The width k from which on the proof of Theorem 1 can work, whatever d is.

    It needs Proposition 2's bound to be at most c/4 at R = 64 sqrt(log(1/gamma)) / c^3, c^2 = `slope`; its second term alone asks for
    k >= (80 R L log(1/gamma) / c)^2.
    """
    c, log = np.sqrt(_array(slope)), np.log(1 / _array(gamma))
    radius = 64 * np.sqrt(log) / c**3
    return _array((80 * radius * _array(curvature) * log / c) ** 2)


def deep_gradient_bound(depth: ArrayLike) -> Array:
    """Lemma 2.2 of `multilayer`: with probability at least 1 - delta, ||grad f(x)|| >= 2^-(l + 1), for l hidden layers."""
    return _array(2.0 ** -(_array(depth) + 1))


def deep_value_bound(delta: ArrayLike, depth: ArrayLike) -> Array:
    """Lemma 2.2 of `multilayer` with its constant c = 1: with probability at least 1 - delta, |f(x)| <= 2^l sqrt(log(1/delta))."""
    return _array(2.0 ** _array(depth) * np.sqrt(np.log(1 / _array(delta))))


def layer_norm_bound(layer: ArrayLike, layer_width: ArrayLike) -> Array:
    """Lemma 2.3 of `multilayer`: ||f_i(x)|| >= 2^-i sqrt(d_i)."""
    return _array(np.sqrt(_array(layer_width)) * 2.0 ** -_array(layer))


def image_radius_bound(radius: ArrayLike, layer: ArrayLike, layer_width: ArrayLike, narrowest: ArrayLike, widest: ArrayLike) -> Array:
    """Lemma 2.3 of `multilayer` with its constant C = 1: (log d_max)^(i/2) (1 + sqrt(d_i / d_min^i)) R bounds ||f~_i(x) - f~_i(x')||
    for all x' within R of x; d_min^i is the narrowest layer before layer i, the input included."""
    growth = np.log(_array(widest)) ** (_array(layer) / 2)
    return _array(growth * (1 + np.sqrt(_array(layer_width) / _array(narrowest))) * _array(radius))


def small_share_bound(alpha: ArrayLike) -> Array:
    """Lemma 2.5 of `multilayer`: the share of pre-activations below alpha ||f_i(x)|| / sqrt(d_i) is at most 2 sqrt(2/pi) alpha."""
    return _array(2 * np.sqrt(2 / np.pi) * _array(alpha))


def small_share_promised(alpha: ArrayLike, layer_width: ArrayLike, depth: ArrayLike, delta: float) -> NDArray[np.bool_]:
    """Whether the proof of Lemma 2.5 (Hoeffding, all l layers together) promises its bound with probability 1 - delta in a layer this wide.

    The expected share is at most sqrt(2/pi) alpha; as much again must exceed sqrt(log(l/delta) / (2 d_i)).
    """
    needed = np.sqrt(np.log(_array(depth) / delta) / (2 * _array(layer_width)))
    return np.asarray(np.sqrt(2 / np.pi) * _array(alpha) >= needed)


def collapse_bound(dim: ArrayLike) -> Array:
    """Theorem 3.1 of `multilayer` with its constant C = 1: |f(x) - f(y)| / |f(x)| <= sqrt(log d / d) for all x, y on the sphere."""
    return _array(np.sqrt(np.log(_array(dim)) / _array(dim)))


def guarantee_radius(norm: ArrayLike, dim: ArrayLike, stretch: ArrayLike, delta: ArrayLike) -> Array:
    """Theorem 1 of `guarantees`: with probability at least 1 - delta there is no boundary within this l1 distance of x; ||x||_2 = `norm`.

    ||x||_2 delta sqrt(pi) / (M (12 sqrt(ln 4n) + 8 ln n sqrt(ln 2n) + 2 sqrt(pi))), n = `dim`, M = `stretch`
    """
    dim = _array(dim)
    logs = 12 * np.sqrt(np.log(4 * dim)) + 8 * np.log(dim) * np.sqrt(np.log(2 * dim))
    return _array(_array(norm) * _array(delta) * np.sqrt(np.pi) / (_array(stretch) * (logs + 2 * np.sqrt(np.pi))))


def ray_radius(norm: ArrayLike, stretch: ArrayLike, delta: ArrayLike) -> Array:
    """Theorem 1 of `guarantees`: with probability 1 - delta x + t v, ||v|| = 1, keeps its class up to t = pi ||x||_2 delta / (2 M + pi)."""
    return _array(np.pi * _array(norm) * _array(delta) / (2 * _array(stretch) + np.pi))
