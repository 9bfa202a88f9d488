"""The smallest l1, l2 or l-infinity distance found from inputs to the decision boundary of one model: an upper bound on the true distance.

A model maps points [N, d] to (values [N], gradients [N, d]), each point on its own; nothing else is asked of it. The search linearises it
again and again, and each time goes towards the point of the linearised boundary, inside the box, that is nearest to the input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from onestep.attacks.mixing import Mixing
from onestep.attacks.projection import NORMS, project, project_near
from onestep.errors import Mistake

Model = Callable[[Tensor], tuple[Tensor, Tensor]]

FAILED, OK = 0, 1
STATUS = ("failed", "ok")


@dataclass(frozen=True)
class Effort:
    """By norm: the steps after the first sign change, and after how many without a gain of `GAIN` in all a search ends that has gained."""

    steps: dict[float, int]
    patience: dict[float, int]


EFFORTS = {
    "fast": Effort({1: 60, 2: 40, math.inf: 40}, {1: 9, 2: 8, math.inf: 6}),
    "thorough": Effort({1: 60, 2: 40, math.inf: 40}, {1: 30, 2: 40, math.inf: 40}),
}
GAIN = 0.015
"""Relative to the distance when so much was last gained."""
CROSSING = 40
"""So many steps may pass until the sign has changed for the first time."""
BEYOND = 1.5
"""Each of them goes to the linearised boundary and half as far beyond."""
PACE = {1: 2.0, 2: 0.8, math.inf: 0.8}
"""Of the first step after the sign change: in l1 the spread of `project_near`, relative to the largest entry; else the share of the way."""
FASTER, SLOWER = 1.2, {1: 0.8, 2: 0.8, math.inf: 0.7}
"""What a step that ended nearer makes of the pace, and what one that did not."""
NEWEST = {1: 0.4, 2: 0.5, math.inf: 0.3}
"""The weight of the newest gradient in the average that is gone by: kinks of f change it all the time, and the nearest points in l1 and
l-infinity follow ranks and signs of its entries."""
MEMORY = 4
"""Steps that are mixed in l2, whose nearest points are smooth in the gradient."""
MARGIN, LESS, MORE, LEAST, MOST = 0.05, 0.8, 1.5, 0.01, 0.3
"""How far behind the linearised boundary a step aims, relative to f at the input as linearised: less after one that ended behind the
boundary, more after one that did not, between the last two."""
AGAIN = 0.75
"""A thorough search in l1, which may settle in a corner, begins again with what it has found and this share of the shortest step in l2 to
the boundary as linearised at the input, which moves all entries."""
STRETCH = (0.3, 2.0)
"""A linearised boundary is looked for on the ray through a perturbation between these multiples of it."""
STILL = 1e-7
"""The search ends when its next step is shorter than this, relative to the distance."""
LANDING = {torch.float64: 1e-10, torch.float32: 1e-4}
"""How far behind the boundary a landed point may be, relative to the distance; the precision resolves it."""
LANDING_STEPS = 60
ROUNDING = 4
"""So far behind the boundary, relative to what f changes by where all entries of the point move by eps, a landed point is at least. Of
networks in single precision f was up to twice that off, and it is asked for twice: here, and by whoever looks at the point."""


@dataclass(frozen=True)
class Minimal:
    """The nearest points found, and what they cost."""

    points: Tensor  # [N, d], just behind the boundary; the input itself where none was found
    distance: Tensor  # [N], not-a-number where none was found
    status: Tensor  # [N], OK or FAILED
    gradients: Tensor  # [N], evaluations of the model that the input needed


def _length(vectors: Tensor, norm: float = 2) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, norm, dim=-1)
    return lengths


def _dot(left: Tensor, right: Tensor) -> Tensor:
    product: Tensor = (left * right).sum(-1)
    return product


@dataclass(frozen=True)
class _Ray:
    """A perturbation behind the boundary, with f < 0 there and its gradient; zeros where there is none."""

    delta: Tensor  # [N, d]
    value: Tensor  # [N]
    gradient: Tensor  # [N, d]

    @property
    def slope(self) -> Tensor:
        """Of f along the perturbation [N]."""
        return _dot(self.gradient, self.delta)

    def replaced(self, where: Tensor, other: "_Ray") -> "_Ray":
        """The other one, where [N] it is to be."""
        return _Ray(
            torch.where(where[:, None], other.delta, self.delta),
            torch.where(where, other.value, self.value),
            torch.where(where[:, None], other.gradient, self.gradient),
        )


def _land(model: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, ray: _Ray) -> tuple[Tensor, Tensor]:
    """Perturbations [N, d] on the rays just behind a sign change, for an f that is not negative at x; and how many evaluations it took.

    Newton's method along the ray, aimed a little too far, inside a bracket [low, high] that it bisects when it would leave it; in the end
    as much farther as rounding may undo, in whatever order the model adds.
    """
    precision = LANDING[x.dtype]
    t = high = torch.ones_like(ray.value)
    low = torch.zeros_like(high)
    count = torch.zeros_like(high, dtype=torch.int64)
    running = ray.delta.any(-1)
    value, slope = ray.value, ray.slope
    for _ in range(LANDING_STEPS):
        changed = value < 0
        high, low = torch.where(running & changed, t, high), torch.where(running & ~changed, t, low)
        near = changed & (slope < 0) & (value > precision * t * slope)
        running = running & ~near & (high - low > precision * high)
        if not running.any():
            break
        aim = (t - value / slope) * (1 + precision / 2)
        t = torch.where(running, torch.where((aim > low) & (aim < high), aim, (low + high) / 2), high)
        value, gradient = model(x + t[:, None] * ray.delta, running)
        slope = _dot(gradient, ray.delta)
        count += running
    rounding = ROUNDING * torch.finfo(x.dtype).eps * _length(ray.gradient) * _length(x + ray.delta)
    farther = torch.where(ray.slope < 0, (-rounding / (ray.slope * high)).clamp(max=1), 0.0)
    return (high * (1 + farther))[:, None] * ray.delta, count


def smallest(
    model: Model, x: Tensor, norm: float, *, box: tuple[float, float] | None = None, effort: str = "thorough", start: Tensor | None = None
) -> Minimal:
    """The distance in l1, l2 or l-infinity (norm 1, 2, infinity) from each x [N, d] to the nearest sign change found inside the box.

    The search begins with the perturbations `start` [N, d], such as those found in another norm, or with a step along the gradient. A
    thorough one in l1 begins a second time where it has ended, disturbed, and the nearer point counts.
    An input with the value 0 is on the boundary, unless its gradient is 0 too: then, as wherever no sign change is found, it has failed.
    """
    if norm not in NORMS.values():
        raise Mistake(f"norm {norm}: distances are known in the norms 1, 2 and inf; choose one of them")
    low, high = box or (-math.inf, math.inf)
    if ((x < low) | (x > high)).any():
        raise Mistake(f"an input lies outside the box from {low} to {high} that its perturbation is to stay in; choose a box around it")
    values, gradients = model(x)
    sign = torch.where(values < 0, -1.0, 1.0).to(x)

    def oriented(points: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The model at those of the points [N, d] where [N] it is needed; 0 elsewhere."""
        values, gradients = torch.zeros_like(sign), torch.zeros_like(points)
        values[where], gradients[where] = model(points[where])
        return sign * values, sign[:, None] * gradients

    here = _Ray(torch.zeros_like(x), sign * values, sign[:, None] * gradients)
    search = partial(_search, oriented, x, here, norm, low - x, high - x, effort)
    delta, found, count = search(project(2, BEYOND * here.value, here.gradient, low - x, high - x) if start is None else start)
    if norm == 1 and effort == "thorough":
        other, also, more = search(delta + AGAIN * project(2, here.value, here.gradient, low - x, high - x))
        nearer = also & ~(found & (_length(other, norm) >= _length(delta, norm)))
        delta, found, count = torch.where(nearer[:, None], other, delta), found | also, count + more
    points = (x + delta).clamp(low, high)
    ok = found | ((here.value == 0) & here.gradient.any(-1))
    return Minimal(
        points=points,
        distance=torch.where(ok, _length(points - x, norm), torch.nan),
        status=torch.where(ok, OK, FAILED),
        gradients=1 + count,
    )


