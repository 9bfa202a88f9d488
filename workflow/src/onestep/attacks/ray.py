"""The first sign change of a network along a ray: the smallest t in (0, cap) beyond which the oriented value becomes negative.

phi(t) = sign(f(x)) f(x + t g), so phi(0) >= 0. A stretch on which phi is identically 0 (a dead network) is not a sign change; where
phi turns negative right behind such a stretch, its end is the root. `SWITCHED`, `UNSWITCHED` and `DEAD` are the outcomes.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onestep.networks.activations import Activation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNSWITCHED, SWITCHED, DEAD = 0, 1, 2
STATUS = ("unswitched", "switched", "dead")

RELATIVE_ERROR = {torch.float64: 1e-12, torch.float32: 1e-5}
"""The march stops when the certified error of the root, relative to it, is below this: by the precision of the networks."""
MARGIN = 6.0
"""How many standard deviations beyond its mean a wide layer's amplification is allowed for (see `path_error`)."""
AIM = 0.7
"""The march chooses its steps so that the band is about this part of phi."""
OVERSHOOT = 1.03
"""A first look this far behind a guess more often brackets the root than one at it."""
RESOLUTION = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Between marched points closer than this (relative to t, or to the cap near 0) the march certifies nothing."""


@dataclass(frozen=True)
class Roots:
    """Where each ray changes sign first, how that is known, and what it cost."""

    t: Tensor  # not-a-number where no root was found
    status: Tensor  # UNSWITCHED, SWITCHED or DEAD
    evaluations: Tensor  # of the network along the ray
    unresolved: Tensor  # steps that had to be taken without a certificate; 0 means that the root is certainly the first


Maps = tuple[tuple[Tensor, float], ...]
"""What the march knows of the random matrix behind each hidden layer, the output weights last: a bound on its operator norm, [B],
and the standard deviation of its entries."""


class Ray(Protocol):
    """A network along rays: what the march needs to know of it."""

    @property
    def activation(self) -> Activation:
        """The activation of every hidden layer."""

    @property
    def maps(self) -> Maps:
        """The matrix behind each hidden layer."""

    @property
    def origin(self) -> tuple[list[Tensor], Tensor]:
        """What `at` says of t = 0."""

    @property
    def output(self) -> Tensor:
        """The output weights, [B, k]."""

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every hidden layer [B, I, k] and values [B, I] at t [B, I]; the first layer is affine in t."""

    def only(self, networks: Tensor, inputs: Tensor) -> Self:
        """The rays of some of the networks, from some of their inputs: ascending indices."""


