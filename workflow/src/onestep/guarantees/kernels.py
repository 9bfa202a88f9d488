"""Theorem 2 of `guarantees` on the kernels of infinitely wide networks themselves: a certificate, and a search against it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from onestep import sampling
from onestep.guarantees.experiment import CHANNELS
from onestep.networks.residual import ARCHITECTURES
from onestep.seeds import stream
from onestep.theory.smoothness import certificate, largest_distance_ratio, smallest_deviation_ratio

COLUMNS = {
    "architecture": "as in `sample`",
    "side": "images have side x side pixels of 3 channels",
    "input_dim": "n = 3 side^2",
    "network": "0: a kernel is that of all networks of its architecture",
    "input": "0: and of all inputs",
    "stretch": "M = sqrt(input pixels / pixels before the flattening)",
    "certificate": "sup (d(x, y) / ||x - y||) / (M inf (sqrt K(x, x) / ||x||)) is at most this, by proof",
    "deviation_ratio": "the smallest sqrt(K(x, x)) / ||x|| that was found",
    "distance_ratio": "the largest d(x, y) / ||x - y|| that was found",
    "status": "ok",
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
    sampling.write(out, parts, COLUMNS, __name__, {"architecture": architecture, "sides": list(sides), "steps": steps, "seed": seed})
