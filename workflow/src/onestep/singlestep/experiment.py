"""What `singlestep` measures on random ReLU networks: the first step along the gradient that flips the sign, the universal
direction's, and the theorems' own fixed step.

Networks (W, a) and inputs x with ||x|| = sqrt(d) are drawn from streams named by (depth, width, dimension, index), so the
experiments look at the same networks where these are dense; those whose matrices are never formed are others for each question.
Work goes in blocks of networks whose size and place depend on the cell alone: however a cell is split into jobs, the same arithmetic
runs on the same blocks and the records are the same bytes.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import memory, records
from onestep.attacks.minimal import OK, smallest_l2
from onestep.attacks.ray import DEAD, STATUS, SWITCHED, UNSWITCHED, Roots, first_roots, two_layer_roots
from onestep.networks.activations import ACTIVATIONS
from onestep.networks.random_relu import DenseMatrix, Kind, RandomNetwork, Shape, never_formed, numbers_held, unit_factor
from onestep.provenance import certificate
from onestep.seeds import stream
from onestep.theory import infinite_width
from onestep.theory.certificates import l2_lower_bound

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
VARIANT_COLUMNS = {
    **_CELL,
    "variant": "how the network differs from those of sample: gaussian-output (a ~ N(0, 1)), bias, or another activation",
    **{name: SAMPLE_COLUMNS[name] for name in (*_SAMPLE, "step", "perturbation_norm", "status")},
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
    "activation": "relu, tanh, softplus (minus its value at 0) or gelu",
    **_SAMPLE,
    "coefficient": "c of the step eta = -sign(f(x)) c / ||grad f(x)||^2",
    "radius": "R = c / ||grad f(x)||, the length of that step; null for a dead network",
    "stepped_value": "f(x + eta grad f(x))",
    "gradient_change": "||grad f(x + eta grad f(x)) - grad f(x)||",
    "random_gradient_change": "the same for a step of the same length in a uniformly random direction",
    "status": "switched: the step changed the sign; unswitched; dead",
}

HESSIAN_COLUMNS = {
    **_CELL,
    "activation": "tanh, softplus (minus its value at 0) or gelu",
    **_SAMPLE,
    "hessian_norm": "the largest |eigenvalue| of the Hessian of f at x",
    "status": "ok",
}
BRACKET_COLUMNS = {
    **_CELL,
    **_SAMPLE,
    "step_norm": "||eta grad f(x)||: how far the single step goes; null where it does not change the sign",
    "best_norm": "the smallest l2 perturbation found that changes the sign; null where none was",
    "lower_bound": "no l2 perturbation shorter than this changes the sign: certified, up to float64 rounding",
    "gradients": "gradients that the search for the smallest perturbation took",
    "status": "ok; failed: no sign change found by one of the two; dead",
}
LIMIT_COLUMNS = {
    "input_dim": _CELL["input_dim"],
    **_SAMPLE,
    **{name: SAMPLE_COLUMNS[name] for name in ("step", "perturbation_norm", "status")},
}

_BLOCK_NUMBERS = 2**21
"""About how many numbers are held at once."""
_BLOCK_NETWORKS = 64
SINGLE_PRECISION_WIDTH = 10_000
"""From this width on networks are evaluated in single precision: half the memory and time, and roots to 1e-5 of their size."""


@dataclass(frozen=True)
class _Block:
    """Networks of one cell that are worked on together, and which of them are wanted."""

    networks: range
    wanted: slice
    nets: RandomNetwork
    x: Tensor  # [B, I, m]
    cell: tuple[str | int, ...]  # what the streams of its networks are named by


def _blocks(size: int, first: int, networks: int) -> Iterator[tuple[range, slice]]:
    """The blocks that hold the networks first .. first + networks - 1, and which of each block's networks are among them."""
    for start in range(first - first % size, first + networks, size):
        yield range(start, start + size), slice(max(first - start, 0), min(first + networks - start, size))