def two_layer_roots(u: Tensor, v: Tensor, amplitude: Tensor, cap: float, guess: Tensor | None = None) -> Roots:
    """The exact first root in (0, cap) of phi(t) = sum_l A_l relu(u_l + t v_l); u, v, A are [..., k] float64 and phi(0) >= 0.

    phi is affine between the breakpoints t_l = -u_l / v_l. The first breakpoint at which phi is negative closes the segment that holds
    the root (`_segments`). The root itself is that segment's intercept over its slope, summed afresh over the neurons active there, so
    that no error of running sums is left in it.

    A guess of the roots, [...], saves sorting most of the breakpoints: where phi is negative a little behind it, the first root is
    before that point and so are the breakpoints that matter. The result is the same for any guess, up to rounding.
    """
    shape = np.broadcast_shapes(u.shape, v.shape, amplitude.shape)
    u, v, amplitude = u.expand(shape), v.expand(shape), amplitude.expand(shape)
    last = u.new_full(shape[:-1], cap)
    if guess is not None:
        near = (1.25 * guess).clamp(max=cap)
        last = torch.where(_dot(amplitude, (u + near[..., None] * v).relu()) < 0, near, last)
    ends, phi, always_off = _segments(u, v, amplitude, last)
    negative = phi < 0
    found = negative.any(-1)
    if (~found & (last < cap)).any():
        return two_layer_roots(u, v, amplitude, cap)  # a guess so near a root that rounding decides
    segment = negative.to(torch.uint8).argmax(-1, keepdim=True)
    left = torch.where(segment > 0, ends.gather(-1, (segment - 1).clamp(min=0)), 0.0).squeeze(-1)
    right = ends.gather(-1, segment).squeeze(-1)
    middle = (left + right)[..., None] / 2
    weight = amplitude * (u + middle * v > 0)
    root = (-_dot(weight, u) / _dot(weight, v)).clamp(left, right)
    status = torch.where(found, SWITCHED, torch.where((phi == 0).all(-1) & always_off, DEAD, UNSWITCHED))
    zeros = torch.zeros_like(status)
    return Roots(torch.where(found, root, torch.nan), status, zeros + 1, zeros)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products along the last dimension."""
    return torch.matmul(a[..., None, :], b[..., :, None])[..., 0, 0]


def _segments(u: Tensor, v: Tensor, amplitude: Tensor, last: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """phi(t) = sum_l A_l relu(u_l + t v_l) on (0, last]: the ends of its segments in ascending order and its values there, [..., n].

    `more` [..., m]: further points that are to be among the ends. Third, [...]: whether no neuron is active right behind 0.
    Values come from running sums of slope and intercept over the sorted breakpoints; where no neuron is active they are exactly 0.
    """
    # A neuron that starts exactly at zero switches at t = 0: it is active on the ray exactly when v > 0.
    active = (u > 0) | ((u == 0) & (v > 0))
    turning = u * (u + last[..., None] * v) < 0
    A, U, V = _packed(turning, amplitude, u, v)
    t = torch.where(V == 0, torch.inf, -U / V)
    if more is not None:
        t = torch.cat([t, more], -1)
        A, U, V = (torch.cat([part, torch.zeros_like(more)], -1) for part in (A, U, V))
    t, order = t.sort(dim=-1)
    A, U, V = (part.gather(-1, order) for part in (A, U, V))
    turn = V.sign()  # +1: turns on, -1: off, 0: no neuron

    def along(initial: Tensor, change: Tensor) -> Tensor:
        """A running sum that starts at `initial`: its value on the segment that ends at each breakpoint, and on the last one."""
        return torch.cat([initial[..., None], initial[..., None] + change.cumsum(-1)], -1)

    weight = amplitude * active
    slope = along(_dot(weight, v), turn * A * V)
    intercept = along(_dot(weight, u), turn * A * U)
    count = along(active.sum(-1).to(u.dtype), turn)
    ends = torch.cat([torch.minimum(t, last[..., None]), last[..., None]], -1)
    phi = torch.where(count == 0, 0.0, intercept + slope * ends)
    # At the end of a segment phi is also the value at the start of the next: with no neuron active there it is exactly 0.
    phi[..., :-1] = torch.where(count[..., 1:] == 0, 0.0, phi[..., :-1])
    return ends, phi, ~active.any(-1)


def _packed(chosen: Tensor, *parts: Tensor) -> list[Tensor]:
    """The chosen entries of each row [..., k] moved to its front, rows as long as the longest needs, with zeros in what is left over."""
    rows = chosen.reshape(-1, chosen.shape[-1])
    row, column = rows.nonzero(as_tuple=True)
    counts = torch.bincount(row, minlength=len(rows))
    place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    packed = []
    for part in parts:
        front = part.new_zeros(len(rows), max(1, int(counts.max())))
        front[row, place] = part.reshape(rows.shape)[row, column]
        packed.append(front.view(*chosen.shape[:-1], -1))
    return packed


@dataclass(frozen=True)
class Band:
    """At theta of the way from t0 to t1, phi is known to within min(E_peak, (1 - theta) E_right); each [B, I]."""

    peak: Tensor
    right: Tensor

    def at(self, theta: Tensor) -> Tensor:
        """Its half width at theta [B, I, n]."""
        return torch.minimum((1 - theta) * self.right[..., None], self.peak[..., None])

    @property
    def corner(self) -> Tensor:
        """Where it bends, [B, I, 1]; 1 where it is 0 all along."""
        return (1 - self.peak / self.right).nan_to_num(nan=1.0)[..., None]


def path_error(maps: Maps, activation: Activation, left: list[Tensor], right: list[Tensor], *, rigorous: bool = False) -> Band:
    """How far phi can be, between t0 and t1, from what it would be if the last pre-activations moved along their chords.

    From the pre-activations [B, I, k] at t0 (`left`) and t1 (`right`). The first layer is affine along the ray. Where a layer's
    pre-activations stay within E (in l2) of their chords, its outputs stay within lip E + ||c|| of theirs: the activation is
    lip-Lipschitz, and on a chord from p to q it leaves its own chord by at most c (`Activation.bends`: for relu only neurons that
    change sign have a c). The map behind, W, then multiplies by

        min(||W||,  s (sqrt(n) + MARGIN)),    s the deviation of its entries, n the outputs that are not off on the whole interval

    (s MARGIN for the one output of the last layer). The first is a bound for every deviation. The second holds for a deviation that does
    not depend on W, but for a probability of exp(-MARGIN^2 / 2); W makes of it a vector that has with the next c an inner product of at
    most MARGIN / sqrt(n) of their lengths, so that the two add up nearly like orthogonal ones. `rigorous` uses nothing but the first
    and the triangle inequality. The ray's direction does know a little of W, so that the default is a margin and not a proof: the
    tests look for intervals that break it. It matters for wide layers only, where it is the smaller one.
    All of this holds with c (1 - theta) in place of c, too: the two sides of the band. For relu the last layer's own bends are no
    error, as the value along the chords is known; for a smooth activation they are, and add up to at most s sum(c).
    """
    shape = left[0].shape[:-1]
    errors = [torch.zeros(shape, dtype=torch.float64, device=left[0].device)] * 2
    cosine = torch.ones_like(errors[0])  # of a deviation and the next layer's bends, at most
    for index, ((norm_bound, deviation), p, q) in enumerate(zip(maps, left, right, strict=True)):
        last = index + 1 == len(left)
        gain = norm_bound[:, None].expand(shape)
        if not last:
            bends = [torch.linalg.vector_norm(c, dim=-1).double() for c in activation.bends(p, q)]
            errors = [activation.lipschitz * error for error in errors]
            errors = [(a * a + b * b + 2 * cosine * a * b).sqrt() for a, b in zip(errors, bends, strict=True)]
        if not rigorous:
            reach = MARGIN * deviation * errors[0]
            outputs = torch.zeros_like(reach) if last else _outputs(left[index + 1], right[index + 1], reach, activation)
            likely = deviation * (outputs.sqrt() + MARGIN)
            if not last:
                likely = torch.where(outputs > 0, likely, 0.0)  # nothing passes through a layer that is off
            cosine = torch.where(likely < gain, (MARGIN / outputs.sqrt()).clamp(max=1.0), 1.0)
            gain = torch.minimum(gain, likely)
        errors = [gain * error for error in errors]
        if last and not activation.piecewise_linear:
            bends = [deviation * c.sum(-1).double() for c in activation.bends(p, q)]
            errors = [activation.lipschitz * error + bend for error, bend in zip(errors, bends, strict=True)]
    return Band(*errors)


def _outputs(p: Tensor, q: Tensor, reach: Tensor, activation: Activation) -> Tensor:
    """How many neurons of a layer are not off all along from p to q, when they leave their chords by at most reach [B, I]."""
    if not activation.piecewise_linear:
        return torch.full_like(reach, p.shape[-1])
    return (torch.maximum(p, q) > -reach[..., None].to(p.dtype)).sum(-1).double()


def chord_path(ray: Ray, sign: Tensor, p: Tensor, q: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """sign * f if the last pre-activations went straight from p to q: ends of its segments in (0, 1], `points` among them; values there.

    For a smooth activation, whose bends are part of the band: the chord of the values.
    """
    if not ray.activation.piecewise_linear:
        theta = torch.cat([points, torch.ones_like(points[..., :1])], -1).sort(-1).values
        value = [(ray.activation.value(part).double() @ ray.output.double()[..., None]) for part in (p, q)]
        return theta, sign[..., None] * ((1 - theta) * value[0] + theta * value[1])
    amplitude = sign[..., None] * ray.output[:, None, :].double()
    ends, phi, _ = _segments(p.double(), q.double() - p.double(), amplitude, torch.ones_like(sign), points)
    return ends, phi


def _first_negative(ends: Tensor, values: Tensor, start: Tensor) -> Tensor:
    """Where a piecewise linear function that is `start` [...] at 0 and `values` at `ends` [..., n] falls below 0; else not-a-number."""
    negative = values < 0
    index = negative.to(torch.uint8).argmax(-1, keepdim=True)
    before = (index - 1).clamp(min=0)
    left = torch.where(index > 0, ends.gather(-1, before), 0.0)
    high = torch.where(index > 0, values.gather(-1, before), start[..., None]).clamp(min=0)
    right, low = ends.gather(-1, index), values.gather(-1, index)
    return torch.where(low < 0, left + (right - left) * high / (high - low), torch.nan).squeeze(-1)


def _between(
    ray: Ray, sign: Tensor, level: Array, layers0: list[Tensor], phi0: Array, layers1: list[Tensor], phi1: Array, rigorous: bool
) -> tuple[Array, Array, Array, Array]:
    """What is known of phi between t0 and t1, as parts of the way: where it may fall below 0 first (`lower`) and where it certainly has
    (`upper`), not-a-number if it does not; the band's height; whether the path is not 0 all along. Each [B, I]."""
    band = path_error(ray.maps, ray.activation, layers0, layers1, rigorous=rigorous)
    ends, path = chord_path(ray, sign, layers0[-1], layers1[-1], band.corner)
    shift, at_start, at_end = (torch.from_numpy(part).to(sign.device) for part in (level, phi0, phi1))
    path = torch.cat([path[..., :-1] + shift[..., None], at_end[..., None]], -1)
    width = band.at(ends)
    both = _first_negative(ends.expand(2, *ends.shape), torch.stack([path - width, path + width]), at_start.expand(2, *at_start.shape))
    lower, upper = both.cpu().numpy()
    return lower, upper, band.peak.cpu().numpy(), (path != 0).any(-1).cpu().numpy()


