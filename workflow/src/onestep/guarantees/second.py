"""A check on the distances of random networks: a second search of another kind, from where the first one ended."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from onestep import sampling
from onestep.attacks.minimal import STATUS, smallest
from onestep.attacks.projection import NORMS
from onestep.attacks.search import closer
from onestep.guarantees.experiment import BOX, CELL, NETWORK, NORM, SAMPLE_COLUMNS, Setting, null
from onestep.seeds import stream

COLUMNS = {
    **CELL,
    **NORM,
    **NETWORK,
    "distance": SAMPLE_COLUMNS["distance"],
    "second": "length of the smallest that the second search found; null where it found none",
    "status": SAMPLE_COLUMNS["status"],
}


def search(setting: Setting, norms: Sequence[str], effort: str, device: str, out: Path) -> None:
    """The smallest perturbations found, and what a second search of another kind finds from there."""
    parts = []
    for network, net, x in setting.pairs(device):
        for norm in norms:
            found = smallest(net, x, NORMS[norm], box=BOX, effort=effort)
            draw = stream(setting.seed, "guarantees", "search", setting.architecture, setting.side, network, norm)
            own = {
                "norm": norm,
                "network": network,
                "input": np.arange(setting.inputs),
                "distance": null(found.distance),
                "second": null(closer(net, x, found.points - x, NORMS[norm], BOX, draw)),
                "status": np.array(STATUS)[found.status.cpu().numpy()],
            }
            parts.append(pd.DataFrame(setting.cell | own))
    sampling.write(out, parts, COLUMNS, __name__, setting.parameters(norms=list(norms), effort=effort), device)