def _search(
    model: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    here: _Ray,
    norm: float,
    lower: Tensor,
    upper: Tensor,
    effort: str,
    delta: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest perturbations [N, d] found, beginning with delta [N, d]; where [N] one was; how many evaluations [N] it took.

    `model` is f, above 0 at x, at points [N, d] where [N] it is asked; `here` what it is at x. Until the sign has changed, x + delta moves
    to the boundary as linearised there, and beyond, by the shortest way in l2. From then on, with f linearised at x + delta,
    - `landing` is where the linearised boundary meets the ray through delta;
    - `nearest` is the point of the box nearest to x on the plane through the landing with the average of the last gradients as its normal;
    - delta goes a share of the way from the landing to the nearest point, in a fast search in l2 as mixed with the last ones (`Mixing`). In
      l1, whose nearest points jump from corner to corner, it goes to the nearest point that is also near to the landing (`project_near`).
      Where it ends behind the boundary and nearer than ever, the pace grows, else it falls: it settles also where the boundary has kinks.
    Where delta = landing = nearest the conditions for a minimum hold; it need not be the global one. The nearest delta behind the boundary
    (in a fast search in l2 and l-infinity the one whose landing is) is brought back along its ray; the last step tries the nearest point of
    the boundary as linearised there. In a thorough search the first delta is brought back as well, and the nearer one counts: where the
    first step along the gradient changes the sign, in l2 without a box, it is no farther than a root on that ray.
    """
    steps, patience = EFFORTS[effort].steps[norm], EFFORTS[effort].patience[norm]
    mixes = norm == 2 and effort == "fast"
    value, gradient = here.value, here.gradient
    running = (value > 0) & gradient.any(-1)
    count = torch.zeros_like(running, dtype=torch.int64)
    first = best = _Ray(torch.zeros_like(x), torch.zeros_like(value), torch.zeros_like(x))
    distance = torch.full_like(value, torch.inf)
    found = last = torch.zeros_like(running)
    promised = distance
    left = torch.full_like(count, steps)
    # The distance when a gain was last marked, steps since then, and gains; the first is the sign change, and far from the boundary the
    # next can take long.
    marked, waited, gains = distance, torch.zeros_like(count), torch.zeros_like(count)
    pace, margin = torch.zeros_like(value), torch.full_like(value, MARGIN)
    initial, normal, mixing = value, gradient, Mixing(x, MEMORY)
    delta = delta.clamp(lower, upper)

    for step in range(CROSSING + steps):
        if not running.any():
            break
        value, gradient = model(x + delta, running)
        count += running
        changed, slope = value < 0, _dot(gradient, delta)
        height = value - slope  # of the linearised f at x
        usable = (slope < 0) & (height > 0)
        stretch = torch.where(usable, (-height / slope).clamp(*STRETCH), 1.0)
        landing = stretch[:, None] * delta
        length = _length(delta, norm)

        crossed = running & changed & distance.isinf()
        nearer = running & changed & (length < distance)
        there = _Ray(delta, value, gradient)
        first, distance = first.replaced(crossed, there), torch.where(nearer, length, distance)
        # The landing that the linearisation promises tells more than where a step ended; not in l1, whose margins are small.
        landed = length * stretch.clamp(max=1) if effort == "fast" and norm != 1 else length
        chosen = running & changed & (landed < promised)
        best, promised = best.replaced(chosen, there), torch.where(chosen, landed, promised)
        found = distance < torch.inf
        left -= (running & found).long()
        gained = promised < (1 - GAIN) * marked
        gains = gains + gained
        marked, waited = torch.where(gained, promised, marked), torch.where(gained | (gains < 2), 0, waited + 1)
        pace = torch.where(crossed, _first_pace(norm, landing), pace * torch.where(nearer, FASTER, SLOWER[norm]))
        pace = pace if norm == 1 else pace.clamp(max=1)
        margin = torch.where(crossed, margin, margin * torch.where(changed, LESS, MORE)).clamp(LEAST, MOST)

        normal = normal + torch.where(crossed, 1.0, NEWEST[norm]).to(x)[:, None] * (gradient - normal)
        # An average that does not fall on the way to the landing is of another place.
        normal = torch.where((_dot(normal, landing) < 0)[:, None], normal, gradient)
        offset = -_dot(normal, landing)
        if norm == 1:
            offset, landing = offset * (1 + margin), (1 + margin)[:, None] * landing
            aim = refined = project_near(landing, pace, offset, normal, lower, upper)
        else:
            nearest = project(norm, offset, normal, lower, upper)
            if mixes:
                nearest = mixing.mixed(landing, nearest, running & found & usable)
            aim = landing + pace[:, None] * (nearest - landing)
            refined = (1 + margin * pace)[:, None] * aim
        still = changed & usable & (_length(aim - landing) <= STILL * _length(landing))
        # A linearised boundary that is not on this ray's way says little: look nearer, or go back towards the best.
        halved = torch.where(changed[:, None], delta, delta + best.delta) / 2
        refined = torch.where(usable[:, None], refined, halved)
        if not found.all():
            # Where f is 0 it is not negative yet: a little farther still.
            ahead = BEYOND * value + STILL * initial
            refined = torch.where(found[:, None], refined, delta + project(2, ahead, gradient, lower - delta, upper - delta))
        running = running & gradient.any(-1) & torch.where(found, ~last | gained, step < CROSSING)
        last = found & (still | (left <= 1) | (waited >= patience - 1))
        if (running & last).any():
            # Landings leave the faces of the box on which the nearest point of the best linearised boundary lies: it is the last step's.
            height = (best.value - best.slope) * (1 + LANDING[x.dtype] / 2)
            refined = torch.where(last[:, None], project(norm, height, best.gradient, lower, upper), refined)
        delta = refined.clamp(lower, upper)

    shortest, cost = _land(model, x, best)
    if effort == "thorough":
        landed, more = _land(model, x, first)
        nearer = first.delta.any(-1) & (_length(landed, norm) < _length(shortest, norm))
        shortest, cost = torch.where(nearer[:, None], landed, shortest), cost + more
    return shortest, found, count + cost


def _first_pace(norm: float, landing: Tensor) -> Tensor:
    """Of the first step after the sign change [N]."""
    return PACE[norm] * _length(landing, math.inf) if norm == 1 else torch.full_like(landing[:, 0], PACE[norm])
