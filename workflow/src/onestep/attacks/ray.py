"""The first sign change of a network along a ray: the smallest t in (0, cap) beyond which the oriented value becomes negative.

phi(t) = sign(f(x)) f(x + t g), so phi(0) >= 0. A stretch on which phi is identically 0 (a dead network) is not a sign change; where
phi turns negative right behind such a stretch, its end is the root. `SWITCHED`, `UNSWITCHED` and `DEAD` are the outcomes.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

UNSWITCHED, SWITCHED, DEAD = 0, 1, 2
STATUS = ("unswitched", "switched", "dead")

RELATIVE_ERROR = 1e-12
"""The march stops when the certified error of the root, relative to it, is below this."""
MARGIN = 8.0
"""How many standard deviations beyond its mean a wide layer's amplification is allowed for (see `chord_error`)."""
RESOLUTION = 1e-10
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
    def maps(self) -> Maps:
        """The matrix behind each hidden layer."""

    def at(self, t: Tensor) -> tuple[list[Tensor], Tensor]:
        """Pre-activations of every hidden layer [B, I, k] and values [B, I] at t [B, I]; the first layer is affine in t."""

    def only(self, networks: Tensor, inputs: Tensor) -> Self:
        """The rays of some of the networks, from some of their inputs: ascending indices."""


def two_layer_roots(u: Tensor, v: Tensor, amplitude: Tensor, cap: float) -> Roots:
    """The exact first root in (0, cap) of phi(t) = sum_l A_l relu(u_l + t v_l); u, v, A are [..., k] float64 and phi(0) >= 0.

    phi is affine between the breakpoints t_l = -u_l / v_l. Sorted running sums of slope and intercept give phi at every breakpoint;
    the first one at which phi is negative closes the segment that holds the root. The root itself is that segment's intercept over
    its slope, summed afresh over the neurons active there, so that no error of the running sums is left in it.
    """
    shape = (u * v * amplitude).shape
    u, v, amplitude = u.expand(shape), v.expand(shape), amplitude.expand(shape)
    breakpoint_ = torch.where((v != 0) & (u * v < 0), -u / v, torch.inf)
    # A neuron that starts exactly at zero switches at t = 0: it is active on the ray exactly when v > 0.
    active = (u > 0) | ((u == 0) & (v > 0))
    t, order = torch.where(breakpoint_ < cap, breakpoint_, torch.inf).sort(dim=-1)
    turn = torch.where(t < cap, torch.where(v > 0, 1.0, -1.0).gather(-1, order), 0.0)  # +1: turns on, -1: off
    A, U, V = (part.gather(-1, order) for part in (amplitude, u, v))

    def along(initial: Tensor, change: Tensor) -> Tensor:
        """A running sum that starts at `initial`: its value on the segment that ends at each breakpoint, and on the last one."""
        return torch.cat([initial[..., None], initial[..., None] + change.cumsum(-1)], -1)

    slope = along((amplitude * v * active).sum(-1), turn * A * V)
    intercept = along((amplitude * u * active).sum(-1), turn * A * U)
    count = along(active.sum(-1).double(), turn)
    ends = torch.cat([t.clamp(max=cap), torch.full_like(t[..., :1], cap)], -1)
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


def chord_error(maps: Maps, left: list[Tensor], right: list[Tensor], *, rigorous: bool = False) -> Tensor:
    """Bound [B, I] on |phi - its chord| between two points of a ray, from the pre-activations [B, I, k] at both.

    The first layer is affine along the ray. Where a layer's pre-activations stay within E (in l2) of their chords, its outputs stay
    within E + ||c|| of theirs: relu is 1-Lipschitz, and on a chord from p < 0 to q > 0 relu leaves its own chord by at most
    |p| q / (|p| + q), the entry of c for a neuron that changes sign (0 for the others). The map behind, W, then multiplies by

        min(||W||,  s (sqrt(n) + MARGIN)),    s the deviation of its entries, n the outputs that are not off on the whole interval.

    The first is a bound for every deviation (`rigorous` uses nothing else). The second holds for a deviation that does not depend
    on W, but for a probability of exp(-MARGIN^2 / 2). The ray's direction does know a little of W, so that this is a margin and not
    a proof: the tests look for intervals that break it. It matters for wide layers only, where it is the smaller one.
    The corners of the last layer meet output weights +-s, so they add up to at most s sum(c), whatever the direction knows.
    """
    error = torch.zeros(left[0].shape[:-1], dtype=left[0].dtype, device=left[0].device)
    for index, ((norm_bound, deviation), p, q) in enumerate(zip(maps, left, right, strict=True)):
        corner = torch.where(p * q < 0, (p * q).abs() / (p - q).abs(), 0.0)
        last = index + 1 == len(left)
        bend = corner.norm(dim=-1)
        gain = norm_bound[:, None].expand_as(error)
        if last:
            bend = torch.minimum(gain * bend, deviation * corner.sum(-1))
        else:
            error, bend = error + bend, torch.zeros_like(bend)
        if not rigorous:
            outputs = torch.ones_like(error)
            if not last:
                reach = (MARGIN * deviation * error)[..., None]
                outputs = (torch.maximum(left[index + 1], right[index + 1]) > -reach).sum(-1)
            gain = torch.minimum(gain, deviation * (outputs.sqrt() + MARGIN))
        error = gain * error + bend
    return error


