"""The first sign change of a network along a ray: the smallest t in (0, cap) beyond which the oriented value becomes negative.

phi(t) = sign(f(x)) f(x + t g), so phi(0) >= 0. A stretch on which phi is identically 0 (a dead network) is not a sign change; where
phi turns negative right behind such a stretch, its end is the root. `SWITCHED`, `UNSWITCHED` and `DEAD` are the outcomes.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onestep.networks.activations import Activation

Array = NDArray[np.float64]
Numbers = NDArray[Any]  # in the precision of the networks, or integers
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


Maps = tuple[tuple[Array, float], ...]
"""What the march knows of the random matrix behind each hidden layer, the output weights last: a bound on its operator norm, [B],
and the standard deviation of its entries; of the output weights the size of the largest."""


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
    """The exact first root in (0, cap) of phi(t) = sum_l A_l relu(u_l + t v_l); u, v, A are [..., k] and phi(0) >= 0.

    phi is affine between the breakpoints t_l = -u_l / v_l. The first breakpoint at which phi is negative closes the segment that holds
    the root. The root itself is that segment's intercept over its slope, summed afresh over the neurons that have turned before it, so
    that no error of running sums is left in it. Every sum is one of double precision.

    A guess of the roots, [...], saves sorting most of the breakpoints: a root that lies a little behind it at most is known without
    those further out. The result is the same for any guess, up to rounding.
    """
    shape = np.broadcast_shapes(u.shape, v.shape, amplitude.shape)
    ends = np.full(shape[:-1], cap) if guess is None else np.minimum(1.25 * _to_numpy(guess.double()), cap)
    u_rows, v_rows, amplitudes = (_to_numpy(part.expand(shape)).reshape(-1, shape[-1]) for part in (u, v, amplitude))
    root, status = _two_layer_roots(u_rows, v_rows, amplitudes, ends.reshape(-1), cap)
    t, outcome = (torch.from_numpy(part.reshape(shape[:-1])).to(u.device) for part in (root, status))
    zeros = torch.zeros_like(outcome)
    return Roots(t, outcome, zeros + 1, zeros)


def _two_layer_roots(u: Numbers, v: Numbers, amplitude: Numbers, last: Array, cap: float) -> tuple[Array, Numbers]:
    """Roots and outcomes [R] of rays [R, k], first looked for before `last` [R]."""
    on = u > 0
    at_zero = u == 0
    if at_zero.any():
        on |= at_zero & (v > 0)  # a neuron that starts exactly at zero switches there
    place = (on != (u + last[:, None].astype(v.dtype) * v > 0)).reshape(-1).nonzero()[0]
    corners = _corners(len(u), place // u.shape[1], *(part.reshape(-1)[place].astype(np.float64) for part in (u, v, amplitude)))
    weight = (amplitude * on).astype(np.float64)
    intercept, slope = ((weight[:, None] @ part.astype(np.float64)[..., None])[:, 0, 0] for part in (u, v))
    number_on = on.sum(-1)
    ends, phi = corners.path(intercept, slope, number_on, last)

    negative = phi < 0
    found, segment = negative.any(-1), negative.argmax(-1)
    before = np.arange(corners.t.shape[1]) < segment[:, None]
    intercept, slope = (
        at_start + np.where(before, change, 0.0).sum(-1) for at_start, change in ((intercept, corners.intercept), (slope, corners.slope))
    )
    rows = np.arange(len(ends))
    left, right = np.where(segment > 0, ends[rows, segment - 1], 0.0), ends[rows, segment]
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(found, np.clip(-intercept / slope, left, right), np.nan)
    status = np.where(found, SWITCHED, np.where((phi == 0).all(-1) & (number_on == 0), DEAD, UNSWITCHED))
    further = ~found & (last < cap)
    if further.any():
        rest = _two_layer_roots(u[further], v[further], amplitude[further], np.full(further.sum(), cap), cap)
        root[further], status[further] = rest
    return root, status


def _to_numpy(part: Tensor) -> Numbers:
    """The same for NumPy, whose small operations cost less: without a copy on the CPU, by one from a GPU."""
    return part.cpu().numpy()


@dataclass(frozen=True)
class Corners:
    """Where each of R piecewise linear functions bends, in ascending order [R, n]; filled up with corners at infinity."""

    t: Array
    slope: Array  # how much the slope grows there
    intercept: Array  # and the intercept
    turn: Array  # +1: a neuron turns on, -1: one turns off, 0: neither

    def path(self, intercept: Array, slope: Array, on: Array, last: Array, nothing: Array | float = 0.0) -> tuple[Array, Array]:
        """Ends of the segments of (0, last] and values there, [R, n + 1], of functions with this intercept and slope behind 0, [R].

        `on` [R]: how many neurons are on there. As long as none is, the value is exactly `nothing`.
        """

        def along(initial: Array, change: Array) -> Array:
            """A running sum that starts at `initial`: its value on every segment."""
            sums = np.empty((len(change), change.shape[1] + 1))
            sums[:, 0] = initial
            np.cumsum(change, -1, out=sums[:, 1:])
            sums[:, 1:] += sums[:, :1]
            return sums

        ends = np.concatenate([np.minimum(self.t, last[:, None]), last[:, None]], -1)
        phi = along(intercept, self.intercept) + along(slope, self.slope) * ends
        if (on <= self.t.shape[1]).any():  # else some neuron is on all along
            off = along(on, self.turn) == 0
            # At the end of a segment phi is also the value at the start of the next.
            off[:, :-1] |= off[:, 1:]
            phi = np.where(off, np.broadcast_to(nothing, on.shape)[:, None], phi)
        return ends, phi


def _corners(rows: int, row: Numbers, u: Array, v: Array, amplitude: Array, more: Array | None = None) -> Corners:
    """The corners of sum_l A_l relu(u_l + t v_l) from the neurons that turn, one after the other, and the ascending row of each.

    `more` [R, m]: further points that are to be among the corners.
    """
    parts = np.array([-u / v, amplitude * np.abs(v), -amplitude * np.abs(u), np.sign(v)])
    if rows == 1:
        packed = parts[:, None]
    else:
        counts = np.bincount(row, minlength=rows)
        packed = np.zeros((4, rows, int(counts.max(initial=0))))
        packed[0] = np.inf
        packed[:, row, np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)] = parts
    if more is not None:
        points = np.zeros((4, *more.shape))
        points[0] = more
        packed = np.concatenate([packed, points], -1)
    order = packed[0].argsort(-1)
    return Corners(*packed[:, np.arange(rows)[:, None], order])


@dataclass(frozen=True)
class Band:
    """At theta of the way from t0 to t1, phi is known to within min(theta E_left, E_peak, (1 - theta) E_right); each [B, I]."""

    peak: Array
    left: Array
    right: Array

    def at(self, theta: Array) -> Array:
        """Its half width at theta [B, I, n]."""
        return np.minimum(np.minimum(theta * self.left[..., None], (1 - theta) * self.right[..., None]), self.peak[..., None])

    @property
    def corners(self) -> Array:
        """Where it bends, [B, I, 2]: twice the same where its sides meet below the peak; 1 where it is 0 all along."""
        sides = self.left + self.right
        meet = np.divide(self.right, sides, out=np.ones_like(sides), where=sides > 0)
        peak, left, right = np.minimum(self.peak, meet * self.left), self.left, self.right
        first = np.divide(peak, left, out=np.ones_like(peak), where=left > 0)
        last = 1 - np.divide(peak, right, out=np.zeros_like(peak), where=right > 0)
        return np.stack([first, last], -1)


def path_error(maps: Maps, activation: Activation, left: list[Numbers], right: list[Numbers], *, rigorous: bool = False) -> Band:
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
    All of this holds with c theta and c (1 - theta) in place of c, too: the two sides of the band. For relu the last layer's own bends
    are no error, as the value along the chords is known; for a smooth activation they are, and add up to at most s sum(c).
    """
    shape = left[0].shape[:-1]
    errors = np.zeros((3, *shape))  # peak, left and right
    cosine = np.ones(shape)  # of a deviation and the next layer's bends, at most
    for index, ((norm_bound, deviation), p, q) in enumerate(zip(maps, left, right, strict=True)):
        last = index + 1 == len(left)
        gain = norm_bound[:, None]
        if not last:
            bends = np.sqrt(_bend_sums(activation, p, q, 2))
            errors = activation.lipschitz * errors
            errors = np.sqrt(errors * errors + bends * bends + 2 * cosine * errors * bends)
        if not rigorous:
            likely: Array | float = MARGIN * deviation
            if not last:
                outputs = _outputs(left[index + 1], right[index + 1], likely * errors[0], activation)
                # Nothing passes through a layer that is off.
                likely = np.where(outputs > 0, deviation * (np.sqrt(outputs) + MARGIN), 0.0)
                cosine = np.where(likely < gain, np.minimum(MARGIN / np.sqrt(np.maximum(outputs, 1)), 1.0), 1.0)
            gain = np.minimum(gain, likely)
        errors = gain * errors
        if last and not activation.piecewise_linear:
            errors = activation.lipschitz * errors + deviation * _bend_sums(activation, p, q, 1)
    return Band(*errors)


