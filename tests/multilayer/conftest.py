"""Tiny records of all six experiments, sampled once."""

from pathlib import Path

import pytest

from onestep.multilayer import depth, experiment

Records = dict[str, list[Path]]
NAMES = ("flip", "layers", "smoothness", "collapse", "scan", "limit")
NETWORKS = 30


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("records")
    files: Records = {name: [] for name in NAMES}
    grids = {"equal": ([1, 3], [10, 40], []), "shrinking": ([3], [10, 40], []), "bottleneck": ([3], [40], [12, 20])}
    for profile, (depths, widths, narrow) in grids.items():
        for name in ("flip", "layers", "smoothness"):
            files[name].append(folder / f"{name}-{profile}.parquet")
            run = {"flip": experiment.flip, "layers": experiment.layers, "smoothness": experiment.smoothness}[name]
            steps = () if name == "flip" else (6,)
            run(profile, depths, widths, narrow, 4.0, 0, NETWORKS, *steps, 1, 20.0, files[name][-1])
    for width in (20, 60):
        files["collapse"].append(folder / f"collapse-{width}.parquet")
        depth.collapse(width, [2, 10], [1, 3, 10], 0, NETWORKS, 4, 1, files["collapse"][-1])
    files["scan"].append(folder / "scan.parquet")
    depth.scan([1, 3, 10], 20, [2, 10], 0, NETWORKS, 8, 1, 20.0, files["scan"][-1])
    files["limit"].append(folder / "limit.parquet")
    depth.limit([1, 3, 10], [2, 10], 100, 1, 20.0, files["limit"][-1])
    return files
