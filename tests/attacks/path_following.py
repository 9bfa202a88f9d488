"""The first sign change of a ReLU network along a ray by following its path through the activation patterns, in plain NumPy.

Nothing here is shared with the package: no sorting, no running sums, no bounds. Within one activation pattern every pre-activation is
affine in t, so the follower goes to the nearest zero of a pre-activation, switches that one neuron, works everything out afresh and
goes on. Arrays of `fractions.Fraction` (dtype object) make it exact.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Walk(NamedTuple):
    status: str  # "switched", "unswitched" or "dead"
    root: float | Fraction | None
    patterns: int  # activation patterns passed through
    clearance: float | Fraction  # smallest value at a change of pattern before the root: how nearly an earlier root was missed


def exact(array: object) -> np.ndarray:
    """The same numbers as fractions; every float64 is one."""
    array = np.asarray(array)
    return np.array([Fraction(value) for value in array.ravel().tolist()], dtype=object).reshape(array.shape)


def evaluate(layers: Sequence[np.ndarray], output: np.ndarray, x: np.ndarray) -> float | Fraction:
    """The network itself: output . relu(W_L ... relu(W_1 x))."""
    for weights in layers:
        x = np.maximum(weights @ x, 0)
    return output @ x


def follow(layers: Sequence[np.ndarray], output: np.ndarray, x: np.ndarray, direction: np.ndarray, cap: float | Fraction) -> Walk:
    """Where t -> output . relu(W_L ... relu(W_1 (x + t direction))), not negative at 0, first becomes negative on (0, cap)."""
    zero = 0 * cap
    start, slope = layers[0] @ x, layers[0] @ direction

    def affine(patterns: list[np.ndarray]) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[float, float]]:
        """Intercept and slope of every pre-activation and of the value."""
        lines = [(start, slope)]
        for weights, on in zip(layers[1:], patterns, strict=False):
            p, q = lines[-1]
            # Only the neurons that are on enter, so that behind a dead layer everything is exactly zero.
            lines.append((weights[:, on] @ p[on], weights[:, on] @ q[on]) if on.any() else (zero * start, zero * start))
        (p, q), on = lines[-1], patterns[-1]
        return lines, ((output[on] @ p[on], output[on] @ q[on]) if on.any() else (zero, zero))

    # At t = 0 a neuron that is exactly zero counts as off; the walk switches it on where its slope says so.
    patterns: list[np.ndarray] = []
    hidden = x
    for weights in layers:
        preactivation = weights @ hidden
        patterns.append(np.array(preactivation > 0, dtype=bool))
        hidden = np.maximum(preactivation, zero)

    t, alive, clearance, count = zero, False, None, 1
    lines, (intercept, rate) = affine(patterns)
    while True:
        end, event = cap, None
        for layer, ((p, q), on) in enumerate(zip(lines, patterns, strict=True)):
            leaving = np.flatnonzero(np.array(on & (q < 0) | ~on & (q > 0), dtype=bool))
            if len(leaving):
                times = -p[leaving] / q[leaving]
                nearest = times.argmin()
                if max(times[nearest], t) < end:
                    end, event = max(times[nearest], t), (layer, leaving[nearest])
        before = intercept + rate * end
        # In front of a plateau several pre-activations reach zero together, but for rounding; a true descent soon leaves it behind.
        rounding = 0 if isinstance(cap, Fraction) else 1e-13 * (abs(intercept) + abs(rate) * end)
        alive = alive or intercept != 0 or rate != 0
        old = (intercept, rate)
        if event is not None:
            patterns[event[0]][event[1]] ^= True
            lines, (intercept, rate) = affine(patterns)
            count += 1
        after = intercept + rate * end
        if before < -rounding and (after < 0 or event is None):
            return Walk("switched", max(t, -old[0] / old[1]), count, clearance)
        if event is None:
            return Walk("unswitched" if alive else "dead", None, count, clearance)
        if end > t:
            clearance = min(before, after) if clearance is None else min(clearance, before, after)
        t = end
