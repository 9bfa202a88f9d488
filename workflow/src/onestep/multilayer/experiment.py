"""What `multilayer` measures on deep random ReLU networks of any profile of widths; the paper itself has no experiments.

Networks are those of the paper's definition (NN-DEF): every weight, the output's included, is normal with variance 1 / fan-in, and
||x|| = sqrt(d). They are computed at He's scale and rescaled (`unit_factor`). A network has one input: independent networks tell the
most, and shares have exact intervals. Very deep networks are in `depth`.

Every network and input has its own random stream, named by its cell and index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onestep import sampling
from onestep.attacks.ray import SWITCHED, Roots
from onestep.attacks.single_step import Rays, first_sign_change, signs, words
from onestep.errors import Mistake
from onestep.multilayer import DIRECTIONS, SMALL, ball
from onestep.networks.random_relu import Kind, RandomNetwork, Shape, numbers_held, unit_factor
from onestep.seeds import stream

OPPOSITE = ("unreached", "reached", "dead")
"""Whether the value reaches -f(x), by the codes of `attacks.ray`."""

_CELL = {
    "profile": "equal: all hidden layers have width k; growing, shrinking: geometrically from k at the input to k times or over the"
    " profile ratio at the last layer; bottleneck: equal but for one narrow layer in the middle",
    "depth": "number of hidden layers L (the paper's l)",
    "width": "base width k",
    "bottleneck": "width b of the narrow layer; 0 where there is none",
    "input_dim": sampling.COLUMNS["input_dim"],
}
_SAMPLE = {name: sampling.COLUMNS[name] for name in ("network", "input", "value", "gradient_norm")}
_PERTURBATION = "length of the shortest perturbation along the gradient that changes the sign of f, while ||x|| = sqrt(d); null where"
FLIP_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "perturbation_norm": f"{_PERTURBATION} none below the cap does",
    "opposite_norm": "length of the shortest one at which f reaches -f(x), as Theorem 1.1 asks; null where none below the cap does",
    "status": sampling.COLUMNS["status"],
    "opposite": "reached, unreached (below the cap) or dead",
}
LAYERS_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "radius": "R, the length of the shortest perturbation along the gradient that changes the sign; null where none below the cap does",
    "layer": "i, from 1 to L",
    "layer_width": "d_i",
    "narrowest_before": "the smallest of d and the widths of the layers before layer i",
    "norm": "||f_i(x)||, the layer's outputs",
    **{
        f"small_{alpha:g}": f"share of the pre-activations of layer i smaller than {alpha:g} ||f_(i-1)(x)|| / sqrt(d_(i-1))"
        for alpha in SMALL
    },
    "random_shift": "||f~_i(x) - f~_i(x')||, how far the pre-activations of layer i move, for x' at distance R in a random direction",
    "gradient_shift": "the same along the gradient, against the sign of f(x)",
    "worst_shift": "the same in the direction found by ascent for this layer",
    "status": sampling.COLUMNS["status"],
}
SMOOTHNESS_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "radius": "R = ||x - y||, the length of the shortest perturbation along the gradient that changes the sign; null where there is none",
    "direction": "of y from x. random; gradient: along it, against the sign of f(x); worst: found by ascent on `change`",
    "change": "||grad f(x) - grad f(y)||",
    "layer": "j, from 1 to L: the layer whose term of the decomposition of that difference (GD-DECOMP) the next columns describe",
    "flipped": "share of the layer's neurons that are active at one of x and y only",
    "term_norm": "||Delta_j||",
    "term_share": "<Delta_j, Delta> / ||Delta||^2, Delta the whole difference: these add up to 1 over the layers",
    "status": sampling.COLUMNS["status"],
}


@dataclass(frozen=True)
class Cell:
    """A shape of networks; the input dimension is the base width, so that it grows with the width."""

    profile: str
    depth: int
    width: int
    bottleneck: int = 0
    ratio: float = 4.0

    def __post_init__(self) -> None:
        if (self.profile == "bottleneck") != (self.bottleneck > 0):
            raise Mistake(
                f"profile {self.profile}: a narrow layer's width (--bottleneck) belongs to the profile bottleneck and to no other"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the hidden layers; a bottleneck is the middle one."""
        exponent = {"growing": 1, "shrinking": -1}.get(self.profile, 0)
        widths = [max(1, round(self.width * self.ratio ** (exponent * (i + 1) / self.depth))) for i in range(self.depth)]
        if self.bottleneck:
            widths[self.depth // 2] = self.bottleneck
        return tuple(widths)

    @property
    def coordinates(self) -> dict[str, Any]:
        """The columns that name the cell."""
        names = {"profile": self.profile, "depth": self.depth, "width": self.width, "bottleneck": self.bottleneck}
        return names | {"input_dim": self.width}

    def stream(self, seed: int, what: str, index: int) -> np.random.Generator:
        """The random stream of the network's part `what`."""
        return stream(seed, "multilayer", self.profile, self.depth, self.width, self.bottleneck, what, index)


def cells(profile: str, depths: Sequence[int], widths: Sequence[int], bottlenecks: Sequence[int], ratio: float) -> list[Cell]:
    """The cells of a job."""
    return [Cell(profile, depth, width, narrow, ratio) for depth in depths for width in widths for narrow in (bottlenecks or [0])]


def _networks(
    grid: Sequence[Cell], first: int, networks: int, seed: int, kind: Kind
) -> Iterator[tuple[Cell, range, slice, RandomNetwork, Tensor]]:
    """Every block of every cell: its networks and one input for each, [B, 1, m]."""
    progress = sampling.Progress(len(grid))
    shapes = [Shape(cell.width, cell.widths, output="gaussian", gain=2.0) for cell in grid]
    for shape in shapes:
        sampling.require_memory(numbers_held(shape, 1, kind), str(shape))
    for cell, shape in zip(grid, shapes, strict=True):
        progress.cell()
        for block, wanted in sampling.blocks(numbers_held(shape, 1, kind), first, networks):
            progress.say(block.start + wanted.start - first, networks)
            generators = [cell.stream(seed, "network", index) for index in block]
            net = RandomNetwork.sample(generators, shape, kind=kind, room=3)
            yield cell, block, wanted, net, net.inputs([cell.stream(seed, "inputs", index) for index in block], 1)


@dataclass(frozen=True)
class _Flip:
    """The networks at x, and the first sign change along the unit vector `downhill`: against the sign of f(x), along the gradient."""

    value: Tensor  # [B, 1]
    gradient: Tensor  # [B, 1, m]
    norm: Tensor  # [B, 1]
    downhill: Tensor  # [B, 1, m]
    roots: Roots  # [B, 1]; [B, 2] with where f reaches -f(x)


def _flip(net: RandomNetwork, x: Tensor, cap: float, *, opposite: bool = False) -> _Flip:
    """Searches the ray; a network whose matrices are never formed must not be asked for anything else afterwards."""
    preactivations, value = net.forward(x)
    gradient = net.gradient(preactivations)
    norm = gradient.norm(dim=-1)
    uphill = torch.where(norm[..., None] > 0, gradient / norm[..., None], 0.0)
    downhill = -signs(value)[..., None] * uphill
    if not opposite:
        return _Flip(value, gradient, norm, downhill, first_sign_change(net, x, (preactivations, value), uphill, norm, cap))
    # Both roots in one march: a matrix that is never formed answers for both, or for the networks that a march goes on with.
    level = torch.cat([torch.zeros_like(value), value.abs()], 1)
    origin = ([z.repeat(1, 2, 1) for z in preactivations], value.repeat(1, 2))
    roots = first_sign_change(net, x.repeat(1, 2, 1), origin, uphill, norm.repeat(1, 2), cap, level)
    return _Flip(value, gradient, norm, downhill, roots)


def flip(
    profile: str,
    depths: Sequence[int],
    widths: Sequence[int],
    bottlenecks: Sequence[int],
    ratio: float,
    first: int,
    networks: int,
    seed: int,
    cap: float,
    out: Path,
) -> None:
    """Theorem 1.1 and Lemma 2.2: the first sign change along the gradient, and the first point at which the value is -f(x)."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts, rays = [], Rays()
    for cell, block, wanted, net, x in _networks(cells(profile, depths, widths, bottlenecks, ratio), first, networks, seed, "auto"):
        found, factor = _flip(net, x, cap, opposite=True), unit_factor(cell.depth)
        rays.count(net, wanted, found.roots)
        columns = {
            "input": 0,
            "value": found.value[:, 0] * factor,
            "gradient_norm": found.norm[:, 0] * factor,
            "perturbation_norm": found.roots.t[:, 0],
            "opposite_norm": found.roots.t[:, 1],
            "status": words(found.roots.status[:, 0]),
            "opposite": words(found.roots.status[:, 1], OPPOSITE),
        }
        parts.append(sampling.rows(block, wanted, cell.coordinates | columns))
    sampling.write(out, parts, FLIP_COLUMNS, __name__, parameters, found=rays.certified)


def _directions(net: RandomNetwork, cell: Cell, seed: int, block: range) -> Tensor:
    """A random unit vector for each network, [B, 1, m]."""
    return net.directions([cell.stream(seed, "directions", index) for index in block], 1)


def layers(
    profile: str,
    depths: Sequence[int],
    widths: Sequence[int],
    bottlenecks: Sequence[int],
    ratio: float,
    first: int,
    networks: int,
    steps: int,
    seed: int,
    cap: float,
    out: Path,
) -> None:
    """Lemmas 2.3 and 2.5: the norms of the layers, the image of the ball of the radius that flips the sign, and small pre-activations.

    The widest image takes half of `steps`: this ascent needs no surrogate, and is within a few percent of its end by then.
    """
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    for cell, block, wanted, net, x in _networks(cells(profile, depths, widths, bottlenecks, ratio), first, networks, seed, "dense"):
        found, random = _flip(net, x, cap), _directions(net, cell, seed, block)
        preactivations, _ = net.forward(x)
        every = np.arange(1, cell.depth + 1)
        scale = torch.tensor([unit_factor(layer) for layer in range(1, cell.depth + 1)], dtype=torch.float64)
        radius, switched = found.roots.t.nan_to_num(0.0), found.roots.status == SWITCHED
        shifts = ball.image_shifts(net, x, ball.on_sphere(x, radius, torch.cat([random, found.downhill], 1)))
        worst = torch.maximum(ball.widest_images(net, x, radius, random, -(-steps // 2)), shifts.amax(1))
        hidden = [x, *(z.relu() for z in preactivations)]
        columns = {
            "input": 0,
            "value": found.value[:, 0] * scale[-1],
            "gradient_norm": found.norm[:, 0] * scale[-1],
            "radius": found.roots.t[:, 0],
            "layer": np.broadcast_to(every, worst.shape),
            "layer_width": np.broadcast_to(cell.widths, worst.shape),
            "narrowest_before": np.broadcast_to(np.minimum.accumulate([cell.width, *cell.widths[:-1]]), worst.shape),
            "norm": torch.stack([part[:, 0].norm(dim=-1) for part in hidden[1:]], 1) * scale,
            "status": words(found.roots.status[:, 0]),
        }
        # The deviation of a pre-activation given the layer before, at He's scale.
        deviations = [part.norm(dim=-1, keepdim=True) * weights.deviation for part, weights in zip(hidden, net.layers, strict=False)]
        for alpha in SMALL:
            shares = [(z.abs() < alpha * deviation).double().mean(-1) for z, deviation in zip(preactivations, deviations, strict=True)]
            columns[f"small_{alpha:g}"] = torch.cat(shares, 1)
        for name, shift in (("random", shifts[:, 0]), ("gradient", shifts[:, 1]), ("worst", worst)):
            columns[f"{name}_shift"] = torch.where(switched, shift * scale, torch.nan)
        parts.append(sampling.rows(block, wanted, cell.coordinates | columns))
    sampling.write(out, parts, LAYERS_COLUMNS, __name__, parameters)


def smoothness(
    profile: str,
    depths: Sequence[int],
    widths: Sequence[int],
    bottlenecks: Sequence[int],
    ratio: float,
    first: int,
    networks: int,
    steps: int,
    seed: int,
    cap: float,
    out: Path,
) -> None:
    """Lemma 2.8: the gradient's change in the ball of the radius that flips the sign, in three directions, and layer by layer."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    for cell, block, wanted, net, x in _networks(cells(profile, depths, widths, bottlenecks, ratio), first, networks, seed, "dense"):
        found, factor = _flip(net, x, cap), unit_factor(cell.depth)
        radius, switched = found.roots.t.nan_to_num(0.0), (found.roots.status == SWITCHED)[..., None]
        known = torch.cat([_directions(net, cell, seed, block), found.downhill], 1)
        worst = ball.worst_gradient_change(net, x, found.gradient, radius, known, steps)
        terms, flipped = ball.gradient_terms(net, x, ball.on_sphere(x, radius, torch.cat([known, worst], 1)))
        change = terms.sum(2)
        size = change.norm(dim=-1)
        share = (terms * change[:, :, None]).sum(-1) / size[..., None] ** 2
        columns = {
            "input": 0,
            "value": found.value[:, 0] * factor,
            "gradient_norm": found.norm[:, 0] * factor,
            "radius": found.roots.t[:, 0],
            "direction": np.broadcast_to(np.array(DIRECTIONS), (len(block), len(DIRECTIONS))),
            "change": torch.where(switched[..., 0], size * factor, torch.nan),
            "layer": np.broadcast_to(np.arange(1, cell.depth + 1), flipped.shape),
            "flipped": torch.where(switched, flipped, torch.nan),
            "term_norm": torch.where(switched, terms.norm(dim=-1) * factor, torch.nan),
            "term_share": torch.where(switched, share, torch.nan),
            "status": words(found.roots.status[:, 0]),
        }
        parts.append(sampling.rows(block, wanted, cell.coordinates | columns))
    sampling.write(out, parts, SMOOTHNESS_COLUMNS, __name__, parameters)
