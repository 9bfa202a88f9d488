"""The shortest way to a hyperplane inside a box, as SciPy's solvers find it."""

import numpy as np
from scipy.optimize import brentq, linprog, minimize

Array = np.ndarray


def reaches(offset: float, normal: Array, lower: Array, upper: Array) -> bool:
    """Whether the box has a point of the plane {delta: offset + <normal, delta> = 0}; infinite bounds times 0 are 0."""
    ends = np.stack([np.where(normal == 0, 0, normal) * np.where(normal == 0, 0, bound) for bound in (lower, upper)])
    return bool(ends.min(0).sum() <= -offset <= ends.max(0).sum())


def nearest_corner(offset: float, normal: Array, lower: Array, upper: Array) -> Array:
    """What comes nearest to a plane that is out of reach; any value where normal is 0."""
    return np.where(offset * normal > 0, lower, upper)


def shortest(norm: float, offset: float, normal: Array, lower: Array, upper: Array) -> float | None:
    """The smallest norm of a delta in the box with offset + <normal, delta> = 0; None where there is none."""
    solve = _by_multiplier if norm == 2 else _by_linear_program
    return solve(norm, offset, normal, lower, upper) if reaches(offset, normal, lower, upper) else None


def _by_linear_program(norm: float, offset: float, normal: Array, lower: Array, upper: Array) -> float:
    """In l1 and l-infinity: with sizes s >= |delta|, one for each coordinate or one for all, the least sum of s."""
    d = len(normal)
    sizes = d if norm == 1 else 1
    size = np.eye(d) if norm == 1 else np.ones((d, 1))
    inequalities = np.block([[np.eye(d), -size], [-np.eye(d), -size]])
    plane = np.concatenate([normal, np.zeros(sizes)])[None]
    bounds = [*zip(lower, upper, strict=True), *[(0, None)] * sizes]
    cost = np.concatenate([np.zeros(d), np.ones(sizes)])
    # Scaled so that the solver's absolute tolerance is a relative one.
    scale = abs(offset) or 1.0
    result = linprog(cost, inequalities, np.zeros(2 * d), plane / scale, [-offset / scale], bounds, options={"presolve": False})
    assert result.status == 0, result.message
    return float(result.fun)


def _by_multiplier(norm: float, offset: float, normal: Array, lower: Array, upper: Array) -> float:
    """In l2: delta = clip(mu normal) solves it for the mu that puts it on the plane."""

    def height(mu: float) -> float:
        return offset + float(normal @ np.clip(mu * normal, lower, upper))

    far = 1.0
    while height(-far) > 0 or height(far) < 0:
        far *= 2
        if far > 1e15:  # the corner itself is on the plane, up to rounding
            break
    mu = brentq(height, -far, far, xtol=1e-16, rtol=1e-14) if height(-far) < 0 < height(far) else -np.sign(offset) * far
    return float(np.linalg.norm(np.clip(mu * normal, lower, upper)))


def least(near: Array, spread: float, offset: float, normal: Array, lower: Array, upper: Array) -> float:
    """The least |delta|_1 + |delta - near|^2 / (2 spread) on the plane inside the box, delta as the difference of two parts >= 0."""
    d = len(normal)

    def cost(parts: Array) -> tuple[float, Array]:
        away = parts[:d] - parts[d:] - near
        slope = away / spread
        return float(parts.sum() + away @ away / (2 * spread)), np.concatenate([1 + slope, 1 - slope])

    plane = {
        "type": "eq",
        "fun": lambda parts: offset + normal @ (parts[:d] - parts[d:]),
        "jac": lambda _: np.concatenate([normal, -normal]),
    }
    bounds = [*((0, None if np.isinf(end) else end) for end in upper), *((0, None if np.isinf(end) else -end) for end in lower)]
    start = np.concatenate([near.clip(0, upper), (-near).clip(0, -lower)])
    result = minimize(cost, start, jac=True, bounds=bounds, constraints=[plane], method="SLSQP", options={"ftol": 1e-14, "maxiter": 1000})
    assert abs(plane["fun"](result.x)) < 1e-7
    return float(result.fun)
