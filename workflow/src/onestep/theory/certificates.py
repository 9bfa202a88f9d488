"""Certified lower bounds on the distance from an input to the decision boundary of a two-layer ReLU network

    f(x) = sum_s c_s relu(<w_s, x> + b_s),    c_s = a_s / sqrt(k).

They hold for these very weights, random or trained, with no assumption on them, up to float64 rounding: the arithmetic is not
rounded outward. Whoever needs a proof in the strict sense must subtract an allowance for it.
"""

import math

import torch
from torch import Tensor

SHARES = (0.9, 0.6, 0.3)
"""The minorants tried touch f at these shares of the way to the linearised boundary; the less linear f is, the smaller the best one."""
SOFTNESS = 0.8
"""The length over which they round off a kink, in units of how far a step to the boundary moves a typical pre-activation."""
REACH = 1.1
"""The ball that is looked at first, in units of the first-order distance |f| / ||grad f||."""
GROWTH = 2.0
"""While the whole ball is certified, one that is so many times larger is looked at,"""
ROUNDS = 12
"""this often at most."""


def _oriented(W: Tensor, b: Tensor | None, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pre-activations z, output weights c and value f = c . relu(z), signed so that f >= 0."""
    z = W @ x if b is None else W @ x + b
    c = a / math.sqrt(len(a))
    value = c @ z.relu()
    sign = -1.0 if value < 0 else 1.0
    return z, sign * c, sign * value


def minorant(W: Tensor, z: Tensor, c: Tensor, centre: Tensor, soft: float, reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """C, q, M with f(x + delta) >= C + <q, delta> - delta' M delta for all ||delta|| <= reach, M positive semidefinite; z = W x + b.

    With p = z + W centre, the pre-activations at x + centre, and v = z_s + <w_s, delta>:
    - c_s >= 0: relu is convex, relu(v) >= 1[p_s > 0] v.
    - c_s < 0: (v - h)^2 >= 0 says relu(v) <= (v + h)^2 / (4h) for every h > 0. It is tight at v = h and v = -h, so
      h_s^2 = p_s^2 + (soft ||w_s||)^2 makes it nearly tight around the centre, at a curvature of at most 1 / (4 soft ||w_s||).
    - |z_s| >= ||w_s|| reach: the neuron does not change sign in the ball and enters as it is, linear.
    """
    norms = W.norm(dim=1)
    p = z + W @ centre
    kinked = z.abs() < norms * reach
    linear = c * torch.where(kinked, p > 0, z > 0)
    bent = kinked & (c < 0)
    linear[bent] = 0
    W_, z_, c_ = W[bent], z[bent], c[bent]
    h = torch.hypot(p[bent], soft * norms[bent])
    constant = linear @ z + c_ @ ((z_ + h) ** 2 / (4 * h))
    slope = linear @ W + (c_ * (z_ + h) / (2 * h)) @ W_
    return constant, slope, W_.T @ (W_ * (-c_ / (4 * h))[:, None])


def positive_radius(constant: Tensor, slope: Tensor, curvature: Tensor) -> float:
    """The largest r found such that C + <q, delta> - delta' M delta > 0 for all ||delta|| < r; 0 if C <= 0.

    For every nu > max(lambda_max(M), 0), ||delta|| <= r: <q, delta> - delta' M delta >= <q, delta> + delta' (nu - M) delta - nu r^2
    >= -1/4 q' (nu - M)^-1 q - nu r^2. So each nu certifies the radius r(nu)^2 = (C - 1/4 q' (nu - M)^-1 q) / nu. The largest is searched
    for: strong duality makes it the exact radius, and {nu: r(nu) >= r} is an interval.
    """
    from scipy import optimize  # 0.4 s to load, in every job whose module knows of this one

    if constant <= 0:
        return 0.0
    eigenvalues, vectors = torch.linalg.eigh(curvature)
    weights = (slope @ vectors) ** 2 / 4
    least = eigenvalues[-1].clamp(min=0)
    if weights.sum() == 0:
        return float((constant / least).sqrt())

    def squared(log: float) -> float:
        above = math.exp(log)
        return float((constant - (weights / (least - eigenvalues + above)).sum()) / (least + above))

    start = math.log(float(2 * weights.sum() / constant))  # the best nu where M = 0
    best = optimize.minimize_scalar(lambda log: -squared(log), bounds=(start - 20, start + 7), method="bounded", options={"xatol": 1e-7})
    return math.sqrt(max(squared(best.x), 0.0))


def _first_order(W: Tensor, z: Tensor, c: Tensor, value: Tensor, dual: float) -> tuple[Tensor, float, float]:
    """Gradient at x, f / ||grad f|| in the dual norm, and f / sum_s |c_s| ||w_s||: no zero is nearer than that, but it is tiny.

    Where the gradient is zero the last takes the place of the first-order distance.
    """
    gradient = (c * (z > 0)) @ W
    certain = value / (c.abs() @ W.norm(dual, dim=1))
    return gradient, float(value / gradient.norm(dual) if gradient.any() else certain), float(certain)


def l2_lower_bound(W: Tensor, b: Tensor | None, a: Tensor, x: Tensor) -> float:
    """A radius of which it is certain that f has no zero nearer to x in l2; W [k, d], b [k] or None, a [k], x [d], all float64.

    Certain, because in that ball f (or -f) is at least the quadratic of `minorant`, which is positive there by `positive_radius`,
    whatever the choices made here: centre, softness and reach only decide how tight it is. They are taken from the first-order
    distance |f| / ||grad f|| and the step to the linearised boundary. 0 where f(x) = 0.
    """
    z, c, value = _oriented(W, b, a, x)
    if value == 0:
        return 0.0
    gradient, distance, radius = _first_order(W, z, c, value, 2)
    if math.isinf(distance):
        return distance
    downhill = torch.nn.functional.normalize(-gradient, dim=0) * distance
    soft = SOFTNESS * distance / math.sqrt(len(x))
    reach = REACH * distance
    for _ in range(ROUNDS):
        radius = max([radius, *(positive_radius(*minorant(W, z, c, share * downhill, soft, reach)) for share in SHARES)])
        if radius < reach:
            break
        radius, reach = reach, GROWTH * reach
    return radius


def l1_lower_bound(W: Tensor, b: Tensor | None, a: Tensor, x: Tensor) -> float:
    """The same in l1, from the minorant that keeps the neurons with c_s < 0 as they are and the tangents of the others at x.

    It is concave, so its minimum H(r) over the l1 ball of radius r is at one of the 2d vertices +-r e_i; H is concave too. Once
    H(r) <= 0, Newton's method comes down to the root of H, which is piecewise linear, and ends on it in a few steps.
    """
    z, c, value = _oriented(W, b, a, x)
    if value == 0:
        return 0.0
    _, r, _ = _first_order(W, z, c, value, math.inf)
    if math.isinf(r):
        return r
    kept, tangents = c < 0, (c * (z > 0)).clamp(min=0)
    constant, slope = tangents @ z, tangents @ W
    W_, z_, c_ = W[kept], z[kept], c[kept]

    def lowest(r: float) -> tuple[float, float]:
        """H and its slope at r."""
        corners = {t: constant + t * slope + c_ @ torch.add(z_[:, None], W_, alpha=t).relu_() for t in (r, -r)}
        t = min(corners, key=lambda t: float(corners[t].min()))
        i = int(corners[t].argmin())
        incline = slope[i] + (c_ * (z_ + t * W_[:, i] > 0)) @ W_[:, i]
        return float(corners[t][i]), float(incline) * math.copysign(1.0, t)

    for _ in range(ROUNDS):
        low, incline = lowest(r)
        if low <= 0:
            break
        r *= GROWTH
    else:
        return r / GROWTH
    while low < 0 and r - low / incline < r:
        r -= low / incline
        low, incline = lowest(r)
    return r


def linf_lower_bound(W: Tensor, b: Tensor | None, a: Tensor, x: Tensor) -> float:
    """The same in l-infinity, from ||delta||_2 <= sqrt(d) ||delta||_inf."""
    return l2_lower_bound(W, b, a, x) / math.sqrt(len(x))
