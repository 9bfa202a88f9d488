"""What `multilayer` measures on networks of up to thousands of layers: the collapse of all inputs, and whether single steps still flip.

Values are at He's scale, at which nothing under- or overflows; those of the paper's definition are 2^(-(L-1)/2) times as large, which
changes no ratio, angle or sign. Streams and blocks are as in `experiment`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onestep import memory, sampling
from onestep.errors import Mistake
from onestep.multilayer import deep
from onestep.seeds import stream
from onestep.theory import kernels

Array = NDArray[np.float64]

_CELL = {name: sampling.COLUMNS[name] for name in ("depth", "width", "input_dim")}
COLLAPSE_COLUMNS = {
    **_CELL,
    "network": "index of the network in its cell; the networks of all depths have their first layers in common",
    "input": "index of the input of its network; inputs 2 i and 2 i + 1 are opposite points of the sphere",
    "value": "f(x) at He's scale, that is times 2^((L-1)/2)",
    "norm": "||f_L(x)||, the last layer's outputs, at He's scale",
    "start_angle": "angle between this input and input 0",
    "angle": "angle between their images f_L",
}
SCAN_COLUMNS = {
    **_CELL,
    "network": sampling.COLUMNS["network"],
    "input": sampling.COLUMNS["input"],
    "value": "f(x) at He's scale",
    "gradient_norm": "||grad f(x)|| at He's scale",
    "shorter": "the longest perturbation along the gradient up to which no scanned point has another sign; 0 if the first one has",
    "perturbation_norm": "length of the shortest scanned perturbation along the gradient that changes the sign; null where none does",
    "status": sampling.COLUMNS["status"],
    "coarse_status": "the status by every second scanned point alone",
}
LIMIT_COLUMNS = {
    "depth": "number of hidden layers L, all of infinite width",
    "input_dim": sampling.COLUMNS["input_dim"],
    "network": sampling.COLUMNS["network"],
    "input": sampling.COLUMNS["input"],
    "value": "f(x), with variance 1",
    "gradient_norm": sampling.COLUMNS["gradient_norm"],
    "perturbation_norm": "length of the shortest perturbation along the gradient that changes the sign of f, while ||x|| = sqrt(d); null"
    " where none below the cap does",
    "status": "switched or unswitched",
}

_PASSING = 40
"""Numbers that pass through layers once are counted this often: small blocks stay in the processor's cache."""
_LIMIT_ANGLES = 240
"""At how many angles the process of infinite width is drawn."""


