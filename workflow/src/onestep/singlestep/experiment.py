"""What `singlestep` measures on random ReLU networks: the first step along the gradient that flips the sign, the universal
direction's, and the theorems' own fixed step.

Networks (W, a) and inputs x with ||x|| = sqrt(d) are drawn from streams named by (depth, width, dimension, index), so the three
experiments look at the same networks where these are dense; wide ones, drawn without their matrices, are others for each question.
Work goes in blocks of networks whose size and place depend on the cell alone: however a cell is split into jobs, the same arithmetic
runs on the same blocks and the records are the same bytes.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import records
from onestep.attacks.ray import DEAD, STATUS, SWITCHED, UNSWITCHED, Roots, first_roots, two_layer_roots
from onestep.errors import Mistake
from onestep.networks.matrix_free import MatrixFreeReLU
from onestep.networks.random_relu import DenseReLU, random_inputs, unit_factor
from onestep.provenance import certificate
from onestep.seeds import stream

_CELL = {
    "depth": "number of hidden layers L",
    "width": "width k of every hidden layer",
    "input_dim": "input dimension d",
}
_SAMPLE = {
    "network": "index of the network in its cell",
    "input": "index of the input of its network",
    "value": "f(x)",
    "gradient_norm": "||grad f(x)||",
}
SAMPLE_COLUMNS = {
    **_CELL,
    "hidden_scale": "variance of the hidden weights: he 2/k, unit 1/k; the same network, rescaled",
    **_SAMPLE,
    "step": "|eta|, the smallest step along the gradient that changes the sign of f; null where none below the cap does",
    "perturbation_norm": "||eta grad f(x)||, while ||x|| = sqrt(d); null where step is",
    "status": "switched; unswitched: no sign change below the cap; dead: f is 0 on the whole ray",
}
UNIVERSAL_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "universal_norm": "length of the universal direction sum a_l w_l / sqrt(k), one for all inputs of a network",
    "step": "|eta|, the smallest step along -sign(f(x)) times that direction that changes the sign; null where none below the cap does",
    "perturbation_norm": "|eta| times the direction's length; null where step is",
    "fixed_value": "f at x moved by the fixed length --reach along -sign(f(x)) times that direction: one of two perturbations for all x",
    "status": "switched, unswitched or dead",
}
FIXED_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "coefficient": "c of the step eta = -sign(f(x)) c / ||grad f(x)||^2",
    "radius": "R = c / ||grad f(x)||, the length of that step; null for a dead network",
    "stepped_value": "f(x + eta grad f(x))",
    "gradient_change": "||grad f(x + eta grad f(x)) - grad f(x)||",
    "random_gradient_change": "the same for a step of the same length in a uniformly random direction",
    "status": "switched: the step changed the sign; unswitched; dead",
}

_BLOCK_NUMBERS = 2**21
"""About how many weights are held at once."""
_BLOCK_NETWORKS = 64
MATRIX_FREE_WIDTH = 2000
"""From this width on `sample` draws its networks without their matrices. With 5 inputs a network that is 6 times faster at width 3,000
and 1.5 to 2.5 times at 1,000, where the dense networks are kept as the reference; dense ones much wider do not fit in memory."""


def _blocks(depth: int, width: int, dim: int, first: int, networks: int) -> Iterator[tuple[range, slice]]:
    """The blocks that hold the networks first .. first + networks - 1, and which of each block's networks are among them."""
    size = max(1, min(_BLOCK_NETWORKS, _BLOCK_NUMBERS // (width * (dim + (depth - 1) * width))))
    for start in range(first - first % size, first + networks, size):
        yield range(start, start + size), slice(max(first - start, 0), min(first + networks - start, size))


def _require_memory(depth: int, width: int, dim: int, inputs: int, matrix_free: bool) -> None:
    """Refuses, before any work, what this machine's memory cannot hold."""
    dense = max(_BLOCK_NUMBERS, width * (dim + (depth - 1) * width))
    # A direction and an image for each question: some forty for an input and a layer, most of them along the ray.
    questions = (2 * depth * width + dim) * inputs * 40
    needed = 8 * (questions if matrix_free else dense)
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.9 * held:
        raise Mistake(
            f"width {width:,}, depth {depth}, dimension {dim:,}: about {needed / 1e9:,.0f} GB of memory are needed and this machine has"
            f" {held / 1e9:,.0f}; ask for a smaller width or dimension, or fewer inputs"
        )


def _cells(
    depth: int,
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    inputs: int,
    seed: int,
    device: str,
    matrix_free: bool = False,
) -> Iterator[tuple[int, range, slice, list[np.random.Generator], Tensor]]:
    """Every block of every cell: dimension, network indices, the wanted ones among them, generators of the networks, inputs [B, I, d]."""
    for dim in input_dims:
        _require_memory(depth, width, dim, inputs, matrix_free)
    last_word = time.perf_counter()
    for count, dim in enumerate(input_dims):
        for block, wanted in _blocks(depth, width, dim, first, networks):
            if time.perf_counter() - last_word > 5:
                last_word = time.perf_counter()
                done = block.start + wanted.start - first
                print(f"dimension {dim} ({count + 1} of {len(input_dims)}): network {done} of {networks}", file=sys.stderr, flush=True)
            cell = ("singlestep", depth, width, dim)
            x = random_inputs([stream(seed, *cell, "inputs", i) for i in block], inputs, dim).to(device)
            yield dim, block, wanted, [stream(seed, *cell, "network", i) for i in block], x


def _signs(value: Tensor) -> Tensor:
    return torch.where(value < 0, -1.0, 1.0)


def _roots(nets: DenseReLU | MatrixFreeReLU, x: Tensor, direction: Tensor, value: Tensor, cap: float) -> Roots:
    """First sign change along x - sign(f(x)) t direction: exact for two-layer networks, by the certified march for deeper ones.

    Where f(x) is exactly 0 all neurons of a layer are off and the network is dead around x. Some direction may wake it up again, but
    there was no sign to change.
    """
    sign = _signs(value)
    ray = nets.ray(x, -sign[..., None] * direction)
    if nets.depth == 1:
        roots = two_layer_roots(ray.start, ray.slope, nets.output[:, None, :] * sign[..., None], cap)
    else:
        roots = first_roots(ray, sign, cap)
    dead = value == 0
    return replace(roots, t=torch.where(dead, torch.nan, roots.t), status=torch.where(dead, DEAD, roots.status))


def _rows(block: range, wanted: slice, inputs: int, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for each wanted network and each input; a column is a tensor [B, I] or one value."""
    networks = np.array(block)[wanted]
    index = {"network": np.repeat(networks, inputs), "input": np.tile(np.arange(inputs), len(networks))}
    values = {name: column.cpu().numpy()[wanted].ravel() if isinstance(column, Tensor) else column for name, column in columns.items()}
    return pd.DataFrame(index | values)


def _write(
    out: Path,
    parts: Sequence[pd.DataFrame],
    columns: dict[str, str],
    parameters: dict[str, Any],
    device: str,
    found: dict[str, Any] | None = None,
) -> None:
    """Writes the record file; what else was found on the way goes into its certificate."""
    frame = pd.concat(parts, ignore_index=True)[list(columns)]
    frame["status"] = np.array(STATUS)[frame["status"]]
    born = certificate(parameters=parameters, modules=[__name__], seed=parameters["seed"], device=device)
    records.write(out, frame, columns, born | (found or {}))


def sample(
    depth: int, width: int, input_dims: Sequence[int], first: int, networks: int, inputs: int, seed: int, cap: float, device: str, out: Path
) -> None:
    """Figures 1 and 2: the smallest step along the gradient that changes the sign, at both hidden scales from one run."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts, rays = [], {"rays": 0, "unresolved": 0}
    matrix_free = width >= MATRIX_FREE_WIDTH
    device = "cpu" if matrix_free else device
    for dim, block, wanted, generators, x in _cells(depth, width, input_dims, first, networks, inputs, seed, device, matrix_free):
        nets = (
            MatrixFreeReLU.sample(generators, depth, width, dim) if matrix_free else DenseReLU.sample(generators, depth, width, dim, device)
        )
        value, gradient = nets.value_and_gradient(x)
        norm = gradient.norm(dim=-1)
        # At unit scale value and gradient shrink by the same factor, so eta grows by it and the perturbation is the same:
        # the search at He scale sees every step below the cap at either scale.
        roots = _roots(nets, x, gradient, value, cap)
        rays["rays"] += roots.t[wanted].numel()
        rays["unresolved"] += int((roots.unresolved[wanted] > 0).sum())
        for scale, factor in (("he", 1.0), ("unit", unit_factor(depth))):
            step = roots.t / factor
            step = torch.where(step < cap, step, torch.nan)
            columns = {
                "depth": depth,
                "width": width,
                "input_dim": dim,
                "hidden_scale": scale,
                "value": value * factor,
                "gradient_norm": norm * factor,
                "step": step,
                "perturbation_norm": step * norm * factor,
                "status": torch.where(roots.status == SWITCHED, (step < cap).long(), roots.status),
            }
            parts.append(_rows(block, wanted, inputs, columns))
    _write(out, parts, SAMPLE_COLUMNS, parameters, device, {"matrix_free": matrix_free, **rays})


def universal(
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    inputs: int,
    reach: float,
    seed: int,
    cap: float,
    device: str,
    out: Path,
) -> None:
    """Section 1.1: one direction, +-sum a_l w_l, for all inputs of a two-layer network."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts = []
    for dim, block, wanted, generators, x in _cells(1, width, input_dims, first, networks, inputs, seed, device):
        nets = DenseReLU.sample(generators, 1, width, dim, device)
        value, gradient = nets.value_and_gradient(x)
        direction = nets.output[:, None, :] @ nets.layers[0]  # [B, 1, d]
        roots = _roots(nets, x, direction, value, cap)
        length = direction.norm(dim=-1).expand_as(value)
        fixed, _ = nets.value_and_gradient(x - (_signs(value) * reach / length)[..., None] * direction)
        columns = {
            "depth": 1,
            "width": width,
            "input_dim": dim,
            "value": value,
            "gradient_norm": gradient.norm(dim=-1),
            "universal_norm": length,
            "step": roots.t,
            "perturbation_norm": roots.t * length,
            "fixed_value": fixed,
            "status": roots.status,
        }
        parts.append(_rows(block, wanted, inputs, columns))
    _write(out, parts, UNIVERSAL_COLUMNS, parameters, device)


def fixed(
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    inputs: int,
    coefficients: Sequence[float],
    seed: int,
    device: str,
    out: Path,
) -> None:
    """Theorems 1 and 2: the step c / ||grad f||^2, whether it flips the sign, and how far the gradient has changed by then."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts = []
    for dim, block, wanted, generators, x in _cells(1, width, input_dims, first, networks, inputs, seed, device):
        nets = DenseReLU.sample(generators, 1, width, dim, device)
        value, gradient = nets.value_and_gradient(x)
        sign, norm = _signs(value), gradient.norm(dim=-1)
        directions = [stream(seed, "singlestep", 1, width, dim, "directions", i) for i in block]
        elsewhere = random_inputs(directions, inputs, dim).to(device) / dim**0.5
        # All steps of all inputs in one evaluation, [B, C I, d]: the weights are read once.
        c = torch.tensor(coefficients, dtype=x.dtype, device=x.device)[:, None]
        radius = c / norm[:, None, :]  # [B, C, I]
        moved = [
            x[:, None] - (sign / norm)[:, None, :, None] * radius[..., None] * gradient[:, None],
            x[:, None] + radius[..., None] * elsewhere[:, None],
        ]
        (stepped, after), (_, beside) = (nets.value_and_gradient(points.flatten(1, 2)) for points in moved)
        shape = radius.shape
        for index, coefficient in enumerate(coefficients):
            here = stepped.view(shape)[:, index]
            change, random_change = (at.view(*shape, dim)[:, index].sub(gradient).norm(dim=-1) for at in (after, beside))
            flipped = torch.where(sign * here < 0, SWITCHED, UNSWITCHED)
            columns = {
                "depth": 1,
                "width": width,
                "input_dim": dim,
                "value": value,
                "gradient_norm": norm,
                "coefficient": coefficient,
                "radius": torch.where(norm > 0, radius[:, index], torch.nan),
                "stepped_value": torch.where(norm > 0, here, value),
                "gradient_change": change,
                "random_gradient_change": random_change,
                "status": torch.where(norm > 0, flipped, DEAD),
            }
            parts.append(_rows(block, wanted, inputs, columns))
    _write(out, parts, FIXED_COLUMNS, parameters, device)
