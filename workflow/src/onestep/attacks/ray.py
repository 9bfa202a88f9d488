"""The first sign change of a network along a ray: the smallest t in (0, cap) beyond which the oriented value becomes negative.

phi(t) = sign(f(x)) f(x + t g), so phi(0) >= 0. A stretch on which phi is identically 0 (a dead network) is not a sign change; where
phi turns negative right behind such a stretch, its end is the root. `SWITCHED`, `UNSWITCHED` and `DEAD` are the outcomes.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from onestep.networks.activations import Activation

UNSWITCHED, SWITCHED, DEAD = 0, 1, 2
STATUS = ("unswitched", "switched", "dead")

RELATIVE_ERROR = {torch.float64: 1e-12, torch.float32: 1e-5}
"""The march stops when the certified error of the root, relative to it, is below this: by the precision of the networks."""
MARGIN = 8.0
"""How many standard deviations beyond its mean a wide layer's amplification is allowed for (see `chord_error`)."""
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

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every hidden layer [B, I, k] and values [B, I] at t [B, I]; the first layer is affine in t."""

    def only(self, networks: Tensor, inputs: Tensor) -> Self:
        """The rays of some of the networks, from some of their inputs: ascending indices."""


def two_layer_roots(u: Tensor, v: Tensor, amplitude: Tensor, cap: float, guess: Tensor | None = None) -> Roots:
    """The exact first root in (0, cap) of phi(t) = sum_l A_l relu(u_l + t v_l); u, v, A are [..., k] float64 and phi(0) >= 0.

    phi is affine between the breakpoints t_l = -u_l / v_l. Sorted running sums of slope and intercept give phi at every breakpoint;
    the first one at which phi is negative closes the segment that holds the root. The root itself is that segment's intercept over
    its slope, summed afresh over the neurons active there, so that no error of the running sums is left in it.

    A guess of the roots, [...], saves sorting most of the breakpoints: where phi is negative a little behind it, the first root is
    before that point and so are the breakpoints that matter. The result is the same for any guess, up to rounding.
    """
    shape = (u * v * amplitude).shape
    u, v, amplitude = u.expand(shape), v.expand(shape), amplitude.expand(shape)
    last = u.new_full(shape[:-1], cap)
    if guess is not None:
        near = (1.25 * guess).clamp(max=cap)
        last = torch.where((amplitude * (u + near[..., None] * v).relu()).sum(-1) < 0, near, last)
    # A neuron that starts exactly at zero switches at t = 0: it is active on the ray exactly when v > 0.
    active = (u > 0) | ((u == 0) & (v > 0))
    turning = (u * v < 0) & (u.abs() < last[..., None] * v.abs())
    t, A, U, V = _packed(turning, torch.where(turning, -u / v, torch.inf), amplitude, u, v)
    t, order = t.sort(dim=-1)
    A, U, V = (part.gather(-1, order) for part in (A, U, V))
    turn = torch.where(t < torch.inf, torch.where(V > 0, 1.0, -1.0), 0.0)  # +1: turns on, -1: off

    def along(initial: Tensor, change: Tensor) -> Tensor:
        """A running sum that starts at `initial`: its value on the segment that ends at each breakpoint, and on the last one."""
        return torch.cat([initial[..., None], initial[..., None] + change.cumsum(-1)], -1)

    slope = along((amplitude * v * active).sum(-1), turn * A * V)
    intercept = along((amplitude * u * active).sum(-1), turn * A * U)
    count = along(active.sum(-1).double(), turn)
    ends = torch.cat([torch.minimum(t, last[..., None]), last[..., None]], -1)
    phi = torch.where(count == 0, 0.0, intercept + slope * ends)
    # At the end of a segment phi is also the value at the start of the next: with no neuron active there it is exactly 0.
    phi[..., :-1] = torch.where(count[..., 1:] == 0, 0.0, phi[..., :-1])

    negative = phi < 0
    found = negative.any(-1)
    segment = negative.to(torch.uint8).argmax(-1, keepdim=True)
    left = torch.where(segment > 0, ends.gather(-1, (segment - 1).clamp(min=0)), 0.0).squeeze(-1)
    right = ends.gather(-1, segment).squeeze(-1)
    middle = (left + right)[..., None] / 2
    weight = amplitude * (u + middle * v > 0)
    root = (-(weight * u).sum(-1) / (weight * v).sum(-1)).clamp(left, right)
    status = torch.where(found, SWITCHED, torch.where((phi == 0).all(-1) & ~active.any(-1), DEAD, UNSWITCHED))
    zeros = torch.zeros_like(status)
    return Roots(torch.where(found, root, torch.nan), status, zeros + 1, zeros)


def _packed(chosen: Tensor, t: Tensor, *others: Tensor) -> list[Tensor]:
    """The chosen entries of each row [..., k] moved to its front, rows as long as the longest needs; t is inf in what is left over."""
    rows = chosen.reshape(-1, chosen.shape[-1])
    row, column = rows.nonzero(as_tuple=True)
    counts = rows.sum(-1)
    place = torch.arange(len(row), device=t.device) - (counts.cumsum(0) - counts)[row]
    shape = (len(rows), max(1, int(counts.max())))
    packed = []
    for part, filler in ((t, torch.inf), *((other, 0.0) for other in others)):
        front = part.new_full(shape, filler)
        front[row, place] = part.reshape(rows.shape)[row, column]
        packed.append(front.view(*chosen.shape[:-1], -1))
    return packed


def chord_error(maps: Maps, activation: Activation, left: list[Tensor], right: list[Tensor], *, rigorous: bool = False) -> Tensor:
    """E [B, I] such that phi leaves its chord by at most (1 - theta) E at (1 - theta) t0 + theta t1, for all theta in [0, 1].

    From the pre-activations [B, I, k] at t0 (`left`) and t1 (`right`). The first layer is affine along the ray. Where a layer's
    pre-activations stay within (1 - theta) E (in l2) of their chords, its outputs stay within (1 - theta) (lip E + ||c||) of theirs:
    the activation is lip-Lipschitz, and on a chord from p to q it leaves its own chord by at most (1 - theta) c (`Activation.bend`:
    for relu only neurons that change sign have a c). The map behind, W, then multiplies by

        min(||W||,  s (sqrt(n) + MARGIN)),    s the deviation of its entries, n the outputs that are not off on the whole interval.

    The first is a bound for every deviation (`rigorous` uses nothing else). The second holds for a deviation that does not depend
    on W, but for a probability of exp(-MARGIN^2 / 2). The ray's direction does know a little of W, so that this is a margin and not
    a proof: the tests look for intervals that break it. It matters for wide layers only, where it is the smaller one.
    The bends of the last layer meet output weights of at most s, so they add up to at most s sum(c), whatever the direction knows.
    """
    error = torch.zeros(left[0].shape[:-1], dtype=torch.float64, device=left[0].device)
    for index, ((norm_bound, deviation), p, q) in enumerate(zip(maps, left, right, strict=True)):
        c = activation.bend(p, q)
        last = index + 1 == len(left)
        bend = c.norm(dim=-1).double()
        gain = norm_bound[:, None].expand_as(error)
        if last:
            bend = torch.minimum(gain * bend, deviation * c.sum(-1).double())
        else:
            error, bend = activation.lipschitz * error + bend, torch.zeros_like(bend)
        if not rigorous:
            outputs = torch.ones_like(error)
            if not last:
                outputs = outputs * _outputs(left[index + 1], right[index + 1], MARGIN * deviation * error, activation)
            gain = torch.minimum(gain, deviation * (outputs.sqrt() + MARGIN))
        error = (activation.lipschitz if last else 1.0) * gain * error + bend
    return error


def _outputs(p: Tensor, q: Tensor, reach: Tensor, activation: Activation) -> Tensor:
    """How many neurons of a layer are not off all along from p to q, when they leave their chords by at most reach [B, I]."""
    if activation.second_derivative is not None:
        return torch.full_like(reach, p.shape[-1])
    return (torch.maximum(p, q) > -reach[..., None].to(p.dtype)).sum(-1).double()


def first_roots(
    ray: Ray, sign: Tensor, cap: float, *, guess: Tensor | None = None, level: Tensor | float = 0.0, rigorous: bool = False
) -> Roots:
    """The first root in (0, cap) of phi = sign * f + level along each ray, [B, I], for networks of any depth; `guess`: about where.

    A march. phi(t0) >= 0 and phi >= 0 before t0 are known. It evaluates t1 > t0 and bounds by (1 - theta) E how far phi leaves its
    chord at theta of the way (`chord_error`). Where phi(t0) > E, phi is certainly positive as far as
    (1 - theta) (phi(t0) - E) + theta phi(t1) is: up to t1 if phi(t1) >= 0, and t0 moves there; else up to `lower`, and the first root
    lies between it and `upper`, beyond which the chord is certainly negative. One of the two is looked at next and becomes the new t0
    or t1. Where E >= phi(t0) the step shrinks: E falls like (t1 - t0)^(3/2) and is 0 for relu once no neuron switches in between,
    where the chord is phi itself and its root exact.
    Guaranteed, up to rounding and to the bounds: the root found is the first one, unless `unresolved` counts steps at which the
    interval had already shrunk to RESOLUTION; a sign change overlooked there lasts less than RESOLUTION. Such steps are taken
    where phi runs into 0 without crossing it, as it does where the last neuron of a narrow network dies.
    """
    shape, device = sign.shape, sign.device
    roots = Roots(
        t=torch.full(shape, torch.nan, dtype=torch.float64, device=device),
        status=torch.zeros(shape, dtype=torch.int64, device=device),
        evaluations=torch.ones(shape, dtype=torch.int64, device=device),
        unresolved=torch.zeros(shape, dtype=torch.int64, device=device),
    )
    sign, level = sign.double(), torch.as_tensor(level, dtype=torch.float64, device=device).expand(shape)
    t0 = torch.zeros(shape, dtype=torch.float64, device=device)
    t1 = torch.full_like(t0, 0.05 * cap) if guess is None else guess.double().clamp(1e-6 * cap, cap)
    layers0, value = ray.at(t0)
    phi0 = sign * value + level
    layers1, value = ray.at(t1)
    phi1 = sign * value + level
    relative_error, resolution = RELATIVE_ERROR[value.dtype], RESOLUTION[value.dtype]
    running = torch.ones_like(t0, dtype=torch.bool)
    alive = torch.zeros_like(running)
    networks, inputs = torch.arange(shape[0], device=device), torch.arange(shape[1], device=device)

    while True:
        error = chord_error(ray.maps, ray.activation, layers0, layers1, rigorous=rigorous)
        alive |= running & ((phi0 != 0) | (phi1 != 0))
        step, drop, spare = t1 - t0, phi0 - phi1, phi0 - error
        flat = (phi0 == 0) & (phi1 == 0) & (error == 0)
        tiny = step <= resolution * t0.clamp(min=1e-3 * cap)
        crossing = t0 + step * (phi0 / drop).clamp(0, 1)
        lower = t0 + step * (spare / (spare - phi1)).clamp(0, 1)
        upper = t0 + step * ((phi0 + error) / (drop + error)).clamp(0, 1)

        # With less to spare a bracket would hardly shrink from below: a shorter step is better.
        bracketed = (phi1 < 0) & (spare > 0.05 * phi0)
        known = (phi1 < 0) & ((error == 0) | tiny | bracketed & (upper - lower <= relative_error * lower))
        safe = flat | ((phi1 >= 0) & ((spare > 0) | (error == 0)))
        advance = ~known & (safe | tiny)
        found = running & known
        finished = found | (running & advance & (t1 >= cap))
        where = (networks[:, None].expand_as(t0)[finished], inputs.expand_as(t0)[finished])
        roots.t[where] = torch.where(found, crossing, torch.nan)[finished]
        roots.status[where] = torch.where(found, SWITCHED, torch.where(alive, UNSWITCHED, DEAD))[finished]
        place = (networks[:, None], inputs)
        roots.evaluations[place] += running
        roots.unresolved[place] += (running & tiny & ~safe & (error > 0)).long()
        running = running & ~finished
        if not running.any():
            return roots

        # Where to look next. A bracket that is still wide beside the step behind it is best narrowed from below, else from above.
        from_below = bracketed & (error > 0.1 * phi0)
        inside = torch.where(from_below, lower, upper)
        # Without a bracket: E grows like the step to the power 3/2; aim at E = phi / 2, and not far behind where the chord goes to.
        scale = (0.5 * torch.where(advance, phi1, phi0) / error).nan_to_num(nan=1e9, posinf=1e9).clamp(min=0) ** (2 / 3)
        chord = torch.where((drop > 0) & (phi1 > 0), 1.25 * step * phi1 / drop, torch.inf)
        ahead = t1 + torch.minimum(step * scale.clamp(0.3, 4.0), chord).maximum(relative_error * t1)
        shrunk = t0 + step * scale.clamp(0.05, 0.6)
        t2 = torch.where(advance, ahead, torch.where(bracketed, inside, shrunk)).clamp(max=cap)

        # Go on with the networks and inputs that still have a ray to follow, once that halves the work.
        rows, columns = running.any(1).nonzero().squeeze(1), running.any(0).nonzero().squeeze(1)
        if 2 * len(rows) * len(columns) <= running.numel():
            ray, networks, inputs = ray.only(rows, columns), networks[rows], inputs[columns]
            layers0, layers1 = ([layer[rows][:, columns] for layer in layers] for layers in (layers0, layers1))
            t0, t1, t2, phi0, phi1, sign, level, running, alive, advance, from_below = (
                part[rows][:, columns] for part in (t0, t1, t2, phi0, phi1, sign, level, running, alive, advance, from_below)
            )
        layers2, value = ray.at(t2)
        phi2 = sign * value + level
        # t2 becomes the new left end where phi is known to be positive up to it, else the right one; t1 becomes the left end in `advance`.
        left = from_below & (phi2 >= 0)

        def chosen(which: Tensor, one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
            if which.all() or not which.any():
                return one if which.any() else other
            return [torch.where(which[..., None], a, b) for a, b in zip(one, other, strict=True)]

        layers0 = chosen(left, layers2, chosen(advance, layers1, layers0))
        layers1 = chosen(left, layers1, layers2)
        t0, phi0 = torch.where(left, t2, torch.where(advance, t1, t0)), torch.where(left, phi2, torch.where(advance, phi1, phi0))
        t1, phi1 = torch.where(left, t1, t2), torch.where(left, phi1, phi2)
