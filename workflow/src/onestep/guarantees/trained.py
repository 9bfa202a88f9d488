"""What `guarantees` measures on trained networks, and on the same ones before their training (Figures 3 and 4).

attack: the smallest l1 perturbation that changes the class of random, training and test images. A network's own label is the one that is
to change. examples: the perturbations themselves, in the three norms, of a few test images.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import sampling
from onestep.attacks.minimal import STATUS, smallest
from onestep.attacks.projection import NORMS
from onestep.data.sources import TITLES
from onestep.guarantees import models
from onestep.guarantees.experiment import BOX
from onestep.guarantees.models import Facts, Images, Model
from onestep.networks.residual import ImageNetwork

ATTACK_COLUMNS = {
    "data": "the images, named for people; a stand-in says that it is one",
    "dataset": "name of the data set",
    "network": "index of the trained network",
    "state": "trained; random: the same network before its training",
    "kind": "random: pixels uniform in [0, 1]; training, test: images that the network was trained on, and others",
    "input": "index of the image among those of its kind",
    "norm": "l1",
    "distance": "length of the smallest perturbation found within the box that changes the sign of f; null where none was",
    "gradients": "gradients that the search took",
    "value": "f(x): the difference of the two logits",
    "correct": "whether f has the sign of the image's label; random images have none: false",
    "train_accuracy": "share of the images that the network was trained on that it has on the right side, at the end of its training",
    "test_accuracy": "the same of test images",
    "images": "images that it was trained on",
    "epochs": "epochs of its training",
    "filters": "share of the published number of filters",
    "whole": "whether it was trained on all training images",
    "status": "ok; failed: no sign change found",
}
EXAMPLE_COLUMNS = {
    "data": ATTACK_COLUMNS["data"],
    "dataset": ATTACK_COLUMNS["dataset"],
    "network": ATTACK_COLUMNS["network"],
    "input": "index of the test image",
    "norm": "l1, l2 or linf",
    "pixel": "index of the pixel, row by row",
    "channel": "index of the colour",
    "original": "the entry of the image",
    "change": "what the smallest perturbation found adds to it",
    "distance": "the perturbation's length; null where none was found",
    "value": "f(x)",
    "status": "ok, failed",
}


def _title(facts: Facts) -> str:
    """The images' name for people, without their classes: the data set's own name tells them."""
    name = TITLES[facts.data["images"]]
    return f"STAND-IN for {name}" if facts.data["stand_in"] else name


def _inputs(model: Model, images: Images, count: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Images [count, d] of each kind with their labels, drawn by the network's own stream; random ones have the label 0."""
    draw = model.facts.setting.stream("attacked")
    drawn = torch.tensor(draw.random((count, images.train_x.shape[1])), dtype=torch.float32)
    inputs = {"random": (drawn, torch.zeros(count))}
    for kind, x, y in (("training", images.train_x, images.train_y), ("test", images.test_x, images.test_y)):
        chosen = torch.from_numpy(draw.choice(len(x), min(count, len(x)), replace=False))
        inputs[kind] = (x[chosen], y[chosen])
    return inputs


def _attacked(net: ImageNetwork, x: Tensor, y: Tensor, effort: str, device: str, inputs: range) -> list[pd.DataFrame]:
    """The l1 distances of some of the images x [N, d] with labels y [N]."""
    part = slice(inputs.start, inputs.stop)
    placed = x[part].to(device)
    found = smallest(net, placed, NORMS["l1"], box=BOX, effort=effort)
    with torch.no_grad():
        value = net.value(placed).cpu()
    rows = {
        "input": np.array(inputs),
        "distance": found.distance.double().cpu().numpy(),
        "gradients": found.gradients.cpu().numpy(),
        "value": value.double().numpy(),
        "correct": (value * y[part] > 0).numpy(),
        "status": np.array(STATUS)[found.status.cpu().numpy()],
    }
    return [pd.DataFrame(rows)]


def attack(files: Sequence[Path], images: Path, count: int, effort: str, device: str, out: Path) -> None:
    """The l1 distances of `count` images of each kind, for each trained network and the same one before its training."""
    progress, parts = sampling.Progress(len(files)), []
    for file in files:
        model = models.load(file, device)
        facts = model.facts
        progress.cell()
        own = models.images(facts.setting, images)
        about: dict[str, Any] = {
            "data": _title(facts),
            "dataset": facts.setting.dataset,
            "network": facts.setting.network,
            "norm": "l1",
            "train_accuracy": facts.train_accuracy,
            "test_accuracy": facts.test_accuracy,
            "images": facts.used,
            "epochs": facts.epochs,
            "filters": facts.setting.width,
            "whole": facts.setting.images_used is None,
        }
        for kind, (x, y) in _inputs(model, own, count).items():
            for state, net in (("trained", model.network), ("random", model.start)):
                progress.say(0, 1, f"{kind} images, {state} networks: network")
                (rows,) = sampling.halving(partial(_attacked, net, x, y, effort, device), range(len(x)))
                parts.append(rows.assign(**about, state=state, kind=kind))
    seed = models.load(files[0]).facts.setting.seed
    sampling.write(out, parts, ATTACK_COLUMNS, __name__, {"images": count, "effort": effort, "seed": seed}, device)


def examples(file: Path, images: Path, count: int, device: str, out: Path) -> None:
    """The smallest perturbations found of `count` test images, in each norm, entry by entry."""
    model = models.load(file, device)
    facts = model.facts
    own = models.images(facts.setting, images)
    chosen = facts.setting.stream("examples").choice(len(own.test_x), min(count, len(own.test_x)), replace=False)
    x = own.test_x[torch.from_numpy(np.sort(chosen))].to(device)

    def measure(norm: str, inputs: range) -> list[pd.DataFrame]:
        part = x[inputs.start : inputs.stop]
        found = smallest(model.network, part, NORMS[norm], box=BOX)
        with torch.no_grad():
            value = model.network.value(part)
        tables = []
        for place, index in enumerate(inputs):
            entries = {
                "pixel": np.repeat(np.arange(own.side**2), own.channels),
                "channel": np.tile(np.arange(own.channels), own.side**2),
                "original": part[place].double().cpu().numpy(),
                "change": (found.points[place] - part[place]).double().cpu().numpy(),
            }
            about = {"data": _title(facts), "dataset": facts.setting.dataset, "network": facts.setting.network, "input": index}
            found_of = {
                "norm": norm,
                "distance": float(found.distance[place]),
                "value": float(value[place]),
                "status": STATUS[int(found.status[place])],
            }
            tables.append(pd.DataFrame(about | entries | found_of))
        return [pd.concat(tables)]

    parts = [table for norm in NORMS for table in sampling.halving(partial(measure, norm), range(len(x)))]
    sampling.write(out, parts, EXAMPLE_COLUMNS, __name__, {"images": count, "seed": facts.setting.seed}, device)
