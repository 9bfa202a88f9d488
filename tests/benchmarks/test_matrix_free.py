"""The benchmarks: what is measured is what it says, and ratios and crossovers follow from it."""

import math
import platform
import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from onestep import records
from onestep.attacks.ray import SWITCHED
from onestep.benchmarks import figures, matrix_free
from onestep.benchmarks.matrix_free import Cell, dense_networks, follow, sampled
from onestep.cli import main
from onestep.errors import Mistake
from onestep.networks.random_relu import DenseMatrix, Shape
from onestep.provenance import read_certificate

GRID = (
    "matrix-free --depths 1 2 --widths 20 60 --input-dim 30 --batch 3 --layer-width 50 --layer-dims 10 40 --choice-depths 1"
    " --choice-widths 40 --choice-dims 30 --memory-gb 0.00003 --seconds 0.001 --seed 3"
)


def onestep(command: str, *more: str) -> None:
    """Runs a command of the benchmarks in this process, as a person would type it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["onestep", "benchmarks", *command.split(" "), *more])
        main()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmarks") / "matrix_free.parquet"
    onestep(GRID, "--out", str(out))
    return out


@pytest.fixture(scope="module")
def drawn(measured: Path) -> Path:
    onestep("figures", "--records", str(measured), "--tables", str(measured.parent / "tables"), "--out", str(measured.parent))
    return measured.parent


# ---------------------------------------------------------------------------------------------- records


def test_every_column_is_documented_and_every_cell_is_there(measured: Path) -> None:
    rows = records.read([measured])
    assert list(rows.columns) == list(matrix_free.COLUMNS)
    assert all(records.descriptions(measured).values())
    alone = rows[rows["part"] == "networks"]
    assert sorted(zip(alone["depth"], alone["width"], alone["kind"], strict=True)) == [
        (depth, width, kind) for depth in (1, 2) for width in (20, 60) for kind in ("dense-torch", "matrix-free")
    ]
    assert set(rows.loc[rows["part"] == "batches", "networks"]) == {3}
    assert set(rows.loc[rows["part"] == "choice", "inputs"]) == {1, 5}
    assert set(rows.loc[rows["part"] == "choice", "dtype"]) == {"float64"}


def test_what_was_measured_is_a_time_and_a_size_and_what_was_not_is_no_number(measured: Path) -> None:
    rows = records.read([measured])
    found, missing = rows[rows["status"] == "measured"], rows[rows["status"] != "measured"]
    assert (found["repetitions"] >= 3).all()
    assert ((found["fastest_seconds"] > 0) & (found["fastest_seconds"] <= found["seconds"])).all()
    assert ((found["process_seconds"] > 0) & (found["idle_bytes"] > 1e7) & (found["peak_bytes"] >= found["idle_bytes"])).all()
    assert (found.loc[found["depth"] == 1, "evaluations"].dropna() == 1).all()
    assert found.loc[found["part"] == "first-layer", "evaluations"].isna().all()
    # The granted 30 kB hold L = 2, k = 20 (4 kB) and L = 1, k = 60 (7.2 kB), also in batches of 3; L = 2, k = 60 fits alone (21.6 kB).
    assert set(missing["kind"]) <= {"dense-torch", "dense"}
    assert missing["weights_bytes"].min() > 30_000 >= found.loc[found["kind"] == "dense-torch", "weights_bytes"].max()
    assert missing[["seconds", "process_seconds", "peak_bytes", "evaluations"]].isna().all(axis=None)
    alone = rows[(rows["part"] == "networks") & (rows["depth"] == 2) & (rows["width"] == 60)]
    assert set(alone["weights_bytes"]) == {4 * (60 * 30 + 60 * 60)}


def test_the_certificate_says_on_what_machine(measured: Path) -> None:
    born = read_certificate(measured)
    # By its name as in every certificate, and by what its speed depends on.
    assert born["machine"] == platform.node()
    assert born["measured_on"]["processor"]
    assert born["measured_on"]["memory_bytes"] > 1e8
    assert born["parameters"]["memory_gb"] == 0.00003
    assert born["seed"] == 3


def test_a_process_of_its_own_does_not_see_what_this_one_has_held() -> None:
    torch.zeros(2 * 10**7)  # 80 MB
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = matrix_free.alone(Cell("networks", 1, 2000, 1000, "dense-torch"), 0, 0.001)
    assert found["idle_bytes"] < held
    assert 0.9 * 8e6 < found["peak_bytes"] - found["idle_bytes"] < 3 * 8e6


# ---------------------------------------------------------------------------------------------- networks and roots


def test_the_dense_baseline_has_the_law_of_the_matrix_free_networks() -> None:
    """Mean |f|, mean gradient norm squared, share switched and mean log root agree within five standard errors of the difference."""
    for depth, dim, width in ((1, 20, 30), (2, 15, 20)):
        sides = []
        for kind in ("matrix-free", "dense-torch"):
            cell = Cell("networks", depth, width, dim, kind, networks=1500)
            nets, x = sampled(cell, 0, 1, torch.Generator().manual_seed(1))
            value, gradient = nets.value_and_gradient(x)
            roots = follow(*sampled(cell, 0, 2, torch.Generator().manual_seed(2)))
            switched = (roots.status == SWITCHED).double()
            log = roots.t.log()
            parts = [value.abs().double(), gradient.square().sum(-1).double(), switched, log[log.isfinite()]]
            sides.append([(float(part.mean()), float(part.std()) / math.sqrt(part.numel())) for part in parts])
        for (one, error), (other, beside) in zip(*sides, strict=True):
            assert abs(one - other) < 5 * math.hypot(error, beside), (depth, one, other)


def textbook_root(weights: list[torch.Tensor], output: torch.Tensor, x: torch.Tensor) -> tuple[float, float, float]:
    """f(x), ||grad f(x)|| and the first sign change along the gradient: automatic differentiation, a fine grid, and bisection."""

    def f(points: torch.Tensor) -> torch.Tensor:
        for matrix in weights:
            points = (points @ matrix.T).relu()
        return points @ output

    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(point), point)
    value = f(x)
    direction = -torch.sign(value) * gradient
    grid = torch.linspace(0, matrix_free.CAP, 20_001, dtype=torch.float64)
    signs = f(x + grid[:, None] * direction) * value < 0
    if not signs.any():
        return float(value), float(gradient.norm()), math.nan
    index = int(signs.to(torch.uint8).argmax())
    low, high = float(grid[index - 1]), float(grid[index])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if f(x + middle * direction) * value < 0 else (middle, high)
    return float(value), float(gradient.norm()), low


@pytest.mark.parametrize(("depth", "width"), [(1, 40), (3, 60)])
def test_on_the_same_weights_a_textbook_finds_the_same_root(depth: int, width: int) -> None:
    generator = torch.Generator().manual_seed(depth)
    nets = dense_networks(Shape(30, (width,) * depth), 4, generator)
    x = torch.randn(4, 1, 30, generator=generator)
    roots = follow(nets, x)
    for b in range(4):
        weights = [matrix.weights[b].double() for matrix in nets.layers if isinstance(matrix, DenseMatrix)]
        value, norm, root = textbook_root(weights, nets.output[b].double(), x[b, 0].double())
        mine = nets.value_and_gradient(x)
        assert float(mine[0][b, 0]) == pytest.approx(value, rel=1e-4, abs=1e-5)
        assert float(mine[1][b, 0].norm()) == pytest.approx(norm, rel=1e-4)
        assert float(roots.t[b, 0]) == pytest.approx(root, rel=2e-3, nan_ok=True)


def test_dense_weights_have_the_deviation_of_their_layer() -> None:
    nets = dense_networks(Shape(50, (200, 100)), 3, torch.Generator().manual_seed(0))
    for matrix, deviation in zip(nets.layers, (1 / math.sqrt(50), math.sqrt(2 / 200)), strict=True):
        assert isinstance(matrix, DenseMatrix)
        assert matrix.weights.dtype == torch.float32
        assert float(matrix.weights.std()) == pytest.approx(deviation, rel=0.03)
        assert matrix.deviation == pytest.approx(deviation)


# ---------------------------------------------------------------------------------------------- ratios and crossovers


def test_the_crossover_is_interpolated_in_the_logarithms() -> None:
    # From ratio 1/4 at k = 10 to ratio 2 at k = 1000: log2 ratio goes from -2 to 1, so 1 is reached two thirds of the way.
    assert figures.crossover([10, 1000], [0.25, 2.0]) == ("at", pytest.approx(10 * 100 ** (2 / 3)))
    # What counts is from where on it stays faster.
    relation, width = figures.crossover([10, 100, 1000, 10_000], [2.0, 0.5, 2.0, 8.0])
    assert (relation, width) == ("at", pytest.approx(100 * 10**0.5))
    assert figures.crossover([10, 100], [1.5, 3.0]) == ("below", 10)
    assert figures.crossover([10, 100], [1.5, 0.9]) == ("above", 100)
    assert figures.crossover([10], [0.9]) == ("above", 10)


def test_growth_is_the_exponent() -> None:
    assert figures.growth([10, 100, 1000], [3e-3 * k**0.7 for k in (10, 100, 1000)]) == pytest.approx(0.7)
    assert math.isnan(figures.growth([10], [1.0]))


def test_ratios_are_of_times_of_the_same_run(measured: Path, drawn: Path) -> None:
    rows, table = records.read([measured]), pd.read_csv(drawn / "tables" / "matrix_free.csv")
    assert len(table) == 4
    alone = rows[rows["part"] == "networks"].set_index(["depth", "width", "kind"])["seconds"]
    for row in table.itertuples():
        dense, free = (alone[row.depth, row.width, kind] for kind in ("dense-torch", "matrix-free"))
        np.testing.assert_allclose([row.dense_seconds, row.free_seconds, row.ratio], [dense, free, dense / free], rtol=1e-5)
    batches = pd.read_csv(drawn / "tables" / "batches.csv")
    best = batches[["dense_seconds", "dense_alone_seconds"]].min(axis=1)
    np.testing.assert_allclose(batches["ratio"], best / batches["free_seconds"], rtol=1e-5)
    choices = pd.read_csv(drawn / "tables" / "choices.csv")
    assert (choices["lost"] >= 1).all()
    assert ((choices["lost"] > 1) | (choices["chosen_unformed"] == choices["fastest_unformed"])).all()


def test_the_figure_and_the_tables_carry_no_certificate_inside_and_have_one_beside(drawn: Path) -> None:
    tables = sorted((drawn / "tables").glob("*.csv"))
    assert {path.stem for path in tables} == {"matrix_free", "batches", "crossovers", "first_layer", "choices", "facts"}
    for path in [*tables, drawn / "matrix_free.svg", drawn / "matrix_free.pdf"]:
        assert read_certificate(path)["inputs"]


# ---------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--depths", "0"], ["--depths", "out of range"]),
        (["--widths", "ten"], ["--widths", "'ten'", "whole number"]),
        (["--batch", "1"], ["--batch", "out of range"]),
        (["--memory-gb", "-1"], ["--memory-gb", "above 0"]),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    tmp_path: Path, change: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        onestep(GRID, "--out", str(tmp_path / "r.parquet"), *change)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(said.splitlines()) == 1
    assert all(word in said for word in words)
    assert list(tmp_path.iterdir()) == []


def test_more_memory_than_the_machine_has_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"--memory-gb 1e\+09: this machine has .* ask for less"):
        matrix_free.run([1], [10], [10], 2, 10, [10], [1], [10], [10], 1e9, 0.01, 0, tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_records_of_something_else_are_refused(measured: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    records.write(other, pd.DataFrame({"a": [1]}), {"a": "a number"}, {"seed": 0})
    with pytest.raises(Mistake, match="not a record file of `onestep benchmarks matrix-free`"):
        figures.draw(other, tmp_path / "tables", tmp_path)
