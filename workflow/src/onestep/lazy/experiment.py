"""What `lazy` measures on trained networks: the first step along the gradient that flips the prediction of a test image."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import sampling
from onestep.attacks.ray import SWITCHED, UNSWITCHED, two_layer_roots
from onestep.data.prepare import title
from onestep.errors import Mistake
from onestep.lazy import models
from onestep.lazy.models import Images, Model

ATTACK_COLUMNS = {
    "c0": "C0, the radius of the ball that training ends at, times sqrt(m); infinite where it ends nowhere",
    "width": "width m",
    "input_dim": sampling.COLUMNS["input_dim"],
    "run": "index of the run: its own starting weights and order of the images",
    "input": "index of the test image",
    "value": sampling.COLUMNS["value"],
    "gradient_norm": sampling.COLUMNS["gradient_norm"],
    "step": "|eta|, the smallest step along the gradient that changes the sign of f; null where none does",
    "perturbation_norm": "||eta grad f(x)||; null where step is",
    "input_norm": "||x||",
    "correct": "whether the sign of f(x) is the label's",
    "status": "switched; unswitched: no step changes the sign; dead: f(x) is 0",
    "data": "the images, named for people; a stand-in says that it is one",
    "protocol": "corrected: what the text says; as_published: what the authors' code does",
    "norm": "unit: images of length 1; pixels: values in [0, 1]",
    "bias": "how hidden biases start: none, torch, normal or zero",
}
_NUMBERS = 2**22
"""About how many numbers are held at once."""
CAP = 1e6
"""Beyond every step: trained networks have no published cap."""


def _network(model: Model) -> tuple[Tensor, Tensor]:
    """W [m, d] or [m, 1 + d], and a / sqrt(m)."""
    return torch.from_numpy(model.weights), torch.from_numpy(model.signs) / len(model.signs) ** 0.5


def _steps(model: Model, x: Tensor, biased: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f [n], ||grad f|| [n], |eta| [n] and the status at images x [n, d]."""
    W, a = _network(model)
    u = x @ W.T
    value = u.relu() @ a + model.output_bias
    gradient = (a * (u > 0)) @ W
    if biased:
        gradient[:, 0] = 0
    sign = torch.where(value < 0, -1.0, 1.0)
    v = -sign[:, None] * (gradient @ W.T)
    norm = torch.linalg.vector_norm(gradient, dim=-1)
    guess = torch.where(norm > 0, value.abs() / norm**2, 1.0)
    if model.output_bias:
        # One more neuron that is always 1.
        ones = torch.ones(len(x), 1)
        u, v = torch.cat([u, ones], 1), torch.cat([v, 0 * ones], 1)
        a = torch.cat([a, torch.tensor([model.output_bias])])
    roots = two_layer_roots(u, v, sign[:, None] * a, CAP, guess)
    status = torch.where(roots.status == SWITCHED, SWITCHED, UNSWITCHED)
    return value, norm, roots.t, torch.where(value == 0, 2, status)


def drawn(images: Images, model: Model, count: int | None) -> np.ndarray:
    """The test images that are looked at: all, or so many drawn by the run's own stream, ascending."""
    every = np.arange(len(images.test_x))
    if count is None or count >= len(every):
        return every
    return np.sort(models.setting_of(model).stream("test images").choice(every, count, replace=False))


@torch.inference_mode()
def attack(folder: Path, file: Path | None, count: int | None, out: Path) -> None:
    """Figures 2, 3, 5, 6 and 7: the smallest step of every test image, for every model of a folder.

    `file`: the images, if they are not those that the model was trained on, where they were then.
    """
    files = sorted(folder.glob("**/c0-*.safetensors"))
    if not files:
        raise Mistake(f"{folder}: holds no models; train them with `onestep lazy train`")
    trained = models.setting_of(models.read(files[0]))
    parameters = {"models": str(folder), "test_images": count, "seed": trained.seed, "lr": trained.lr}
    parts: list[pd.DataFrame] = []
    for path in files:
        model = models.read(path)
        setting = models.setting_of(model)
        images = models.images(setting, file or Path(model.info["file"]))
        chosen = drawn(images, model, count)
        biased = setting.bias != "none"
        size = max(1, _NUMBERS // setting.width)
        found = [_steps(model, torch.from_numpy(images.test_x[chosen[i : i + size]]), biased) for i in range(0, len(chosen), size)]
        value, norm, step, status = (torch.cat(part).numpy().astype(np.float64) for part in zip(*found, strict=True))
        x = images.test_x[chosen, int(biased) :].astype(np.float64)
        parts.append(
            pd.DataFrame(
                {
                    "data": title(images.info),
                    "protocol": setting.protocol,
                    "norm": "unit" if setting.unit_norm else "pixels",
                    "bias": setting.bias,
                    "c0": model.c0,
                    "width": setting.width,
                    "input_dim": x.shape[1],
                    "run": setting.run,
                    "input": chosen,
                    "value": value,
                    "gradient_norm": norm,
                    "step": step,
                    "perturbation_norm": step * norm,
                    "input_norm": np.linalg.norm(x, axis=1),
                    "correct": value * images.test_y[chosen] > 0,
                    "status": np.array(("unswitched", "switched", "dead"))[status.astype(int)],
                }
            )
        )
    sampling.write(out, parts, ATTACK_COLUMNS, __name__, parameters)
