"""What training near initialisation and exact steps save, beside a plain implementation of the same text on the same networks and images.

The plain one is what the text says, written with torch's autograd and optimiser: minibatches of 64, the distance of every neuron looked at
behind each step, a training for each C0, and the step searched on a grid of 0.001 along the unit gradient for all test images at once.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import records
from onestep.attacks.ray import two_layer_roots
from onestep.attacks.single_step import signs
from onestep.data import binary, prepare
from onestep.networks.two_layer import TwoLayer
from onestep.provenance import certificate
from onestep.seeds import stream
from onestep.training.near_init import NearInit

LR = 0.1
EPOCHS = 1000
BATCH = 64
GRID, GRID_END = 0.001, 5.0
COLUMNS = {
    "method": "this: one trajectory of single images and exact steps; plain: minibatches, a training for each C0, and a grid",
    "c0": "C0: training ends when a neuron has moved by more than C0 / sqrt(m)",
    "width": "width m",
    "input_dim": "input dimension d",
    "network": "index of the network: 0",
    "images": "training images that were used, each as often as it was",
    "training_seconds": "time of the training; null where the training for a larger C0 passed this ball",
    "attack_seconds": "time of finding the step for every test image",
    "errors": "test images on the wrong side",
    "gradient_norm": "mean ||grad f(x)|| over the test images on the right side",
    "perturbation_norm": "mean ||eta grad f(x)|| over those that are flipped",
}


def _plain_training(start: TwoLayer, x: Tensor, y: Tensor, radius: float, draw: np.random.Generator) -> tuple[TwoLayer, int]:
    """The last weights inside the ball, and how many images were used."""
    weights = start.weights.clone().requires_grad_()
    sgd = torch.optim.SGD([weights], lr=LR)
    used = 0
    for _ in range(EPOCHS):
        order = torch.from_numpy(draw.permutation(len(x)))
        for first in range(0, len(x), BATCH):
            part = order[first : first + BATCH]
            inside = weights.detach().clone()
            value = (x[part] @ weights.T).relu() @ start.output
            sgd.zero_grad()
            torch.nn.functional.softplus(-y[part] * value).mean().backward()  # type: ignore[no-untyped-call]
            sgd.step()
            used += len(part)
            if float((weights.detach() - start.weights).norm(dim=1).max()) > radius:
                return TwoLayer(inside, start.signs), used
    return TwoLayer(weights.detach(), start.signs), used


def _grid_search(net: TwoLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f [n], ||grad f|| [n] and the first length [n] on the grid along the unit gradient at which f has another sign."""
    value, gradient = net(x)
    norm, sign = gradient.norm(dim=1), signs(value)
    unit = -sign[:, None] * gradient / norm[:, None]
    length = torch.full_like(value, torch.nan)
    left = torch.arange(len(x))
    for step in range(1, round(GRID_END / GRID) + 1):
        flipped = sign[left] * net.value(x[left] + GRID * step * unit[left]) < 0
        length[left[flipped]] = GRID * step
        left = left[~flipped]
        if not len(left):
            break
    return value, norm, length


def _exact(net: TwoLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same with exact lengths."""
    value, gradient = net(x)
    norm, sign = gradient.norm(dim=1), signs(value)
    u, v = x @ net.weights.T, -sign[:, None] * (gradient @ net.weights.T)
    roots = two_layer_roots(u, v, sign[:, None] * net.output, 1e6, value.abs() / norm**2)
    return value, norm, roots.t * norm


def run(file: Path, side: int, width: int, radii: Sequence[float], seed: int, out: Path, table: Path) -> None:
    """Both ways to every C0, on images of length 1 of a prepared data set, resized to that side."""
    arrays, info = prepare.read(file)
    train_x, test_x = (torch.from_numpy(binary.flat(binary.resized(arrays[f"{part}_x"], side, "area"), True)) for part in ("train", "test"))
    train_y, test_y = (torch.from_numpy(arrays[f"{part}_y"].astype(np.float32)) for part in ("train", "test"))
    draw = stream(seed, "benchmarks", "near init", side, width)
    weights = draw.standard_normal((width, train_x.shape[1]), dtype=np.float32)
    start = TwoLayer(torch.from_numpy(weights), torch.from_numpy(draw.choice(np.array([-1, 1], np.float32), width)))
    rows: list[dict[str, Any]] = []

    def row(method: str, c0: float, net: TwoLayer, images: int, seconds: float) -> None:
        begun = time.perf_counter()
        with torch.inference_mode():
            value, norm, length = (_exact if method == "this" else _grid_search)(net, test_x)
        spent, right = time.perf_counter() - begun, value * test_y > 0
        found = {"errors": int((~right).sum()), "gradient_norm": float(norm[right].mean())}
        found |= {"perturbation_norm": float(length[right & length.isfinite()].mean())}
        where = {"method": method, "c0": c0, "width": width, "input_dim": train_x.shape[1], "network": 0}
        rows.append(where | {"images": images, "training_seconds": seconds, "attack_seconds": spent} | found)

    orders = [draw.permutation(len(train_y)) for _ in range(EPOCHS)]
    begun = time.perf_counter()
    lit = np.flatnonzero(train_x.numpy().any(0))
    x = np.ascontiguousarray(train_x.numpy()[:, lit])
    near = NearInit(
        np.ascontiguousarray(weights[:, lit]),
        start.signs.numpy(),
        x,
        train_y.numpy().astype(np.float64),
        lr=LR,
        radii=radii,
        order=orders.__getitem__,
    )
    training, _ = near.run(EPOCHS)
    spent = time.perf_counter() - begun
    for index, (c0, ball) in enumerate(zip(radii, training.left, strict=False)):
        trained = weights.copy()
        trained[:, lit] += ball.displacement
        last = index == len(training.left) - 1
        row("this", c0, TwoLayer(torch.from_numpy(trained), start.signs), ball.steps, spent if last else np.nan)
    for c0 in radii:
        begun = time.perf_counter()
        net, used = _plain_training(start, train_x, train_y, c0 / width**0.5, draw)
        row("plain", c0, net, used, time.perf_counter() - begun)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).assign(data=prepare.title(info))
    born = certificate(parameters={"side": side, "width": width, "radii": list(radii), "seed": seed}, modules=[__name__], seed=seed)
    records.write(out, frame, COLUMNS | {"data": "the images, named for people"}, born)
    records.write_table(table, frame, born)
