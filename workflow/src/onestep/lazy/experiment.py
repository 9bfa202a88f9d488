"""What `lazy` measures on networks that were trained near their start.

The first step along the gradient that flips the prediction of a test image (Figures 2, 3, 5, 6 and 7), what it loses against the smallest
perturbation, and how far a training without a ball travels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import sampling
from onestep.attacks.minimal import smallest
from onestep.attacks.ray import SWITCHED, UNSWITCHED, two_layer_roots
from onestep.attacks.single_step import signs
from onestep.data.prepare import title
from onestep.errors import Mistake
from onestep.lazy import models, starts
from onestep.lazy.models import Model
from onestep.lazy.starts import Images
from onestep.networks.two_layer import TwoLayer
from onestep.theory.certificates import l2_lower_bound

REACH = 2.0
"""The length, times sqrt(d), over which the gradient's change is measured: about that of a step in the smallest ball."""
_NETWORK = {
    "c0": "C0, the radius of the ball that training ends at, times sqrt(m); infinite where it ends nowhere",
    "width": "width m",
    "input_dim": sampling.COLUMNS["input_dim"],
    "run": "index of the run: its own starting weights and order of the images",
}
_IMAGE = {
    "input": "index of the test image",
    "value": sampling.COLUMNS["value"],
    "gradient_norm": sampling.COLUMNS["gradient_norm"],
    "step": "|eta|, the smallest step along the gradient that changes the sign of f; null where none does",
    "perturbation_norm": "||eta grad f(x)||; null where step is",
    "input_norm": "||x||",
}
_KIND = {
    "status": "switched; unswitched: no step changes the sign; dead: f(x) is 0",
    "data": "the images, named for people; a stand-in says that it is one",
    "protocol": "corrected: what the text says; as_published: what the authors' code does",
    "norm": "unit: images of length 1; pixels: values in [0, 1]",
    "bias": "how hidden biases start: none, torch, normal or zero",
    "ended": "left: training left the ball, else it ended inside: learned, no progress or epochs, as `training.near_init` has them",
}
ATTACK_COLUMNS = _NETWORK | _IMAGE | {"correct": "whether the sign of f(x) is the label's"} | _KIND
BRACKET_COLUMNS = (
    _NETWORK
    | _IMAGE
    | {
        "gradient_change": f"||grad f(x + delta) - grad f(x)|| for ||delta|| = {REACH:g} / sqrt(d) down the gradient",
        "found": "the smallest l2 length found of a perturbation that changes the sign of f; null where none was",
        "bound": "an l2 length for which it is certain that no shorter perturbation changes the sign of f",
    }
    | _KIND
)
JOURNEY_COLUMNS = (
    _NETWORK
    | {
        "steps": "steps of SGD, one image each",
        "epochs": "the same in passes through the training images",
        "farthest": "sqrt(m) max_s ||w_s - w_s0||, the C0 of the smallest ball that holds the weights",
        "median": "sqrt(m) times the median of ||w_s - w_s0||",
        "changed": "share of pairs of a neuron and a test image that have another activation than at the start",
        "alignment": "cosine between the tangent kernel's matrix on test images and the one at the start",
    }
    | {name: meaning for name, meaning in _KIND.items() if name != "status"}
)
_NUMBERS = 2**22
"""About how many numbers are held at once."""
CAP = 1e6
"""Beyond every step: trained networks have no published cap."""


