"""Shortest perturbations inside a box that reach a hyperplane, in l1, l2 and l-infinity.

The plane is {delta: offset + <normal, delta> = 0}, the box {lower <= delta <= upper} around 0; infinite bounds are none.
"""

import math

import torch
from torch import Tensor

NORMS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}

PRECISION = 1e-12
"""How far from the plane what `project_near` finds may lie, relative to the offset,"""
ITERATIONS = 60
"""unless these are used up."""


def project(norm: float, offset: Tensor, normal: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The shortest deltas [N, d] of box and plane in the norm 1, 2 or infinity; offset is [N], normal and the bounds are [N, d].

    Every coordinate moves from 0 towards the plane, by r in [0, room], such that <|normal|, r> makes up for the offset:
    - l1: coordinates in descending |normal|, each to its bound, the last one partly;
    - l2 and l-infinity: r = min(t speed, room), with speed |normal| or 1, and one t for all.
    Without bounds: -offset / normal on the coordinate of the largest |normal|, -offset normal / |normal|_2^2, and
    -offset sign(normal) / |normal|_1. Where the box does not reach the plane it is the corner nearest to it. Sums are of double precision.
    """
    dtype = normal.dtype
    offset, normal, lower, upper = (part.double() for part in (offset, normal, lower, upper))
    way, weight, needed = -offset.sign()[:, None] * normal.sign(), normal.abs(), offset.abs()[:, None]
    room = torch.where(way > 0, upper, torch.where(way < 0, -lower, 0.0))
    moved = _fill(weight, room, needed) if norm == 1 else _spread(weight, room, weight if norm == 2 else weight.sign(), needed)
    return (way * moved).clamp(lower, upper).to(dtype)


def _before(sums: Tensor) -> Tensor:
    """The sums [N, d] without their last terms: 0, s_1, s_1 + s_2, .."""
    return torch.cat([torch.zeros_like(sums[:, :1]), sums[:, :-1].cumsum(-1)], dim=-1)


def _fill(weight: Tensor, room: Tensor, needed: Tensor) -> Tensor:
    """The r in [0, room] with <weight, r> = needed that has the smallest sum."""
    order = weight.argsort(-1, descending=True)
    most = (weight * room).gather(-1, order)
    filled = (needed - _before(most)).clamp(min=0).minimum(most)
    return (torch.zeros_like(weight).scatter(-1, order, filled) / weight.clamp(min=torch.finfo(weight.dtype).tiny)).minimum(room)


def _spread(weight: Tensor, room: Tensor, speed: Tensor, needed: Tensor) -> Tensor:
    """r = min(t speed, room) at the t with <weight, r> = needed, which is linear in t between the sorted times when rooms are used up."""
    stops = torch.where(room > 0, room / speed, 0.0)
    times, order = stops.sort(dim=-1)
    used = _before((weight * room).gather(-1, order))
    rate = (weight * torch.where(room > 0, speed, 0.0)).gather(-1, order).flip(-1).cumsum(-1).flip(-1)
    # The first of those times by which enough has moved; the last one where the box does not reach the plane.
    enough = used + torch.where(rate > 0, times * rate, 0.0) >= needed
    first = torch.where(enough.any(-1, keepdim=True), enough.int().argmax(-1, keepdim=True), enough.shape[-1] - 1)
    rate, left = rate.gather(-1, first), needed - used.gather(-1, first)
    t = torch.where(rate > 0, left / rate, 0.0)
    return torch.minimum(t * speed, room)


def project_near(near: Tensor, spread: Tensor, offset: Tensor, normal: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The deltas [N, d] of box and plane with the smallest |delta|_1 + |delta - near|^2 / (2 spread), `near` [N, d], `spread` [N].

    delta(t) = clip(soft(near - t spread normal, spread)), soft moving every coordinate towards 0 by `spread` but not beyond, for the t that
    puts it on the plane: found by Newton's method on a piecewise linear monotone function, inside a bracket that it halves when it would
    leave it. Where the box does not reach the plane, the corner nearest to it.
    """
    dtype = normal.dtype
    near, spread, offset, normal, lower, upper = (part.double() for part in (near, spread, offset, normal, lower, upper))
    spread, offset = spread[:, None], offset[:, None]

    def at(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """delta(t), its offset from the plane and how fast that falls."""
        moved = near - t * spread * normal
        soft = moved - moved.clamp(-spread, spread)
        delta = soft.clamp(lower, upper)
        moving = (soft != 0) & (delta == soft)
        height = offset + (normal * delta).sum(-1, keepdim=True)
        return delta, height, spread * torch.where(moving, normal.square(), 0.0).sum(-1, keepdim=True)

    largest = spread * normal.abs().amax(-1, keepdim=True)
    # Moves every coordinate of the largest |normal| beyond 0; how much farther it has to be depends on the plane. Without a normal t is 0.
    unit = torch.where(largest > 0, (near.abs().amax(-1, keepdim=True) + 2 * spread) / largest, 0.0)
    low, high = -unit, unit
    for _ in range(ITERATIONS):
        above, below = at(low)[1] < 0, at(high)[1] > 0
        if not (above.any() or below.any()):
            break
        low, high = torch.where(above, 4 * low, low), torch.where(below, 4 * high, high)
    t = torch.zeros_like(low)
    for _ in range(ITERATIONS):
        delta, height, fall = at(t)
        if (height.abs() <= PRECISION * offset.abs()).all():
            break
        low, high = torch.where(height >= 0, t, low), torch.where(height <= 0, t, high)
        aim = t + height / fall
        t = torch.where((aim > low) & (aim < high), aim, (low + high) / 2)
    return delta.to(dtype)
