"""The first sign change of a model along given directions, seen at points of a grid that is refined where f may come near 0.

Between two neighbouring points f is looked at again, in the middle, where it has one sign at both but its tangents at them would cross 0
before they meet. What is found is a sign change of f, known to `PRECISION`; an earlier one can have been missed only where f changes its
sign twice between two points while neither tangent tells, which takes a kink or a bend that both points are blind to.
"""

import torch
from torch import Tensor

from onestep.attacks.minimal import Model

POINTS = 16
"""Equal steps of the grid; twice as many in the first of them, near x, where short roots lie."""
HALVINGS = 4
"""So often an interval that its tangents do not clear is halved."""
PRECISION = 1e-5
"""To which a root is known, relative to its length."""


def _doubtful(value: Tensor, slope: Tensor, next_value: Tensor, next_slope: Tensor, width: Tensor) -> Tensor:
    """Whether the tangents of an f that is positive at both ends of intervals cross 0 before they meet."""
    return (slope < 0) & (next_slope > 0) & (next_value / next_slope - value / slope < width)


def first_root(model: Model, x: Tensor, direction: Tensor, cap: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest t [N] in (0, cap] at which f(x + t v) has another sign than f(x), not-a-number where none was seen; and f(x) [N].

    x and the unit vectors v are [N, d], cap is [N].
    """
    start, gradient = model(x)
    sign = torch.where(start < 0, -1.0, 1.0).to(x)

    def at(t: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = model(x + t[:, None] * direction)
        return sign * values, sign * (gradients * direction).sum(-1)

    def between(
        low: Tensor, f_low: tuple[Tensor, Tensor], high: Tensor, f_high: tuple[Tensor, Tensor], open_: Tensor, depth: int
    ) -> Tensor:
        """The first root [N] in (low, high] of those that are open."""
        changed = open_ & (f_high[0] < 0)
        doubtful = open_ & ~changed & _doubtful(*f_low, *f_high, high - low)
        if depth == 0 or not (changed | doubtful).any():
            return bisect(low, high, changed)
        middle = (low + high) / 2
        f_middle = at(middle)
        left = between(low, f_low, middle, f_middle, changed | doubtful, depth - 1)
        right = between(middle, f_middle, high, f_high, (changed | doubtful) & left.isnan(), depth - 1)
        return torch.where(left.isnan(), right, left)

    def bisect(low: Tensor, high: Tensor, open_: Tensor) -> Tensor:
        root = torch.full_like(low, torch.nan)
        if not open_.any():
            return root
        while ((high - low) > PRECISION * high)[open_].any():
            middle = (low + high) / 2
            changed = at(middle)[0] < 0
            low, high = torch.where(changed, low, middle), torch.where(changed, middle, high)
        return torch.where(open_, high, root)

    shares = torch.cat([torch.linspace(0, 1, 2 * POINTS + 1)[1:3], torch.linspace(0, 1, POINTS + 1)[2:]]).to(x)
    root = torch.full_like(cap, torch.nan)
    low, f_low = torch.zeros_like(cap), (sign * start, sign * (gradient * direction).sum(-1))
    for share in shares:
        open_ = root.isnan() & (start != 0)
        if not open_.any():
            break
        high = share * cap
        f_high = at(high)
        root = torch.where(open_, between(low, f_low, high, f_high, open_, HALVINGS), root)
        low, f_low = high, f_high
    return root, start