def _steps(net: TwoLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f [n], ||grad f|| [n], |eta| [n] and the status at images x [n, d]."""
    value, gradient = net(x)
    sign = signs(value)
    u, v, a = x @ net.weights.T, -sign[:, None] * (gradient @ net.weights.T), net.output
    norm = torch.linalg.vector_norm(gradient, dim=-1)
    guess = torch.where(norm > 0, value.abs() / norm**2, 1.0)
    if net.output_bias:
        # One more neuron that is always 1.
        ones = torch.ones_like(value)[:, None]
        u, v = torch.cat([u, ones], 1), torch.cat([v, 0 * ones], 1)
        a = torch.cat([a, torch.full_like(a[:1], net.output_bias)])
    roots = two_layer_roots(u, v, sign[:, None] * a, CAP, guess)
    status = torch.where(roots.status == SWITCHED, SWITCHED, UNSWITCHED)
    return value, norm, roots.t, torch.where(value == 0, 2, status)


def drawn(images: Images, model: Model, count: int | None) -> np.ndarray:
    """The test images that are looked at: all, or so many drawn by the run's own stream, ascending."""
    every = np.arange(len(images.test_x))
    if count is None or count >= len(every):
        return every
    return np.sort(models.setting_of(model).stream("test images").choice(every, count, replace=False))


def _models(folder: Path, file: Path | None) -> Iterator[tuple[Model, Images]]:
    """Every model of a folder, with its images."""
    # Side by side, not `**`: that follows no links, of which a folder from the cache is made.
    files = sorted([*folder.glob("c0-*.safetensors"), *folder.glob("side-*/c0-*.safetensors")])
    if not files:
        raise Mistake(f"{folder}: holds no models; train them with `onestep lazy train`")
    for path in files:
        model = models.read(path)
        yield model, starts.images(models.setting_of(model), file or Path(model.info["file"]))


def cell(model: Model, images: Images) -> dict[str, Any]:
    """What a record says of the network it is about."""
    setting = models.setting_of(model)
    return {
        "data": title(images.info),
        "protocol": setting.protocol,
        "norm": "unit" if setting.unit_norm else "pixels",
        "bias": setting.bias,
        "c0": model.c0,
        "width": setting.width,
        "input_dim": images.test_x.shape[1] - (setting.bias != "none"),
        "run": setting.run,
        "ended": model.info["stop"],
    }


@torch.inference_mode()
def attack(folder: Path, file: Path | None, count: int | None, out: Path) -> None:
    """Figures 2, 3, 5, 6 and 7: the smallest step of every test image, for every model of a folder.

    `file`: the images, if they are not those that the model was trained on, where they were then.
    """
    parts: list[pd.DataFrame] = []
    for model, images in _models(folder, file):
        setting, net, chosen = models.setting_of(model), model.network(), drawn(images, model, count)
        size = max(1, _NUMBERS // setting.width)
        found = [_steps(net, torch.from_numpy(images.test_x[chosen[i : i + size]])) for i in range(0, len(chosen), size)]
        value, norm, step, status = (torch.cat(part).numpy().astype(np.float64) for part in zip(*found, strict=True))
        parts.append(
            pd.DataFrame(
                cell(model, images)
                | {
                    "input": chosen,
                    "value": value,
                    "gradient_norm": norm,
                    "step": step,
                    "perturbation_norm": step * norm,
                    "input_norm": np.linalg.norm(images.test_x[chosen, int(net.biased) :].astype(np.float64), axis=1),
                    "correct": value * images.test_y[chosen] > 0,
                    "status": np.array(("unswitched", "switched", "dead"))[status.astype(int)],
                }
            )
        )
    parameters = {"models": str(folder), "test_images": count, "seed": setting.seed, "lr": setting.lr}
    sampling.write(out, parts, ATTACK_COLUMNS, __name__, parameters)


def journey(folder: Path, file: Path | None, out: Path) -> None:
    """Where laziness ends: the way of every training of a folder that no ball ended."""
    parts: list[pd.DataFrame] = []
    for model, images in _models(folder, file):
        setting = models.setting_of(model)
        if model.c0 == models.UNCONSTRAINED and "path" in model.info:
            path = pd.DataFrame(model.info["path"])
            parts.append(path.assign(**cell(model, images), epochs=path["steps"] / len(images.train_x)))
    if not parts:
        raise Mistake(f"{folder}: holds no model of a training without a ball; train it with `onestep lazy train --c0 inf`")
    sampling.write(out, parts, JOURNEY_COLUMNS, __name__, {"models": str(folder), "seed": setting.seed, "epochs": setting.epochs})


@torch.inference_mode()
def bracket(folder: Path, file: Path | None, count: int, out: Path) -> None:
    """What the single step loses: beside it the smallest l2 distance that is found, and a bound that none is below.

    For every model of a folder, on so many test images that it gets right, drawn by the run's own stream; all in double precision.
    """
    parts: list[pd.DataFrame] = []
    for model, images in _models(folder, file):
        setting, net = models.setting_of(model), model.network(torch.float64)
        if net.output_bias:
            raise Mistake(f"{folder}: its networks have an output bias, which the certificate does not know; name models without one")
        order = setting.stream("bracketed images").permutation(len(images.test_x))
        right = net.value(torch.from_numpy(images.test_x[order]).double()).numpy() * images.test_y[order] > 0
        chosen = np.sort(order[right][:count])
        x = torch.from_numpy(images.test_x[chosen]).double()
        value, norm, step, status = _steps(net, x)
        found = smallest(net, x, 2)
        gradient = net.gradient(x)
        beyond = x - (REACH * signs(value) / x[:, int(net.biased) :].shape[1] ** 0.5 / norm)[:, None] * gradient
        first = int(net.biased)
        bias = net.weights[:, 0] if net.biased else None
        bounds = [l2_lower_bound(net.weights[:, first:], bias, net.signs, image[first:]) for image in x]
        parts.append(
            pd.DataFrame(
                cell(model, images)
                | {
                    "input": chosen,
                    "value": value.numpy(),
                    "gradient_norm": norm.numpy(),
                    "step": step.numpy(),
                    "perturbation_norm": (step * norm).numpy(),
                    "input_norm": x[:, first:].norm(dim=1).numpy(),
                    "gradient_change": (net.gradient(beyond) - gradient).norm(dim=1).numpy(),
                    "found": found.distance.numpy(),
                    "bound": bounds,
                    "status": np.array(("unswitched", "switched", "dead"))[status.numpy()],
                }
            )
        )
    sampling.write(out, parts, BRACKET_COLUMNS, __name__, {"models": str(folder), "test_images": count, "seed": setting.seed})