def first_roots(ray: Ray, sign: Tensor, cap: float, *, rigorous: bool = False) -> Roots:
    """The first root in (0, cap) of phi = sign * f along each ray, [B, I], for networks of any depth.

    A march: from t0 with phi(t0) >= 0 it evaluates t1 and bounds by E how far phi leaves its chord between (`chord_error`).
    phi > 0 is then certain as far as the chord exceeds E, and t0 moves there; where even E > phi(t0) the step shrinks.
    E falls like (t1 - t0)^(3/2) and is 0 once no neuron switches in between, where the chord is phi itself and its root exact.
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
    t0 = torch.zeros(shape, dtype=torch.float64, device=device)
    layers0, phi0 = ray.at(t0)
    phi0 = sign * phi0
    t1 = torch.full_like(t0, 0.05 * cap)
    bracket = torch.full_like(t0, torch.inf)  # an upper end for the next step, once the root is known to lie below it
    certain = torch.zeros_like(sign, dtype=torch.bool)  # (t0, t1) needs no certificate of its own
    running = torch.ones_like(sign, dtype=torch.bool)
    alive = torch.zeros_like(running)
    networks, inputs = torch.arange(shape[0], device=device), torch.arange(shape[1], device=device)

    while True:
        layers1, phi1 = ray.at(t1)
        phi1 = sign * phi1
        error = chord_error(ray.maps, layers0, layers1, rigorous=rigorous)
        alive |= running & ((phi0 != 0) | (phi1 != 0))
        step = t1 - t0
        drop = phi0 - phi1
        flat = (phi0 == 0) & (phi1 == 0) & (error == 0)
        tiny = step <= RESOLUTION * torch.maximum(t0, torch.full_like(t0, 1e-3 * cap))

        crossing = t0 + step * (phi0 / drop).clamp(0, 1)
        known = (phi1 < 0) & ((error == 0) | tiny | (step * error / drop <= RELATIVE_ERROR * crossing) & (phi0 > error))
        safe = certain | flat | ((phi0 >= error) & (phi1 >= error))
        advance = ~known & (safe | tiny)
        # Where hardly any of the interval is certain, a shorter step is better than another look at nearly the same point.
        partial = ~known & ~advance & (phi0 > error) & (phi0 - error > 0.05 * drop)

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

        # Where to look next. E grows like the step to the power 3/2: aim at E = phi / 2.
        scale = (0.5 * torch.where(advance, phi1, phi0) / error).nan_to_num(nan=1e9, posinf=1e9).clamp(min=0) ** (2 / 3)
        grown = step * scale.clamp(0.3, 4.0)
        shrunk = step * scale.clamp(0.05, 0.6)
        certified = t0 + step * ((phi0 - error) / drop).clamp(0, 1)  # phi > 0 up to here
        upper = t0 + step * ((phi0 + error) / drop)  # phi < 0 here, if the chord reaches it
        bracket = torch.where(partial & (phi1 < 0), torch.minimum(bracket, torch.minimum(upper, t1)), bracket)

        move = advance[..., None]
        layers0 = [torch.where(move, after, before) for before, after in zip(layers0, layers1, strict=True)]
        phi0 = torch.where(advance, phi1, phi0)
        next_t0 = torch.where(advance, t1, t0)
        ahead = torch.where(bracket > next_t0, torch.minimum(next_t0 + grown, bracket), next_t0 + grown)
        t1 = torch.where(advance, ahead, torch.where(partial, certified, t0 + shrunk)).clamp(max=cap)
        t0 = next_t0
        certain = partial

        # Go on with the networks and inputs that still have a ray to follow, once that halves the work.
        rows, columns = running.any(1).nonzero().squeeze(1), running.any(0).nonzero().squeeze(1)
        if 2 * len(rows) * len(columns) <= running.numel():
            ray, networks, inputs = ray.only(rows, columns), networks[rows], inputs[columns]
            layers0 = [layer[rows][:, columns] for layer in layers0]
            t0, t1, phi0, sign, bracket, certain, running, alive = (
                part[rows][:, columns] for part in (t0, t1, phi0, sign, bracket, certain, running, alive)
            )