def _angles(vectors: Tensor) -> Tensor:
    """Angles [B, I] between the rows of [B, I, n] and the first one, without loss where they are small."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    apart, together = (unit - unit[:, :1]).norm(dim=-1), (unit + unit[:, :1]).norm(dim=-1)
    return 2 * torch.atan2(apart, together)


def collapse(
    width: int, input_dims: Sequence[int], depths: Sequence[int], first: int, networks: int, inputs: int, seed: int, out: Path
) -> None:
    """Theorem 3.1: how images and values of inputs on the sphere approach each other with depth.

    One stack of hidden layers for each network; the network of each depth reads its layer with an output layer of its own.
    """
    parameters = {key: value for key, value in locals().items() if key != "out"}
    if inputs % 2:
        raise Mistake(f"--inputs {inputs}: inputs come in opposite pairs; ask for an even number")
    memory.require(4 * width * inputs, f"width {width:,}, {inputs:,} inputs")
    parts, progress = [], sampling.Progress(len(input_dims))
    for dim in input_dims:
        progress.cell()
        for block, wanted in sampling.blocks(_PASSING * width * inputs, first, networks):

            def streams(what: str, block: range = block, dim: int = dim) -> list[np.random.Generator]:
                return [stream(seed, "multilayer", "collapse", width, dim, what, index) for index in block]

            half = deep.normals(streams("inputs"), inputs // 2, dim)
            half = half * (math.sqrt(dim) / half.norm(dim=-1, keepdim=True))
            hidden = torch.stack([half, -half], 2).flatten(1, 2)
            start, generators = _angles(hidden), streams("network")
            for layer in range(1, depths[-1] + 1):
                progress.say(block.start + wanted.start - first, networks)
                deviation = math.sqrt((1 if layer == 1 else deep.GAIN) / hidden.shape[-1])
                hidden = deep.images(generators, hidden, width, deviation).relu_()
                if layer in depths:
                    output = deep.normals(streams(f"output-{layer}"), width) / math.sqrt(width)
                    columns = {
                        "depth": layer,
                        "width": width,
                        "input_dim": dim,
                        "input": np.broadcast_to(np.arange(inputs), start.shape),
                        "value": (hidden @ output[..., None]).squeeze(-1),
                        "norm": hidden.norm(dim=-1),
                        "start_angle": start,
                        "angle": _angles(hidden),
                    }
                    parts.append(sampling.rows(block, wanted, columns))
    sampling.write(out, parts, COLLAPSE_COLUMNS, __name__, parameters)


def scan(
    depths: Sequence[int],
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    points: int,
    seed: int,
    cap: float,
    out: Path,
) -> None:
    """Section 3: does a single step still flip the sign in very deep networks?

    The march's bounds grow exponentially with the depth, so here the ray is scanned: a sign change that is taken back before the next
    scanned point is overlooked. `coarse_status` shows how much the distance of the points matters.
    """
    parameters = {key: value for key, value in locals().items() if key != "out"}
    memory.require(width * (4 * max(depths) + 6 * points), f"width {width:,}, depth {max(depths):,}")
    parts, progress = [], sampling.Progress(len(depths) * len(input_dims))
    lengths = np.geomspace(cap / 200, cap, points)
    for depth, dim in product(depths, input_dims):
        progress.cell()
        for block, wanted in sampling.blocks(max(width * depth / 8, _PASSING * width * points / 2), first, networks):
            progress.say(block.start + wanted.start - first, networks)
            generators, places = (
                [stream(seed, "multilayer", "scan", depth, width, dim, what, index) for index in block] for what in ("network", "inputs")
            )
            x = deep.normals(places, dim)
            x = x * (math.sqrt(dim) / x.norm(dim=-1, keepdim=True))
            found = deep.downhill(generators, x, (width,) * depth, torch.from_numpy(lengths))
            columns = {
                "depth": depth,
                "width": width,
                "input_dim": dim,
                "input": 0,
                "value": found.value,
                "gradient_norm": found.gradient_norm,
                **_first_change(found, lengths),
                "coarse_status": _first_change(replace(found, values=found.values[:, 1::2]), lengths[1::2])["status"],
            }
            parts.append(sampling.rows(block, wanted, columns))
    sampling.write(out, parts, SCAN_COLUMNS, __name__, parameters)


def _first_change(found: deep.Downhill, lengths: Array) -> dict[str, Any]:
    """The first of the scanned lengths at which the sign is another one, the one before it, and the status."""
    dead = (found.value == 0).numpy()
    changed = (found.value[:, None] * found.values < 0).numpy() & ~dead[:, None]
    switched, place = changed.any(1), changed.argmax(1)
    return {
        "shorter": np.where(switched, np.append(0.0, lengths)[place], lengths[-1]),
        "perturbation_norm": np.where(switched, lengths[place], np.nan),
        "status": np.where(dead, "dead", np.where(switched, "switched", "unswitched")),
    }


def _first_zero(places: Array, paths: Array) -> Array:
    """Where paths [N, T] over ascending places [T] first become negative, on the chord; not-a-number where they do not."""
    behind = (paths < 0).argmax(1)
    before, rows = np.maximum(behind - 1, 0), np.arange(len(paths))
    high, low = paths[rows, before].clip(min=0), -paths[rows, behind]
    zero = places[before] + (places[behind] - places[before]) * high / np.where(high + low > 0, high + low, 1)
    return np.where((paths < 0).any(1), zero, np.nan)


def limit(depths: Sequence[int], input_dims: Sequence[int], networks: int, seed: int, cap: float, out: Path) -> None:
    """The same for layers of infinite width, whose value on the circle through x and the gradient is a Gaussian process.

    With h(t) the value at the angle t from x, h(0) = f(x) and h'(0) = -T sign f(x), T ~ chi_(d-1) the gradient's tangential length times
    ||x||; given these, h is Gaussian with the covariance of `theory.kernels.conditional_process`. At the angle t the ray is at the
    distance sqrt(d) sin t sqrt(f^2 + T^2) / (T cos t + |f| sin t).
    """
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    angles = np.geomspace(1e-4, np.pi, _LIMIT_ANGLES)
    for depth in depths:
        at_value, at_slope, factor = kernels.conditional_process(angles, depth)
        for dim in input_dims:
            draw = stream(seed, "multilayer", "limit", depth, dim)
            value, slope = abs(draw.standard_normal(networks)), np.sqrt(draw.chisquare(dim - 1, networks))
            path = np.outer(value, at_value) - np.outer(slope, at_slope) + draw.standard_normal((networks, len(angles))) @ factor.T
            norm = np.hypot(value, slope)
            t = _first_zero(angles, path)
            reach = slope * np.cos(t) + value * np.sin(t)
            length = np.where(reach > 0, np.sqrt(dim) * norm * np.sin(t) / reach, np.nan)
            columns = {
                "depth": depth,
                "input_dim": dim,
                "input": 0,
                "value": value,
                "gradient_norm": norm / np.sqrt(dim),
                "perturbation_norm": np.where(length < cap, length, np.nan),
                "status": np.where(length < cap, "switched", "unswitched"),
            }
            parts.append(sampling.rows(range(networks), slice(None), columns))
    sampling.write(out, parts, LIMIT_COLUMNS, __name__, parameters)