def first_roots(
    ray: Ray, sign: Tensor, cap: float, *, guess: Tensor | None = None, level: Tensor | float = 0.0, rigorous: bool = False
) -> Roots:
    """The first root in (0, cap) of phi = sign * f + level along each ray, [B, I], for networks of any depth; `guess`: about where.

    A march. phi >= 0 up to t0 is known. It evaluates some t1 > t0. Between the two, phi is what it would be if the last
    pre-activations moved along their chords (`chord_path`, exact), to within a band (`path_error`). Where the path minus the band stays
    positive phi has no root, and t0 moves to t1. Else the root lies behind `lower`, where that becomes negative first, and before
    `upper`, where the path plus the band does. One of the two is looked at next and becomes the new t0 or t1; without a bracket worth
    the name the step shrinks. The band falls like (t1 - t0)^(3/2) and is 0 for relu once no neuron but of the last layer switches in
    between, where the root is exact.
    Guaranteed, up to rounding and to the bounds: the root found is the first one, unless `unresolved` counts steps at which the
    interval had already shrunk to RESOLUTION; a sign change overlooked there lasts less than RESOLUTION. Such steps are taken
    where phi runs into 0 without crossing it, as it does where the last neuron of a narrow network dies.
    """
    # What decides is small and stays with NumPy, [B, I]; the layers stay where they are.
    shape, device = sign.shape, sign.device
    sign, orientation = sign.double(), sign.double().cpu().numpy()
    raised: Array = np.broadcast_to(np.asarray(torch.as_tensor(level).cpu(), dtype=np.float64), shape).copy()
    found_t, found_status = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    evaluations, unresolved = np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def look(t: Array) -> tuple[list[Tensor], Array]:
        layers, value = ray.at(torch.from_numpy(t).to(device))
        return layers, orientation * value.cpu().numpy() + raised

    t0 = np.zeros(shape)
    t1 = np.full(shape, 0.05 * cap) if guess is None else (OVERSHOOT * guess.double().cpu().numpy()).clip(1e-6 * cap, cap)
    layers0, phi0 = ray.origin[0], orientation * ray.origin[1].cpu().numpy() + raised
    layers1, phi1 = look(t1)
    relative_error, resolution = RELATIVE_ERROR[ray.output.dtype], RESOLUTION[ray.output.dtype]
    running, alive = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    networks, inputs = np.arange(shape[0]), np.arange(shape[1])

    while True:
        lower, upper, error, moves = _between(ray, sign, raised, layers0, phi0, layers1, phi1, rigorous)
        step, exact = t1 - t0, error == 0
        alive |= running & ((phi0 != 0) | moves)
        safe = np.isnan(lower)
        tiny = step <= resolution * np.maximum(t0, 1e-3 * cap)
        sure = step * (upper - lower) <= relative_error * (t0 + step * lower)
        known = ~safe & (exact | sure | (tiny & (phi1 < 0)))
        advance = ~known & (safe | tiny)
        found = running & known
        finished = found | (running & advance & (t1 >= cap))
        where = (networks[:, None].repeat(len(inputs), 1)[finished], inputs[None].repeat(len(networks), 0)[finished])
        found_t[where] = np.where(found, t0 + step * np.where(np.isnan(upper), lower, (lower + upper) / 2), np.nan)[finished]
        found_status[where] = np.where(found, SWITCHED, np.where(alive, UNSWITCHED, DEAD))[finished]
        place = np.ix_(networks, inputs)
        evaluations[place] += running
        unresolved[place] += running & tiny & ~safe & ~exact
        running = running & ~finished
        if not running.any():
            return Roots(*(torch.from_numpy(part).to(device) for part in (found_t, found_status, evaluations, unresolved)))

        # Where to look next. A wide bracket is best narrowed from below, a narrow one from above. Without one, the band is to be a part
        # of phi: it grows like the step to the power 3/2.
        from_above = ~advance & (upper < 0.9) & (error < 0.1 * phi0)
        from_below = ~advance & ~from_above & (lower > 0.2)
        with np.errstate(divide="ignore", invalid="ignore"):
            aim = np.nan_to_num(AIM * np.where(advance, phi1, phi0) / error, nan=1e9, posinf=1e9)
            slope = np.where((phi0 > phi1) & (phi1 > 0), 1.25 * phi1 / (phi0 - phi1), np.inf)
        scale = aim.clip(min=0) ** (2 / 3)
        ahead = t1 + np.maximum(step * np.minimum(scale.clip(0.3, 4.0), slope), relative_error * t1)
        inside = t0 + step * np.where(from_below, lower, np.where(from_above, upper, scale.clip(0.05, 0.6)))
        t2 = np.where(advance, ahead, inside).clip(max=cap)

        # Go on with the networks and inputs that still have a ray to follow, once that halves the work.
        rows, columns = running.any(1).nonzero()[0], running.any(0).nonzero()[0]
        if 2 * len(rows) * len(columns) <= running.size:
            kept, on_device = np.ix_(rows, columns), [torch.from_numpy(part).to(device) for part in (rows, columns)]
            ray, networks, inputs, sign = ray.only(*on_device), networks[rows], inputs[columns], sign[on_device[0]][:, on_device[1]]
            layers0, layers1 = ([layer[on_device[0]][:, on_device[1]] for layer in layers] for layers in (layers0, layers1))
            t0, t1, t2, phi0, phi1, orientation, raised = (part[kept] for part in (t0, t1, t2, phi0, phi1, orientation, raised))
            running, alive, advance, from_below = (part[kept] for part in (running, alive, advance, from_below))
        layers2, phi2 = look(t2)
        # t2 becomes the new left end where phi is known to be positive up to it, else the right one; t1 becomes the left end in `advance`.
        left = from_below & (phi2 >= 0)
        layers0 = _chosen(left, layers2, _chosen(advance, layers1, layers0))
        layers1 = _chosen(left, layers1, layers2)
        t0, phi0 = np.where(left, t2, np.where(advance, t1, t0)), np.where(left, phi2, np.where(advance, phi1, phi0))
        t1, phi1 = np.where(left, t1, t2), np.where(left, phi1, phi2)


def _chosen(which: Mask, one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
    """The layers of one where `which` [B, I] is true, else those of the other."""
    if which.all() or not which.any():
        return one if which.any() else other
    mask = torch.from_numpy(which)[..., None].to(one[0].device)
    return [torch.where(mask, a, b) for a, b in zip(one, other, strict=True)]
