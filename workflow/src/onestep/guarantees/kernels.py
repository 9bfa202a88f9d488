"""What the kernels of infinitely wide networks say.

kernels: Theorem 2 on the kernels themselves, a certificate and a search against it. law: the distances by the first-order law.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from onestep import memory, sampling
from onestep.guarantees.experiment import CELL, CHANNELS, NORM, Setting, linear_distance, null
from onestep.networks.residual import ARCHITECTURES
from onestep.seeds import stream
from onestep.theory.residual_kernels import first_order
from onestep.theory.smoothness import certificate, largest_distance_ratio, smallest_deviation_ratio

KERNEL_COLUMNS = {
    **CELL,
    "network": "0: a kernel is that of all networks of its architecture",
    "input": "0: and of all inputs",
    "stretch": "M = sqrt(input pixels / pixels before the flattening)",
    "certificate": "sup (d(x, y) / ||x - y||) / (M inf (sqrt K(x, x) / ||x||)) is at most this, by proof",
    "deviation_ratio": "the smallest sqrt(K(x, x)) / ||x|| that was found",
    "distance_ratio": "the largest d(x, y) / ||x - y|| that was found",
    "status": "ok",
}
LAW_COLUMNS = {
    **CELL,
    **NORM,
    "network": "index of the draw of f(x) and its gradient",
    "input": "index of the image x",
    "distance": "within the box, of the linear function with the drawn value and gradient; null where the box does not reach its boundary",
    "status": "ok, failed",
}


def kernels(architecture: str, sides: Sequence[int], steps: int, seed: int, out: Path) -> None:
    """For each side: the certificate, and what ascents of so many steps find."""
    layers = ARCHITECTURES[architecture]
    progress, parts = sampling.Progress(len(sides)), []
    for side in sides:
        progress.cell()
        progress.say(0, 1, "search")
        draw = stream(seed, "guarantees", "kernels", architecture, side)
        row = {
            "architecture": architecture,
            "side": side,
            "input_dim": CHANNELS * side**2,
            "network": 0,
            "input": 0,
            "stretch": layers.stretch(side),
            "certificate": certificate(layers, side),
            "deviation_ratio": smallest_deviation_ratio(draw, layers, side, steps),
            "distance_ratio": largest_distance_ratio(draw, layers, side, steps),
            "status": "ok",
        }
        parts.append(pd.DataFrame([row]))
    sampling.write(out, parts, KERNEL_COLUMNS, __name__, {"architecture": architecture, "sides": list(sides), "steps": steps, "seed": seed})


def law(setting: Setting, norms: Sequence[str], out: Path) -> None:
    """Draws of the first-order law at the first inputs of the first network: as many draws as there are networks."""
    memory.require(10 * setting.dim * setting.inputs, f"{setting.architecture}, side {setting.side}")
    x = setting.images(0).double()
    draw = stream(setting.seed, "guarantees", "law", setting.architecture, setting.side)
    parts = []
    for index, (value, gradient) in enumerate(first_order(draw, setting.layers, setting.side, x, len(setting.networks))):
        for norm in norms:
            distance = null(linear_distance(norm, value, gradient, x))
            own = {"norm": norm, "network": index, "input": np.arange(setting.inputs), "distance": distance}
            parts.append(pd.DataFrame(setting.cell | own | {"status": np.where(np.isnan(distance), "failed", "ok")}))
    sampling.write(out, parts, LAW_COLUMNS, __name__, setting.parameters(norms=list(norms)))