def _sampled(
    shapes: Sequence[Shape], first: int, networks: int, inputs: int, seed: int, device: str, kind: Kind = "auto", axes: int | None = None
) -> Iterator[_Block]:
    """Every block of every cell. `axes`: how many directions of the input space the experiment meets; 2 an input where not given."""
    for shape in shapes:
        name = f"width {max(shape.widths, default=0):,}, depth {len(shape.widths)}, dimension {shape.dim:,}"
        memory.require(max(_BLOCK_NUMBERS, numbers_held(shape, inputs, kind)), name)
    last_word = time.perf_counter()
    for count, shape in enumerate(shapes):
        width = max(shape.widths, default=shape.dim)
        dtype = torch.float32 if width >= SINGLE_PRECISION_WIDTH else torch.float64
        size = max(1, min(_BLOCK_NETWORKS, _BLOCK_NUMBERS // max(1, numbers_held(shape, inputs, kind))))
        on = "cpu" if any(never_formed(shape, inputs, kind)) else device
        for block, wanted in _blocks(size, first, networks):
            if time.perf_counter() - last_word > 5:
                last_word = time.perf_counter()
                done = block.start + wanted.start - first
                print(f"dimension {shape.dim} ({count + 1} of {len(shapes)}): network {done} of {networks}", file=sys.stderr, flush=True)
            cell = ("singlestep", len(shape.widths), shape.widths[0] if shape.widths else 0, shape.dim)
            generators = [stream(seed, *cell, "network", i) for i in block]
            nets = RandomNetwork.sample(generators, shape, kind=kind, inputs=inputs, room=axes or 2 * inputs, dtype=dtype, device=on)
            x = nets.inputs([stream(seed, *cell, "inputs", i) for i in block], inputs)
            yield _Block(block, wanted, nets, x, cell)


def _at(block: _Block) -> tuple[Tensor, Tensor, tuple[list[Tensor], Tensor]]:
    """f [B, I] and its gradient [B, I, m] at the block's inputs, and what `forward` says of them."""
    origin = block.nets.forward(block.x)
    return origin[1], block.nets.gradient(origin[0]).expand_as(block.x), origin


def _signs(value: Tensor) -> Tensor:
    return torch.where(value < 0, -1.0, 1.0).double()


def _roots(nets: RandomNetwork, x: Tensor, origin: tuple[list[Tensor], Tensor], direction: Tensor, slope: Tensor, cap: float) -> Roots:
    """First sign change along x - sign(f(x)) t direction: exact for two-layer relu networks, by the certified march for others.

    `origin`: what `forward` says of x; `slope`: how fast |f| falls along the direction there, which tells about where. Where f(x) is
    exactly 0 all neurons of a layer are off and the network is dead around x. Some direction may wake it up again, but there was no
    sign to change.
    """
    value = origin[1]
    sign = _signs(value)
    ray = nets.ray(x, -sign[..., None].to(x.dtype) * direction, origin)
    guess = torch.where(slope > 0, value.abs() / slope, 0.05 * cap).double()
    if nets.depth <= 1 and nets.shape.activation == "relu":
        amplitude = ray.output[:, None, :].double() * sign[..., None]
        roots = two_layer_roots(ray.start.double(), ray.slope.double(), amplitude, cap, guess)
    else:
        roots = first_roots(ray, sign, cap, guess=guess)
    dead = value == 0
    return replace(roots, t=torch.where(dead, torch.nan, roots.t), status=torch.where(dead, DEAD, roots.status))


def _rows(block: _Block, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for each wanted network and each input; a column is a tensor [B, I] or one value."""
    networks, inputs = np.array(block.networks)[block.wanted], block.x.shape[1]
    shape = block.nets.shape
    index: dict[str, Any] = {"depth": len(shape.widths), "width": max(shape.widths, default=0), "input_dim": shape.dim}
    index |= {"network": np.repeat(networks, inputs), "input": np.tile(np.arange(inputs), len(networks))}
    values = {
        name: column.cpu().numpy()[block.wanted].astype(np.float64 if column.dtype.is_floating_point else np.int64).ravel()
        if isinstance(column, Tensor)
        else column
        for name, column in columns.items()
    }
    return pd.DataFrame(index | values)


def _write(
    out: Path,
    parts: Sequence[pd.DataFrame],
    columns: dict[str, str],
    parameters: dict[str, Any],
    device: str,
    found: dict[str, Any] | None = None,
    words: Sequence[str] = STATUS,
) -> None:
    """Writes the record file, `words` for the numbers of a status; what else was found on the way goes into its certificate."""
    frame = pd.concat(parts, ignore_index=True)[list(columns)]
    frame["status"] = np.array(words)[frame["status"]]
    born = certificate(parameters=parameters, modules=[__name__], seed=parameters["seed"], device=device)
    records.write(out, frame, columns, born | (found or {}))


@dataclass
class _Rays:
    """What certificates say of the networks and of the rays followed: how matrices were held, and which steps had no certificate."""

    rays: int = 0
    unresolved: int = 0
    held: dict[str, str] = field(default_factory=dict)

    def count(self, block: _Block, roots: Roots) -> None:
        """Adds the rays of a block."""
        self.rays += roots.t[block.wanted].numel()
        self.unresolved += int((roots.unresolved[block.wanted] > 0).sum())
        nets = block.nets
        free = sum(nets.matrix_free)
        how = "dense" if free == 0 else "matrix-free" if free == nets.depth else f"{free} of {nets.depth} matrices matrix-free"
        self.held[str(nets.shape.dim)] = f"{how}, {str(nets.output.dtype).removeprefix('torch.')}"


@torch.inference_mode()
def sample(
    depth: int,
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    inputs: int,
    seed: int,
    cap: float,
    device: str,
    out: Path,
    kind: Kind = "auto",
) -> None:
    """Figures 1 and 2: the smallest step along the gradient that changes the sign, at both hidden scales from one run."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts, rays = [], _Rays()
    shapes = [Shape(dim, (width,) * depth) for dim in input_dims]
    for block in _sampled(shapes, first, networks, inputs, seed, device, kind):
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        # At unit scale value and gradient shrink by the same factor, so eta grows by it and the perturbation is the same:
        # the search at He scale sees every step below the cap at either scale.
        roots = _roots(block.nets, block.x, origin, gradient, norm**2, cap)
        rays.count(block, roots)
        for scale, factor in (("he", 1.0), ("unit", unit_factor(depth))):
            step = roots.t / factor
            step = torch.where(step < cap, step, torch.nan)
            columns = {
                "hidden_scale": scale,
                "value": value * factor,
                "gradient_norm": norm * factor,
                "step": step,
                "perturbation_norm": step * norm * factor,
                "status": torch.where(roots.status == SWITCHED, (step < cap).long(), roots.status),
            }
            parts.append(_rows(block, columns))
    _write(out, parts, SAMPLE_COLUMNS, parameters, device, asdict(rays))


VARIANTS: dict[str, dict[str, Any]] = {
    "gaussian-output": {"output": "gaussian"},
    "bias": {"bias": True},
    "tanh": {"activation": "tanh"},
    "softplus": {"activation": "softplus"},
    "gelu": {"activation": "gelu"},
}
"""Two-layer networks like those of `sample`, but for one thing."""


@torch.inference_mode()
def variants(
    variant: str,
    width: int,
    input_dims: Sequence[int],
    first: int,
    networks: int,
    inputs: int,
    seed: int,
    cap: float,
    device: str,
    out: Path,
) -> None:
    """Footnote 2, the bias unit of Section 1, Theorem 1's smooth activations: the smallest step as in `sample`."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts, rays = [], _Rays()
    for block in _sampled([Shape(dim, (width,), **VARIANTS[variant]) for dim in input_dims], first, networks, inputs, seed, device):
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        roots = _roots(block.nets, block.x, origin, gradient, norm**2, cap)
        rays.count(block, roots)
        columns = {
            "variant": variant,
            "value": value,
            "gradient_norm": norm,
            "step": roots.t,
            "perturbation_norm": roots.t * norm,
            "status": roots.status,
        }
        parts.append(_rows(block, columns))
    _write(out, parts, VARIANT_COLUMNS, parameters, device, asdict(rays))


@torch.inference_mode()
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
    parts, rays = [], _Rays()
    shapes = [Shape(dim, (width,)) for dim in input_dims]
    for block in _sampled(shapes, first, networks, inputs, seed, device, axes=2 * inputs + 1):
        nets, x = block.nets, block.x
        value, gradient, origin = _at(block)
        direction = nets.layers[0].transposed_times(nets.output[:, None, :])  # [B, 1, m]
        sign = _signs(value)
        roots = _roots(nets, x, origin, direction, (gradient * direction).sum(-1), cap)
        rays.count(block, roots)
        length = direction.norm(dim=-1).expand_as(value)
        _, fixed = nets.forward(x - (sign.to(x.dtype) * reach / length)[..., None] * direction)
        columns = {
            "value": value,
            "gradient_norm": gradient.norm(dim=-1),
            "universal_norm": length,
            "step": roots.t,
            "perturbation_norm": roots.t * length,
            "fixed_value": fixed,
            "status": roots.status,
        }
        parts.append(_rows(block, columns))
    _write(out, parts, UNIVERSAL_COLUMNS, parameters, device, asdict(rays))


@torch.inference_mode()
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
    activation: str = "relu",
) -> None:
    """Theorems 1 and 2: the step c / ||grad f||^2, whether it flips the sign, and how far the gradient has changed by then."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts = []
    shapes = [Shape(dim, (width,), activation) for dim in input_dims]
    for block in _sampled(shapes, first, networks, inputs, seed, device, axes=inputs * (3 + 2 * len(coefficients))):
        nets, x = block.nets, block.x
        value, gradient = nets.value_and_gradient(x)
        sign, norm = _signs(value).to(x.dtype), gradient.norm(dim=-1)
        elsewhere = nets.directions([stream(seed, *block.cell, "directions", i) for i in block.networks], inputs)
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
            change, random_change = (at.view(*shape, -1)[:, index].sub(gradient).norm(dim=-1) for at in (after, beside))
            flipped = torch.where(sign * here < 0, SWITCHED, UNSWITCHED)
            columns = {
                "activation": activation,
                "value": value,
                "gradient_norm": norm,
                "coefficient": coefficient,
                "radius": torch.where(norm > 0, radius[:, index], torch.nan),
                "stepped_value": torch.where(norm > 0, here, value),
                "gradient_change": change,
                "random_gradient_change": random_change,
                "status": torch.where(norm > 0, flipped, DEAD),
            }
            parts.append(_rows(block, columns))
    _write(out, parts, FIXED_COLUMNS, parameters, device)


@torch.inference_mode()
def hessian(
    activation: str, ratios: Sequence[int], input_dims: Sequence[int], first: int, networks: int, seed: int, device: str, out: Path
) -> None:
    """Theorem 1's smoothness: the norm of W' diag(a psi''(W x)) W / sqrt(k), the Hessian at one input, k = ratio d."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}
    parts = []
    shapes = [Shape(dim, (ratio * dim,), activation) for dim in input_dims for ratio in ratios]
    for block in _sampled(shapes, first, networks, 1, seed, device, "dense"):
        nets = block.nets
        (preactivation,), value = nets.forward(block.x)
        second = ACTIVATIONS[activation].second_derivative
        assert second is not None
        (W,) = (matrix.weights for matrix in nets.layers if isinstance(matrix, DenseMatrix))
        curved = (nets.output[:, None, :] * second(preactivation)).mT * W
        eigenvalues = torch.linalg.eigvalsh(W.mT @ curved)
        columns = {
            "activation": activation,
            "value": value,
            "gradient_norm": nets.gradient([preactivation]).norm(dim=-1),
            "hessian_norm": eigenvalues.abs().amax(-1, keepdim=True),
            "status": 0,
        }
        parts.append(_rows(block, columns))
    _write(out, parts, HESSIAN_COLUMNS, parameters, device, words=("ok",))


@torch.inference_mode()
def bracket(width: int, input_dims: Sequence[int], first: int, networks: int, seed: int, cap: float, out: Path) -> None:
    """What the single step loses: beside it the smallest l2 perturbation found, and a certified bound below all of them."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    for block in _sampled([Shape(dim, (width,)) for dim in input_dims], first, networks, 1, seed, "cpu", "dense"):
        nets, x = block.nets, block.x
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        roots = _roots(nets, x, origin, gradient, norm**2, cap)
        (W,) = (matrix.weights for matrix in nets.layers if isinstance(matrix, DenseMatrix))
        best, bound, gradients = torch.full_like(value, torch.nan), torch.full_like(value, torch.nan), torch.zeros_like(roots.status)
        for index in range(*block.wanted.indices(len(block.networks))):
            one, weights, a = nets.only(torch.tensor([index])), W[index], nets.output[index]

            def model(points: Tensor, one: RandomNetwork = one) -> tuple[Tensor, Tensor]:
                values, gradients = one.value_and_gradient(points[None])
                return values[0], gradients[0]

            found = smallest_l2(model, x[index])
            best[index], gradients[index] = torch.where(found.status == OK, found.distance, torch.nan), found.gradients
            bound[index] = l2_lower_bound(weights, None, a * len(a) ** 0.5, x[index, 0])
        failed = best.isnan() | roots.t.isnan()
        columns = {
            "value": value,
            "gradient_norm": norm,
            "step_norm": roots.t * norm,
            "best_norm": best,
            "lower_bound": bound,
            "gradients": gradients,
            "status": torch.where(value == 0, 2, failed.long()),
        }
        parts.append(_rows(block, columns))
    _write(out, parts, BRACKET_COLUMNS, parameters, "cpu", words=("ok", "failed", "dead"))


def limit(input_dims: Sequence[int], networks: int, seed: int, cap: float, out: Path) -> None:
    """The column k = infinity: two-layer networks of infinite width, one input each, exactly in law."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    for dim in input_dims:
        samples = infinite_width.sample([stream(seed, "singlestep", "limit", dim, i) for i in range(networks)], dim, cap)
        columns = {
            "input_dim": dim,
            "network": np.arange(networks),
            "input": 0,
            "value": samples.value,
            "gradient_norm": samples.gradient_norm,
            "step": samples.step,
            "perturbation_norm": samples.step * samples.gradient_norm,
            "status": np.where(np.isnan(samples.step), UNSWITCHED, SWITCHED),
        }
        parts.append(pd.DataFrame(columns))
    _write(out, parts, LIMIT_COLUMNS, parameters, "cpu")
