"""The training of the networks of `lazy`, and the files that hold them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from onestep import memory
from onestep.errors import Mistake
from onestep.lazy import starts
from onestep.lazy.starts import Array, Images, Setting
from onestep.networks.two_layer import TwoLayer
from onestep.provenance import certificate, whole
from onestep.sampling import Progress
from onestep.training import near_init, published

UNCONSTRAINED = float("inf")
"""The C0 of a training that no ball ends."""
LOOKED_AT = 200
"""Test images on which the way of such a training is followed."""


@dataclass(frozen=True)
class Model:
    """A trained network."""

    weights: Array
    signs: Array
    output_bias: float
    c0: float
    info: dict[str, Any]  # of its training, its setting and its images

    def network(self, dtype: torch.dtype = torch.float32) -> TwoLayer:
        """The network itself."""
        weights, signs = (torch.from_numpy(part).to(dtype) for part in (self.weights, self.signs))
        return TwoLayer(weights, signs, self.output_bias, self.info["setting"]["bias"] != "none")


def name(c0: float) -> str:
    """The file of the model for a C0."""
    return f"c0-{c0:g}.safetensors"


def write(folder: Path, setting: Setting, c0: float, weights: Array, signs: Array, output_bias: float, info: dict[str, Any]) -> None:
    """Writes one model."""
    born = certificate(parameters=asdict(setting) | {"c0": c0}, modules=[__name__], seed=setting.seed)
    metadata = {"model": json.dumps(info | {"c0": c0, "output_bias": output_bias}), "provenance": json.dumps(born)}
    with whole(folder / name(c0)) as temporary:
        temporary.write_bytes(save({"weights": weights, "signs": signs}, metadata=metadata))


def read(file: Path) -> Model:
    """A model that `write` has written."""
    try:
        with safe_open(file, framework="numpy") as stored:
            info = json.loads((stored.metadata() or {})["model"])
            return Model(stored.get_tensor("weights"), stored.get_tensor("signs"), info["output_bias"], info["c0"], info)
    except FileNotFoundError:
        raise Mistake(f"{file}: no such model; train it with `onestep lazy train`") from None
    except (SafetensorError, KeyError):
        raise Mistake(f"{file}: not a model of `onestep lazy train`; remove it and train it again") from None


def setting_of(model: Model) -> Setting:
    """How a model was trained."""
    return Setting(**model.info["setting"])


def _journey(setting: Setting, x: Images, weights: Array) -> Callable[[Array], dict[str, float]]:
    """What is noted of W - W_0 [m, lit] on the way of a training: on test images, drawn by the run's own stream.

    The features of an image are the gradient of f in W: x times the indicators of the active neurons. Their alignment with those at the
    start is the cosine between the two kernel matrices, <K_0, K_t> / (||K_0|| ||K_t||), K(x, x') = <x, x'> #(active at both) / m.
    """
    chosen = setting.stream("journey").choice(len(x.test_x), min(LOOKED_AT, len(x.test_x)), replace=False)
    images, lit = x.test_x[chosen], x.lit
    u = images @ weights.T
    inner = images @ images.T

    def kernel(active: NDArray[np.bool_]) -> Array:
        indicators = active.astype(np.float32)
        return inner * (indicators @ indicators.T)

    start = kernel(u > 0)

    def look(displacement: Array) -> dict[str, float]:
        active = u + images[:, lit] @ displacement.T > 0
        now = kernel(active)
        moved = near_init.distances(displacement) * len(weights) ** 0.5
        return {
            "farthest": float(moved.max()),
            "median": float(np.median(moved)),
            "changed": float((active != (u > 0)).mean()),
            "alignment": float((start * now).sum() / (np.linalg.norm(start) * np.linalg.norm(now))),
        }

    return look


def _train(setting: Setting, radii: Sequence[float], file: Path, out: Path, progress: Progress) -> None:
    """Trains one network and writes a model for every C0; `UNCONSTRAINED` is a training of its own."""
    x = starts.images(setting, file)
    channels = x.train_x.shape[1] - (setting.bias != "none")
    weights, signs, output_bias = starts.start(setting, channels // setting.side**2)
    memory.require(6 * weights.size, f"width {setting.width:,}, side {setting.side}")
    # A pixel that is 0 in every training image moves no weight: the others are trained.
    lit = x.lit
    lit_weights, lit_x = np.ascontiguousarray(weights[:, lit]), np.ascontiguousarray(x.train_x[:, lit])
    shared = {"setting": asdict(setting), "images": x.info, "file": str(file)}

    def keep(c0: float, displacement: Array, how: dict[str, Any]) -> None:
        trained = weights.copy()
        trained[:, lit] += displacement
        write(out, setting, c0, trained, signs, output_bias, shared | how)

    if setting.protocol == "as_published":
        ended = published.train(
            lit_weights, signs, lit_x, x.train_y, output_bias=output_bias, lr=setting.lr, radii=radii, epochs=setting.epochs
        )
        for c0, end in zip(radii, ended, strict=True):
            how = {"stop": "left" if end.outside else "epochs", "epochs": end.epochs, "distance": end.distance}
            keep(c0, end.displacement, how)
        return

    def order(epoch: int) -> NDArray[np.int64]:
        return setting.stream("order", epoch).permutation(len(x.train_x))

    def said(training: near_init.Training) -> None:
        progress.say(training.steps, setting.epochs * len(x.train_x), "step")

    balls = [radius for radius in radii if radius != UNCONSTRAINED]
    for group in ([balls] if balls else []) + ([[]] if UNCONSTRAINED in radii else []):
        look = None if group else _journey(setting, x, weights)
        near = near_init.NearInit(lit_weights, signs, lit_x, x.train_y, lr=setting.lr, radii=group, order=order, look=look)
        checkpoint = out.with_name(f"{out.name}.{'balls' if group else 'free'}.checkpoint")
        training, stop = near.run(setting.epochs, 0.0 if group else setting.learned, checkpoint, said)
        for c0, ball in zip(group, training.left, strict=False):
            keep(c0, ball.displacement, {"stop": "left", "steps": ball.steps, "distance": ball.distance})
        # A ball that was not left: the weights at the end lie inside it.
        for c0 in group[len(training.left) :] if group else [UNCONSTRAINED]:
            distance = float(near_init.distances(training.displacement).max())
            keep(c0, training.displacement, {"stop": stop, "steps": training.steps, "distance": distance, "path": training.path})
        checkpoint.unlink(missing_ok=True)


def train(settings: Sequence[Setting], radii: Sequence[float], file: Path, out: Path) -> None:
    """Trains a network for each setting (they differ in their side) to each C0, `UNCONSTRAINED` among them, and writes the models."""
    if sorted(set(radii)) != list(radii):
        raise Mistake(f"--c0 {' '.join(f'{c0:g}' for c0 in radii)}: name the radii in ascending order, each once")
    progress = Progress(len(settings))
    for setting in settings:
        progress.cell()
        _train(setting, radii, file, out / f"side-{setting.side}", progress)
