"""What `singlestep` measures on random networks.

sample: the first step along the gradient that flips the sign. variants: the same with another output layer, a bias or a smooth
activation. universal: along one direction for all inputs. fixed: the theorems' own step. hessian: its norm, for smooth activations.
bracket: the single step between the smallest perturbation found and a certified bound. limit: the first step at infinite width.

Networks (W, a) and inputs x with ||x|| = sqrt(d) are drawn from streams named by (depth, width, dimension, index), so the
experiments look at the same networks where these are dense; those whose matrices are never formed are others for each question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import sampling
from onestep.attacks.minimal import OK, smallest
from onestep.attacks.ray import DEAD, SWITCHED, UNSWITCHED
from onestep.attacks.single_step import Origin, Rays, first_sign_change, signs, words
from onestep.networks.activations import ACTIVATIONS
from onestep.networks.random_relu import DenseMatrix, Kind, RandomNetwork, Shape, never_formed, numbers_held, unit_factor
from onestep.seeds import stream
from onestep.theory import infinite_width
from onestep.theory.certificates import l2_lower_bound

_CELL = {name: sampling.COLUMNS[name] for name in ("depth", "width", "input_dim")}
_SAMPLE = {name: sampling.COLUMNS[name] for name in ("network", "input", "value", "gradient_norm")}
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
    "status": sampling.COLUMNS["status"],
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
    "input_dim": sampling.COLUMNS["input_dim"],
    **_SAMPLE,
    **{name: SAMPLE_COLUMNS[name] for name in ("step", "perturbation_norm", "status")},
}

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


@dataclass(frozen=True)
class _Sampling:
    """Which networks are sampled, and how they are held."""

    first: int
    networks: int
    inputs: int
    seed: int
    device: str
    kind: Kind = "auto"
    axes: int | None = None  # how many directions of the input space the experiment meets; 2 an input where not given
    precise: bool = False  # in double precision at every width

    def numbers(self, shape: Shape) -> int:
        """About how many numbers one network keeps in memory."""
        return numbers_held(shape, self.inputs, self.kind)

    def block(self, shape: Shape, networks: range) -> _Block:
        """These networks and their inputs, drawn."""
        width = max(shape.widths, default=shape.dim)
        dtype = torch.float32 if width >= SINGLE_PRECISION_WIDTH and not self.precise else torch.float64
        device = "cpu" if any(never_formed(shape, self.inputs, self.kind)) else self.device
        cell = ("singlestep", len(shape.widths), shape.widths[0] if shape.widths else 0, shape.dim)
        generators = [stream(self.seed, *cell, "network", i) for i in networks]
        room = self.axes or 2 * self.inputs
        nets = RandomNetwork.sample(generators, shape, kind=self.kind, inputs=self.inputs, room=room, dtype=dtype, device=device)
        x = nets.inputs([stream(self.seed, *cell, "inputs", i) for i in networks], self.inputs)
        return _Block(networks, sampling.wanted(networks, self.first, self.networks), nets, x, cell)


def _measured(shapes: Sequence[Shape], how: _Sampling, measure: Callable[[_Block], list[pd.DataFrame]]) -> list[pd.DataFrame]:
    """The tables that `measure` makes of every block of every cell."""
    for shape in shapes:
        sampling.require_memory(how.numbers(shape), str(shape))

    def drawn(shape: Shape, networks: range) -> list[pd.DataFrame]:
        return measure(how.block(shape, networks))

    progress, parts = sampling.Progress(len(shapes)), list[pd.DataFrame]()
    for shape in shapes:
        progress.cell()
        for block, wanted in sampling.blocks(how.numbers(shape), how.first, how.networks):
            progress.say(block.start + wanted.start - how.first, how.networks)
            parts += sampling.halving(partial(drawn, shape), block)
    return parts


def _at(block: _Block) -> tuple[Tensor, Tensor, Origin]:
    """f [B, I] and its gradient [B, I, m] at the block's inputs, and what `forward` says of them."""
    origin = block.nets.forward(block.x)
    return origin[1], block.nets.gradient(origin[0]).expand_as(block.x), origin


