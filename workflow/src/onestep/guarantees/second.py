"""A check on the distances of random networks: a second search of another kind, from where the first one ended."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from onestep import sampling
from onestep.attacks.minimal import STATUS
from onestep.attacks.projection import NORMS
from onestep.attacks.search import closer
from onestep.guarantees.experiment import BOX, CELL, NETWORK, NORM, SAMPLE_COLUMNS, Looked, Setting, attacked, null
from onestep.seeds import stream

COLUMNS = {
    **CELL,
    **NORM,
    "effort": "of the first search: fast, as in `sample`; or thorough",
    **NETWORK,
    "distance": SAMPLE_COLUMNS["distance"],
    "second": "length of the smallest that the second search found; null where it found none",
    "status": SAMPLE_COLUMNS["status"],
}


def search(setting: Setting, norms: Sequence[str], effort: str, device: str, out: Path) -> None:
    """The smallest perturbations found, and what a second search of another kind finds from there."""

    def measure(looked: Looked) -> list[pd.DataFrame]:
        net, x, tables = looked.net, looked.x, []
        for norm, found in attacked(net, x, norms, effort):
            draw = stream(setting.seed, "guarantees", "search", setting.architecture, setting.side, looked.network, norm)
            # One stream for all inputs of a network: what belongs to those before these is passed over.
            draw.standard_normal((looked.inputs.start, setting.dim))
            own = {
                "norm": norm,
                "effort": effort,
                "network": looked.network,
                "input": np.array(looked.inputs),
                "distance": null(found.distance),
                "second": null(closer(net, x, found.points - x, NORMS[norm], BOX, draw)),
                "status": np.array(STATUS)[found.status.cpu().numpy()],
            }
            tables.append(pd.DataFrame(setting.cell | own))
        return tables

    parts = setting.measured(device, measure)
    sampling.write(out, parts, COLUMNS, __name__, setting.parameters(norms=list(norms), effort=effort), device)