def _bend_sums(activation: Activation, p: Numbers, q: Numbers, power: int) -> Array:
    """Sums over the neurons of their bends between p and q [B, I, k] to a power: peak, left and right, [3, B, I]."""
    if not activation.piecewise_linear:
        return np.array([(bend**power).sum(-1, dtype=np.float64) for bend in activation.bends(p, q)])
    place = _turning(p, q)
    bends = activation.bends(*(part.reshape(-1)[place].astype(np.float64) for part in (p, q)))
    row, rows = place // p.shape[-1], p[..., 0].size
    return np.array([np.bincount(row, bend**power, rows) for bend in bends]).reshape(3, *p.shape[:-1])


def _turning(p: Numbers, q: Numbers) -> Numbers:
    """The neurons that have one sign at p [B, I, k] and the other at q, counted through from the first of the first ray."""
    places: Numbers = (p * q < 0).reshape(-1).nonzero()[0]
    return places


def _outputs(p: Numbers, q: Numbers, reach: Array | float, activation: Activation) -> Numbers:
    """How many neurons of a layer are not off all along from p to q, when they leave their chords by at most reach [B, I]."""
    if not activation.piecewise_linear:
        return np.full(p.shape[:-1], p.shape[-1])
    count: Numbers = (np.maximum(p, q) > np.asarray(-reach, p.dtype)[..., None]).sum(-1)
    return count


