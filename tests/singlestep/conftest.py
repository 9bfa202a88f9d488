"""Tiny records of all three experiments, sampled once."""

from pathlib import Path

import pytest

from onestep.singlestep import experiment

Records = dict[str, list[Path]]
DIMS, WIDTHS, DEPTHS = [10, 60], [10, 60], [1, 2]
COEFFICIENTS = [0.25, 1.0, 1.5, 2.0, 20.0]
REACH = 4.0


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("records")
    files: Records = {"sample": [], "universal": [], "fixed": []}
    for width in WIDTHS:
        for depth in DEPTHS:
            files["sample"].append(folder / f"sample-{depth}-{width}.parquet")
            experiment.sample(depth, width, DIMS, 0, 40, 2, 1, 20.0, "cpu", files["sample"][-1])
        files["universal"].append(folder / f"universal-{width}.parquet")
        experiment.universal(width, DIMS, 0, 40, 2, REACH, 1, 20.0, "cpu", files["universal"][-1])
        files["fixed"].append(folder / f"fixed-{width}.parquet")
        experiment.fixed(width, DIMS, 0, 40, 1, COEFFICIENTS, 1, "cpu", files["fixed"][-1])
    return files
