"""The second part of Theorem 1: how far random networks keep their class along a random direction."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from onestep import sampling
from onestep.attacks.scan import first_root
from onestep.guarantees.experiment import CELL, DTYPE, INPUT, NETWORK, Looked, Setting, null
from onestep.seeds import stream

COLUMNS = {
    **CELL,
    **NETWORK,
    "length": "the smallest t at which f(x + t v) changes its sign, v a random direction; null where none below the cap does",
    "cap": "t is looked for below this",
    **INPUT,
    "status": "switched, unswitched",
}


def rays(setting: Setting, cap: float, device: str, out: Path) -> None:
    """The first sign change along a random direction, below `cap` times ||x||, for each network and input."""

    def measure(looked: Looked) -> list[pd.DataFrame]:
        net, x = looked.net, looked.x
        draws = [
            stream(setting.seed, "guarantees", "direction", setting.side, looked.network, index).standard_normal(setting.dim)
            for index in looked.inputs
        ]
        v = torch.tensor(np.stack(draws), dtype=DTYPE, device=device)
        length = cap * x.norm(dim=1)
        root, value = first_root(net, x, v / v.norm(dim=1, keepdim=True), length)
        own = {
            "network": looked.network,
            "input": np.array(looked.inputs),
            "length": null(root),
            "cap": null(length),
            "value": null(value),
            "deviation": null(net.deviation(x)),
            "input_norm": null(x.norm(dim=1)),
            "status": np.where(root.isnan().cpu().numpy(), "unswitched", "switched"),
        }
        return [pd.DataFrame(setting.cell | own)]

    parts = setting.measured(device, measure)
    sampling.write(out, parts, COLUMNS, __name__, setting.parameters(cap=cap), device)