def chord_path(
    ray: Ray, orientation: Array, p: Numbers, q: Numbers, values: tuple[Array, Array], level: Array | float, points: Array
) -> tuple[Array, Array]:
    """orientation * f + level if the last pre-activations went straight from p to q: the ends of its segments in (0, 1] and its values
    there, [B, I, n]. It goes from one of `values` [B, I] to the other; `points` [B, I, m] are among the ends.

    For a smooth activation, whose bends are part of the band: the chord of the values.
    """
    shape, k = points.shape[:-1], p.shape[-1]
    start, end, points = values[0].reshape(-1), values[1].reshape(-1), points.reshape(-1, points.shape[-1])
    rows = len(points)
    if ray.activation.piecewise_linear:
        place = _turning(p, q)
        row = place // k
        u, w = (part.reshape(-1)[place].astype(np.float64) for part in (p, q))
        amplitude = orientation.reshape(rows)[row] * _to_numpy(ray.output)[row // shape[1], place % k]
        corners = _corners(rows, row, u, w - u, amplitude, points)
        on = _outputs(p, q, 0.0, ray.activation).reshape(rows) - (corners.turn > 0).sum(-1)
        slope = end - start - (corners.intercept + corners.slope).sum(-1)
        ends, path = corners.path(start, slope, on, np.ones(rows), np.broadcast_to(level, shape).reshape(rows))
        path[:, -1] = end
    else:
        ends = np.concatenate([np.sort(points, -1), np.ones((rows, 1))], -1)
        path = start[:, None] + ends * (end - start)[:, None]
    return ends.reshape(*shape, -1), path.reshape(*shape, -1)


def _first_negative(ends: Array, values: Array, start: Array) -> Array:
    """Where piecewise linear functions fall below 0, or not-a-number: `start` [B, I] at 0, `values` [2, B, I, n] at `ends` [B, I, n]."""
    points = values.shape[-1]
    segment = (values < 0).argmax(-1)
    first, values, ends = segment == 0, values.reshape(-1), ends.reshape(-1)
    end = np.arange(0, len(ends), points).reshape(start.shape) + segment
    right, left = ends[end], np.where(first, 0.0, ends[end - 1])
    value = np.arange(0, len(values), points).reshape(segment.shape) + segment
    low, high = values[value], np.maximum(np.where(first, start, values[value - 1]), 0.0)
    return np.where(low < 0, left + (right - left) * high / (high - low), np.nan)


def _between(
    ray: Ray, orientation: Array, level: Array, layers0: list[Numbers], phi0: Array, layers1: list[Numbers], phi1: Array, rigorous: bool
) -> tuple[Array, Array, Array, Mask]:
    """What is known of phi between t0 and t1, as parts of the way: where it may fall below 0 first (`lower`) and where it certainly has
    (`upper`), not-a-number if it does not; the band's height; whether the path is not 0 all along. Each [B, I]."""
    band = path_error(ray.maps, ray.activation, layers0, layers1, rigorous=rigorous)
    ends, path = chord_path(ray, orientation, layers0[-1], layers1[-1], (phi0, phi1), level, band.corners)
    width = band.at(ends)
    lower, upper = _first_negative(ends, np.array([path - width, path + width]), phi0)
    return lower, upper, band.peak, (path != 0).any(-1)


@np.errstate(divide="ignore", invalid="ignore")
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
    shape, device = sign.shape, sign.device
    orientation: Array = _to_numpy(sign.double())
    raised: Array = np.full(shape, level if isinstance(level, float) else _to_numpy(level))
    found_t, found_status = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    evaluations, unresolved = np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def seen(layers: list[Tensor], value: Tensor) -> tuple[list[Numbers], Array]:
        return [_to_numpy(layer) for layer in layers], orientation * _to_numpy(value) + raised

    def look(t: Array) -> tuple[list[Numbers], Array]:
        layers, phi = seen(*ray.at(torch.from_numpy(t).to(device)))
        if not np.isfinite(phi).all():
            raise ValueError("a value along the ray is not a finite number: the network's weights or its direction are not")
        return layers, phi

    t0 = np.zeros(shape)
    t1 = np.full(shape, 0.05 * cap) if guess is None else (OVERSHOOT * _to_numpy(guess.double())).clip(1e-6 * cap, cap)
    layers0, phi0 = seen(*ray.origin)
    layers1, phi1 = look(t1)
    relative_error, resolution = RELATIVE_ERROR[ray.output.dtype], RESOLUTION[ray.output.dtype]
    running, alive = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    networks, inputs = np.arange(shape[0]), np.arange(shape[1])
    place = np.ix_(networks, inputs)

    while True:
        lower, upper, error, moves = _between(ray, orientation, raised, layers0, phi0, layers1, phi1, rigorous)
        step, exact = t1 - t0, error == 0
        alive |= running & ((phi0 != 0) | moves)
        safe = np.isnan(lower)
        tiny = step <= resolution * np.maximum(t0, 1e-3 * cap)
        sure = step * (upper - lower) <= relative_error * (t0 + step * lower)
        known = ~safe & (exact | sure | (tiny & (phi1 < 0)))
        advance = ~known & (safe | tiny)
        found = running & known
        finished = found | (running & advance & (t1 >= cap))
        if finished.any():
            where = (networks[:, None].repeat(len(inputs), 1)[finished], inputs[None].repeat(len(networks), 0)[finished])
            found_t[where] = np.where(found, t0 + step * np.where(np.isnan(upper), lower, (lower + upper) / 2), np.nan)[finished]
            found_status[where] = np.where(found, SWITCHED, np.where(alive, UNSWITCHED, DEAD))[finished]
        evaluations[place] += running
        unresolved[place] += running & tiny & ~safe & ~exact
        running = running & ~finished
        if not running.any():
            return Roots(*(torch.from_numpy(part).to(device) for part in (found_t, found_status, evaluations, unresolved)))

        # Where to look next. A wide bracket is best narrowed from below, a narrow one from above. Without one, the band is to be a part
        # of phi: it grows like the step to the power 3/2.
        from_above = ~advance & (upper < 0.9) & (error < 0.1 * phi0)
        from_below = ~advance & ~from_above & (lower > 0.2)
        aim = np.where(exact, 1e9, AIM * np.where(advance, phi1, phi0) / error)
        slope = np.where((phi0 > phi1) & (phi1 > 0), 1.25 * phi1 / (phi0 - phi1), np.inf)
        scale = aim.clip(min=0) ** (2 / 3)
        ahead = t1 + np.maximum(step * np.minimum(scale.clip(0.3, 4.0), slope), relative_error * t1)
        inside = t0 + step * np.where(from_below, lower, np.where(from_above, upper, scale.clip(0.05, 0.6)))
        t2 = np.where(advance, ahead, inside).clip(max=cap)

        # Go on with the networks and inputs that still have a ray to follow, once that halves the work.
        rows, columns = running.any(1).nonzero()[0], running.any(0).nonzero()[0]
        if 2 * len(rows) * len(columns) <= running.size:
            kept = np.ix_(rows, columns)
            ray = ray.only(*(torch.from_numpy(part).to(device) for part in (rows, columns)))
            networks, inputs = networks[rows], inputs[columns]
            place = np.ix_(networks, inputs)
            layers0, layers1 = ([layer[kept] for layer in layers] for layers in (layers0, layers1))
            t0, t1, t2, phi0, phi1, orientation, raised = (part[kept] for part in (t0, t1, t2, phi0, phi1, orientation, raised))
            running, alive, advance, from_below = (part[kept] for part in (running, alive, advance, from_below))
        layers2, phi2 = look(t2)
        # t2 becomes the new left end where phi is known to be positive up to it, else the right one; t1 becomes the left end in `advance`.
        left = from_below & (phi2 >= 0)
        layers0 = _chosen(left, layers2, _chosen(advance, layers1, layers0))
        layers1 = _chosen(left, layers1, layers2)
        t0, phi0 = np.where(left, t2, np.where(advance, t1, t0)), np.where(left, phi2, np.where(advance, phi1, phi0))
        t1, phi1 = np.where(left, t1, t2), np.where(left, phi1, phi2)


def _chosen(which: Mask, one: list[Numbers], other: list[Numbers]) -> list[Numbers]:
    """The layers of one where `which` [B, I] is true, else those of the other."""
    if which.all() or not which.any():
        return one if which.any() else other
    return [np.where(which[..., None], a, b) for a, b in zip(one, other, strict=True)]
