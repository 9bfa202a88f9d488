"""Tiny records of every experiment, sampled once."""

from pathlib import Path

import pytest

from onestep.singlestep import experiment
from onestep.singlestep.summary import ENOUGH, SMOOTH

Records = dict[str, list[Path]]
DIMS, WIDTHS, DEPTHS, VARIANT_WIDTH = [10, 60], [10, 60], [1, 2], 60
COEFFICIENTS = [0.25, 1.0, 1.5, 2.0, 20.0]
NETWORKS, FEW = ENOUGH, 3
WIDEST = 200
"""Only FEW networks, with one input each."""
REACH, CAP, SEED = 4.0, 20.0, 1


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("records")
    files: Records = {name: [] for name in ("sample", "universal", "fixed", "variants", "hessian", "bracket", "limit")}

    def new(kind: str, *name: object) -> Path:
        files[kind].append(folder / ("-".join(map(str, (kind, *name))) + ".parquet"))
        return files[kind][-1]

    for depth in DEPTHS:
        for width in WIDTHS:
            experiment.sample(depth, width, DIMS, 0, NETWORKS, 2, SEED, CAP, "cpu", new("sample", depth, width))
        experiment.sample(depth, WIDEST, DIMS, 0, FEW, 1, SEED, CAP, "cpu", new("sample", depth, WIDEST))
    for width in WIDTHS:
        experiment.universal(width, DIMS, 0, NETWORKS, 2, REACH, SEED, CAP, "cpu", new("universal", width))
        experiment.fixed(width, DIMS, 0, NETWORKS, 1, COEFFICIENTS, SEED, "cpu", new("fixed", "relu", width))
    for name in SMOOTH:
        experiment.fixed(VARIANT_WIDTH, DIMS, 0, NETWORKS, 1, COEFFICIENTS, SEED, "cpu", new("fixed", name), name)
        experiment.hessian(name, [1, 10], [10, 20], 0, 30, SEED, "cpu", new("hessian", name))
    for name in experiment.VARIANTS:
        experiment.variants(name, VARIANT_WIDTH, DIMS, 0, NETWORKS, 2, SEED, CAP, "cpu", new("variants", name))
    experiment.bracket(30, [10, 20], 0, FEW, SEED, CAP, new("bracket", 30))
    experiment.limit(DIMS, 300, SEED, CAP, new("limit"))
    return files
