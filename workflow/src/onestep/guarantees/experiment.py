"""What `guarantees` measures on random image networks, whose inputs are images with pixels uniform in [0, 1].

The smallest l1, l2 and l-infinity perturbations within that box that change the sign of f (Figures 1 and 2, the supplement).

Networks are drawn from streams named by (architecture, side, index) and inputs by (side, network, index): the three norms and all
experiments look at the same ones.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import memory, sampling
from onestep.attacks.minimal import STATUS, Minimal, Model, smallest
from onestep.attacks.projection import NORMS, project
from onestep.networks.residual import ARCHITECTURES, Architecture, ImageNetwork, shapes
from onestep.seeds import stream

CHANNELS = 3
BOX = (0.0, 1.0)
DTYPE = torch.float32

CELL = {
    "architecture": "resnet, lenet, convolutional, fully-connected; periodic, periodic-pooled: those that meet the theorem's setting",
    "side": "images have side x side pixels of 3 channels",
    "input_dim": "n = 3 side^2",
}
NETWORK = {"network": "index of the network of its architecture and side", "input": "index of the input of its network"}
INPUT = {
    "value": "f(x): the difference of the two logits",
    "deviation": "the standard deviation of f(x) over the weights of the logits, those before them as they are",
    "input_norm": "||x||_2",
}
NORM = {"norm": "l1, l2 or linf"}
SAMPLE_COLUMNS = {
    **CELL,
    **NORM,
    **NETWORK,
    "distance": "length of the smallest perturbation found within the box that changes the sign of f; null where none was",
    "first_order": "the same for f as linearised at x, exactly; null where the box does not reach that boundary",
    "gradients": "gradients that the search took",
    **INPUT,
    "status": "ok; failed: no sign change found",
}


@dataclass(frozen=True)
class Looked:
    """A network, and those of its inputs that are looked at together."""

    network: int
    net: ImageNetwork
    inputs: range
    x: Tensor  # [len(inputs), n]


@dataclass(frozen=True)
class Setting:
    """Which networks and inputs."""

    architecture: str
    side: int
    networks: range
    inputs: int
    seed: int

    @property
    def layers(self) -> Architecture:
        """The architecture itself."""
        return ARCHITECTURES[self.architecture]

    @property
    def dim(self) -> int:
        """n."""
        return CHANNELS * self.side**2

    @property
    def cell(self) -> dict[str, str | int]:
        """The cell's columns."""
        return {"architecture": self.architecture, "side": self.side, "input_dim": self.dim}

    def images(self, network: int) -> Tensor:
        """The inputs [inputs, n] of a network."""
        draws = [stream(self.seed, "guarantees", "input", self.side, network, index).random(self.dim) for index in range(self.inputs)]
        return torch.tensor(np.stack(draws), dtype=DTYPE)

    def measured(self, device: str, measure: Callable[[Looked], list[pd.DataFrame]]) -> list[pd.DataFrame]:
        """The tables that `measure` makes of each network and its inputs, and a word now and then on how far the job is."""
        weights = sum(math.prod(shape) for _, shape in shapes(self.layers, self.side, CHANNELS))
        memory.require(3 * weights, f"{self.architecture}, side {self.side}")

        def looked(network: int, net: ImageNetwork, x: Tensor, inputs: range) -> list[pd.DataFrame]:
            return measure(Looked(network, net, inputs, x[inputs.start : inputs.stop]))

        progress, parts = sampling.Progress(1), list[pd.DataFrame]()
        progress.cell()
        for network in self.networks:
            progress.say(network - self.networks.start, len(self.networks))
            draw = stream(self.seed, "guarantees", "network", self.architecture, self.side, network)
            net = ImageNetwork.sample(draw, self.layers, self.side, CHANNELS, dtype=DTYPE, device=device)
            x = self.images(network).to(device)
            parts += sampling.halving(partial(looked, network, net, x), range(self.inputs))
        return parts

    def parameters(self, **more: object) -> dict[str, object]:
        """For the certificate."""
        networks = [self.networks.start, len(self.networks)]
        return {"architecture": self.architecture, "side": self.side, "networks": networks, "inputs": self.inputs, "seed": self.seed} | more


class Remembered:
    """A network that looks up the questions it was asked before: the searches in the three norms begin with the same ones."""

    KEPT = 8

    def __init__(self, net: ImageNetwork) -> None:
        self.net, self.answers = net, list[tuple[Tensor, tuple[Tensor, Tensor]]]()

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f [N] and its gradient [N, d] at x [N, d]."""
        for asked, answer in self.answers:
            if torch.equal(asked, x):
                return answer
        answer = self.net(x)
        if len(self.answers) < self.KEPT:
            self.answers.append((x, answer))
        return answer


def null(values: Tensor) -> np.ndarray:
    """In double precision, on the CPU; infinite ones are null."""
    array: np.ndarray = values.double().cpu().numpy()
    return np.where(np.isfinite(array), array, np.nan)


def linear_distance(norm: str, value: Tensor, gradient: Tensor, x: Tensor) -> Tensor:
    """The distance [N] to the boundary of the linear functions with these values [N] and gradients [N, d] at x [N, d], within the box."""
    delta = project(NORMS[norm], value, gradient, BOX[0] - x, BOX[1] - x)
    reached = (value + (gradient * delta).sum(-1)).abs() <= 1e-3 * value.abs()
    return torch.where(reached, torch.linalg.vector_norm(delta, NORMS[norm], dim=-1), torch.nan)


def attacked(model: Model, x: Tensor, norms: Sequence[str], effort: str) -> Iterator[tuple[str, Minimal]]:
    """The smallest perturbations found of inputs x [N, d], norm by norm; in l-infinity beginning with those in l2, which ends nearer."""
    start = None
    for norm in sorted(norms, key=lambda norm: norm != "l2"):
        found = smallest(model, x, NORMS[norm], box=BOX, effort=effort, start=start if norm == "linf" else None)
        start = found.points - x if norm == "l2" else start
        yield norm, found


def sample(setting: Setting, norms: Sequence[str], effort: str, device: str, out: Path) -> None:
    """The smallest perturbations found of each network and input, in each norm."""

    def measure(looked: Looked) -> list[pd.DataFrame]:
        x, tables, model = looked.x, [], Remembered(looked.net)
        value, gradient = model(x)
        columns = {"value": null(value), "deviation": null(looked.net.deviation(x)), "input_norm": null(x.norm(dim=1))}
        for norm, found in attacked(model, x, norms, effort):
            own = {
                "norm": norm,
                "network": looked.network,
                "input": np.array(looked.inputs),
                "distance": null(found.distance),
                "first_order": null(linear_distance(norm, value, gradient, x)),
                "gradients": found.gradients.cpu().numpy(),
                "status": np.array(STATUS)[found.status.cpu().numpy()],
            }
            tables.append(pd.DataFrame(setting.cell | own | columns))
        return tables

    parts = setting.measured(device, measure)
    sampling.write(out, parts, SAMPLE_COLUMNS, __name__, setting.parameters(norms=list(norms), effort=effort), device)