def _rows(block: _Block, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for each wanted network and each input; a column is a tensor [B, I] or one value."""
    shape, inputs = block.nets.shape, np.tile(np.arange(block.x.shape[1]), (len(block.networks), 1))
    index = {"depth": len(shape.widths), "width": max(shape.widths, default=0), "input_dim": shape.dim, "input": inputs}
    return sampling.rows(block.networks, block.wanted, index | columns)


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
    rays = Rays()

    def measure(block: _Block) -> list[pd.DataFrame]:
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        # At unit scale value and gradient shrink by the same factor, so eta grows by it and the perturbation is the same:
        # the search at He scale sees every step below the cap at either scale.
        roots = first_sign_change(block.nets, block.x, origin, gradient, norm**2, cap)
        tables = []
        for scale, factor in (("he", 1.0), ("unit", unit_factor(depth))):
            step = roots.t / factor
            step = torch.where(step < cap, step, torch.nan)
            columns = {
                "hidden_scale": scale,
                "value": value * factor,
                "gradient_norm": norm * factor,
                "step": step,
                "perturbation_norm": step * norm * factor,
                "status": words(torch.where(roots.status == SWITCHED, (step < cap).long(), roots.status)),
            }
            tables.append(_rows(block, columns))
        rays.count(block.nets, block.wanted, roots)
        return tables

    shapes = [Shape(dim, (width,) * depth) for dim in input_dims]
    parts = _measured(shapes, _Sampling(first, networks, inputs, seed, device, kind), measure)
    sampling.write(out, parts, SAMPLE_COLUMNS, __name__, parameters, device, rays.certified)


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
    rays = Rays()

    def measure(block: _Block) -> list[pd.DataFrame]:
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        roots = first_sign_change(block.nets, block.x, origin, gradient, norm**2, cap)
        columns = {
            "variant": variant,
            "value": value,
            "gradient_norm": norm,
            "step": roots.t,
            "perturbation_norm": roots.t * norm,
            "status": words(roots.status),
        }
        table = _rows(block, columns)
        rays.count(block.nets, block.wanted, roots)
        return [table]

    shapes = [Shape(dim, (width,), **VARIANTS[variant]) for dim in input_dims]
    parts = _measured(shapes, _Sampling(first, networks, inputs, seed, device), measure)
    sampling.write(out, parts, VARIANT_COLUMNS, __name__, parameters, device, rays.certified)


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
    rays = Rays()

    def measure(block: _Block) -> list[pd.DataFrame]:
        nets, x = block.nets, block.x
        value, gradient, origin = _at(block)
        direction = nets.layers[0].transposed_times(nets.output[:, None, :])  # [B, 1, m]
        roots = first_sign_change(nets, x, origin, direction, (gradient * direction).sum(-1), cap)
        length = direction.norm(dim=-1).expand_as(value)
        _, fixed = nets.forward(x - (signs(value) * reach / length)[..., None] * direction)
        columns = {
            "value": value,
            "gradient_norm": gradient.norm(dim=-1),
            "universal_norm": length,
            "step": roots.t,
            "perturbation_norm": roots.t * length,
            "fixed_value": fixed,
            "status": words(roots.status),
        }
        table = _rows(block, columns)
        rays.count(nets, block.wanted, roots)
        return [table]

    shapes = [Shape(dim, (width,)) for dim in input_dims]
    parts = _measured(shapes, _Sampling(first, networks, inputs, seed, device, axes=2 * inputs + 1), measure)
    sampling.write(out, parts, UNIVERSAL_COLUMNS, __name__, parameters, device, rays.certified)


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

    def measure(block: _Block) -> list[pd.DataFrame]:
        nets, x = block.nets, block.x
        value, gradient = nets.value_and_gradient(x)
        sign, norm = signs(value), gradient.norm(dim=-1)
        elsewhere = nets.directions([stream(seed, *block.cell, "directions", i) for i in block.networks], inputs)
        # All steps of all inputs in one evaluation, [B, C I, d]: the weights are read once.
        c = torch.tensor(coefficients, dtype=x.dtype, device=x.device)[:, None]
        radius = c / norm[:, None, :]  # [B, C, I]
        moved = [
            x[:, None] - (sign / norm)[:, None, :, None] * radius[..., None] * gradient[:, None],
            x[:, None] + radius[..., None] * elsewhere[:, None],
        ]
        (stepped, after), (_, beside) = (nets.value_and_gradient(points.flatten(1, 2)) for points in moved)
        shape, tables = radius.shape, []
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
                "status": words(torch.where(norm > 0, flipped, DEAD)),
            }
            tables.append(_rows(block, columns))
        return tables

    shapes = [Shape(dim, (width,), activation) for dim in input_dims]
    # How matrices are held is chosen as for one step an input: all of them are asked about together, and cost little more.
    how = _Sampling(first, networks, inputs, seed, device, axes=inputs * (3 + 2 * len(coefficients)))
    parts = _measured(shapes, how, measure)
    sampling.write(out, parts, FIXED_COLUMNS, __name__, parameters, device)


@torch.inference_mode()
def hessian(
    activation: str, ratios: Sequence[int], input_dims: Sequence[int], first: int, networks: int, seed: int, device: str, out: Path
) -> None:
    """Theorem 1's smoothness: the norm of W' diag(a psi''(W x)) W / sqrt(k), the Hessian at one input, k = ratio d."""
    parameters = {key: value for key, value in locals().items() if key not in ("out", "device")}

    def measure(block: _Block) -> list[pd.DataFrame]:
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
            "status": "ok",
        }
        return [_rows(block, columns)]

    shapes = [Shape(dim, (ratio * dim,), activation) for dim in input_dims for ratio in ratios]
    parts = _measured(shapes, _Sampling(first, networks, 1, seed, device, "dense", precise=True), measure)
    sampling.write(out, parts, HESSIAN_COLUMNS, __name__, parameters, device)


@torch.inference_mode()
def bracket(width: int, input_dims: Sequence[int], first: int, networks: int, seed: int, cap: float, out: Path) -> None:
    """What the single step loses: beside it the smallest l2 perturbation found, and a certified bound below all of them."""
    parameters = {key: value for key, value in locals().items() if key != "out"}

    def measure(block: _Block) -> list[pd.DataFrame]:
        nets, x = block.nets, block.x
        value, gradient, origin = _at(block)
        norm = gradient.norm(dim=-1)
        roots = first_sign_change(nets, x, origin, gradient, norm**2, cap)
        (W,) = (matrix.weights for matrix in nets.layers if isinstance(matrix, DenseMatrix))
        best, bound, gradients = torch.full_like(value, torch.nan), torch.full_like(value, torch.nan), torch.zeros_like(roots.status)
        for index in range(*block.wanted.indices(len(block.networks))):
            one, weights, a = nets.only(torch.tensor([index])), W[index], nets.output[index]

            def model(points: Tensor, one: RandomNetwork = one) -> tuple[Tensor, Tensor]:
                values, gradients = one.value_and_gradient(points[None])
                return values[0], gradients[0]

            found = smallest(model, x[index], 2)
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
            "status": words(torch.where(value == 0, 2, failed.long()), ("ok", "failed", "dead")),
        }
        return [_rows(block, columns)]

    shapes = [Shape(dim, (width,)) for dim in input_dims]
    parts = _measured(shapes, _Sampling(first, networks, 1, seed, "cpu", "dense", precise=True), measure)
    sampling.write(out, parts, BRACKET_COLUMNS, __name__, parameters)


def limit(input_dims: Sequence[int], networks: int, seed: int, cap: float, out: Path) -> None:
    """The column k = infinity: two-layer networks of infinite width, one input each, exactly in law."""
    parameters = {key: value for key, value in locals().items() if key != "out"}
    parts = []
    for dim in input_dims:
        samples = infinite_width.sample([stream(seed, "singlestep", "limit", dim, i) for i in range(networks)], dim, cap)
        columns = {
            "input_dim": dim,
            "input": 0,
            "value": samples.value,
            "gradient_norm": samples.gradient_norm,
            "step": samples.step,
            "perturbation_norm": samples.step * samples.gradient_norm,
            "status": np.where(np.isnan(samples.step), "unswitched", "switched"),
        }
        parts.append(sampling.rows(range(networks), slice(None), columns))
    sampling.write(out, parts, LIMIT_COLUMNS, __name__, parameters)
