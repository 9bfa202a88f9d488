"""The smallest distance found from inputs to the decision boundary of one model: an upper bound on the true distance.

A model maps points [N, d] to (values [N], gradients [N, d]), each point on its own; nothing else is asked of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Model = Callable[[Tensor], tuple[Tensor, Tensor]]

FAILED, OK = 0, 1
STATUS = ("failed", "ok")

FIRST_STEP = 1.5
"""Until the sign has changed, a step goes to the linearised boundary and half as far beyond."""
START = 0.5
"""The share of the way to the nearest point of the linearised boundary that the first step afterwards goes;"""
GROW, SHRINK = 1.2, 0.8
"""what a step that ended nearer, or did not, makes of the share of the next one;"""
MARGIN = 0.1
"""how far beyond the linearised boundary a step ends, relative to the distance, for each unit of its share."""
STILL = 1e-7
"""The search ends when its next step is shorter than this, relative to the distance."""
LANDING = 1e-10
"""How far behind the boundary a landed point may be, relative to the distance; float64 resolves it."""
LANDING_STEPS = 60


@dataclass(frozen=True)
class Minimal:
    """The nearest points found, and what they cost."""

    points: Tensor  # [N, d], just behind the boundary; the input itself where none was found
    distance: Tensor  # [N], not-a-number where none was found
    status: Tensor  # [N], OK or FAILED
    gradients: Tensor  # [N], evaluations of the model that the input needed


def _norm(vectors: Tensor) -> Tensor:
    lengths: Tensor = vectors.norm(dim=-1, keepdim=True)
    return lengths


def _dot(left: Tensor, right: Tensor) -> Tensor:
    product: Tensor = (left * right).sum(-1, keepdim=True)
    return product


def onto_plane(offset: Tensor, normal: Tensor) -> Tensor:
    """The shortest delta in l2 with offset + <normal, delta> = 0; zero where the normal is."""
    length: Tensor = -offset / _dot(normal, normal).clamp(min=torch.finfo(normal.dtype).tiny)
    return length * normal


def _land(model: Model, x: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
    """A point just behind a sign change between x, where the model is not negative, and `behind`, where it is; and the evaluations.

    Newton's method along the segment, aimed a little too far, inside a bracket [low, high] that it bisects when it would leave it.
    """
    direction = behind - x
    t = high = torch.ones_like(x[:, :1])
    low = torch.zeros_like(high)
    count = torch.zeros_like(high, dtype=torch.int64)
    running = _norm(direction) > 0
    for _ in range(LANDING_STEPS):
        value, gradient = model(x + t * direction)
        value, slope = value[:, None], _dot(gradient, direction)
        count += running
        changed = value < 0
        high, low = torch.where(running & changed, t, high), torch.where(running & ~changed, t, low)
        near = changed & (slope < 0) & (value > LANDING * t * slope)
        running = running & ~near & (high - low > LANDING * high)
        if not running.any():
            break
        aim = (t - value / slope) * (1 + LANDING / 2)
        t = torch.where(running, torch.where((aim > low) & (aim < high), aim, (low + high) / 2), high)
    return x + high * direction, count


def smallest_l2(model: Model, x: Tensor, *, steps: int = 40) -> Minimal:
    """The l2 distance from each x [N, d] to the nearest sign change that successive linearisation finds in that many steps.

    Until the sign has changed, y moves to the boundary as linearised at y and beyond. From then on, with f > 0 at x and linearised at y,
    - `landing` is where the linearised boundary meets the ray from x through y, `nearest` its point nearest to x;
    - y goes a share of the way from the landing to the nearest point, and a little beyond. Where it ends behind the boundary and nearer
      than ever, the share grows, else it shrinks: y settles down also where the boundary has kinks.
    Where y = landing = nearest, y - x is parallel to the gradient, the condition for a minimum; it need not be the global one. The
    nearest y behind the boundary, and the first, are brought back along their rays; the nearer one counts, and its sign is checked once
    more. So where the first step along the gradient changes the sign, the result is no farther than a root on that ray.
    An input with the value 0 is on the boundary, unless its gradient is 0 too: then, as wherever no sign change is found, it has failed.
    """
    values, gradients = model(x)
    sign = torch.where(values < 0, -1.0, 1.0).to(x)

    def oriented(points: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = model(points)
        return sign * values, sign[:, None] * gradients

    value, gradient = (sign * values)[:, None], sign[:, None] * gradients
    on_boundary = (value == 0) & gradient.any(-1, keepdim=True)
    running = (value > 0) & gradient.any(-1, keepdim=True)
    count = torch.ones_like(running, dtype=torch.int64)
    first, best, distance = x, x, torch.full_like(value, torch.inf)
    share = torch.full_like(value, START)
    y = x + FIRST_STEP * onto_plane(value, gradient)

    for _ in range(steps):
        if not running.any():
            break
        value, gradient = oriented(y)
        value = value[:, None]
        count += running
        changed, ray = value < 0, y - x
        nearer = running & changed & (_norm(ray) < distance)
        first = torch.where(nearer & distance.isinf(), y, first)
        best, distance = torch.where(nearer, y, best), torch.where(nearer, _norm(ray), distance)
        found = distance < torch.inf
        share = torch.where(nearer, (GROW * share).clamp(max=1), torch.where(found, SHRINK * share, share))

        slope = _dot(gradient, ray)
        height = value - slope  # of the linearised f at x
        usable = (slope < 0) & (height > 0)
        landing, nearest = x - ray * height / slope, x + onto_plane(height, gradient)
        step = share * (nearest - landing)
        refined = x + (1 + MARGIN * share) * (landing + step - x)
        # A linearised boundary that is not on this ray's way says little: look nearer, or go back towards the best.
        halved = torch.where(changed, x + ray / 2, (y + best) / 2)
        y = torch.where(found, torch.where(usable, refined, halved), y + FIRST_STEP * onto_plane(value, gradient))
        still = torch.where(found, usable & (_norm(step) <= STILL * distance), ~gradient.any(-1, keepdim=True))
        running = running & ~still

    (points, cost), (simple, simple_cost) = _land(oriented, x, best), _land(oriented, x, first)
    points = torch.where(_norm(simple - x) < _norm(points - x), simple, points)
    values, _ = oriented(points)
    ok = (values < 0) | on_boundary[:, 0]
    return Minimal(
        points=points,
        distance=torch.where(ok, (points - x).norm(dim=-1), torch.nan),
        status=torch.where(ok, OK, FAILED),
        gradients=(count + cost + simple_cost)[:, 0] + 1,
    )
