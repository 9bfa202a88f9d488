"""The claims: records made to follow a law are judged as the law says, and doctored ones are not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.lazy import claims, figures, summary
from onestep.lazy.experiment import ATTACK_COLUMNS

DIMS, RADII, RUNS, IMAGES = [25, 100, 196, 400, 784], [10.0, 40.0], 4, 50
EXPONENTS = {"gradient_norm": 0.5, "step": -1.0, "relative": -0.5}


def frame(exponents: dict[str, float] | None = None, wrong: int = 0, growth: float = 0.3, runs: int = RUNS) -> pd.DataFrame:
    """Records in which the means go with these powers of d and grow with C0, but for a little noise of each run."""
    powers = EXPONENTS | (exponents or {})
    rng, rows = np.random.default_rng(0), []
    for protocol, norm, bias in (("corrected", "unit", "none"), ("corrected", "pixels", "torch"), ("as_published", "unit", "none")):
        for c0 in [*RADII, np.inf] if protocol == "corrected" else RADII:
            for dim in DIMS:
                for run in range(runs):
                    noise = np.exp(0.01 * rng.standard_normal(3))
                    more = np.exp(growth * np.log(min(c0, 100.0) / 10))
                    step = 0.045 * (dim / 784) ** powers["step"] * noise[0] * more * (1 + 0.1 * rng.standard_normal(IMAGES))
                    gradient = dim ** powers["gradient_norm"] * noise[1] * more
                    length = 1.0 if norm == "unit" else 5.0
                    part = {
                        "c0": c0, "width": 1000, "input_dim": dim, "run": run, "input": np.arange(IMAGES), "value": 1.0,
                        "gradient_norm": gradient, "step": step,
                        "perturbation_norm": dim ** powers["relative"] * length * noise[2] * more, "input_norm": length,
                        "correct": np.arange(IMAGES) >= wrong, "status": "switched", "data": "STAND-IN for images", "protocol": protocol,
                        "norm": norm, "bias": bias,
                    }  # fmt: skip
                    rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(ATTACK_COLUMNS)]


def judged(rows: pd.DataFrame, folder: Path, scale: str = "laptop") -> dict[str, dict[str, Any]]:
    file, out = folder / "attack.parquet", folder / "claims.json"
    records.write(file, rows, ATTACK_COLUMNS, {"seed": 0})
    claims.assess({"attack": [file]}, scale, 0, folder / "tables", out)
    return {entry["id"].removeprefix("lazy."): entry for entry in json.loads(out.read_text())["claims"]}


def test_records_that_follow_the_laws_hold_and_say_what_they_rest_on(tmp_path: Path) -> None:
    ledger = judged(frame(), tmp_path)
    told = {name: entry["verdict"] for name, entry in ledger.items()}
    for name in ("gradient", "step", "perturbation"):
        assert told[f"claim2.{name}.unit"] == told[f"claim2.{name}.pixels"] == "holds"
        assert told[f"claim3.{name}.unit"] == "holds"
    assert told["claim1.error.unit"] == "holds"
    assert ledger["claim1.error.unit"]["interval"] is None
    assert told["claim4.step.unit.corrected"] == told["claim4.skewness.unit.corrected"] == "holds"
    assert told["claim4.step.pixels.as_published"] == "not measured"
    entry = ledger["claim2.step.unit"]
    large = sum(dim >= summary.LARGE for dim in DIMS)
    assert (entry["networks"], entry["samples"]) == (2 * large * RUNS, 2 * large * RUNS * IMAGES)
    assert entry["data"] == "test images of STAND-IN for images"
    assert {file.stem for file in (tmp_path / "tables").glob("*.csv")} == {"models", "cells", "exponents", "growth"}


@pytest.mark.parametrize(("quantity", "claim"), [("gradient_norm", "gradient"), ("step", "step"), ("relative", "perturbation")])
def test_another_exponent_fails(quantity: str, claim: str, tmp_path: Path) -> None:
    ledger = judged(frame({quantity: EXPONENTS[quantity] + 0.3}), tmp_path)
    assert ledger[f"claim2.{claim}.unit"]["verdict"] == "fails"
    assert ledger[f"claim2.{claim}.unit"]["measured"] == pytest.approx(EXPONENTS[quantity] + 0.3, abs=0.02)


def test_what_shrinks_with_the_ball_and_networks_that_err_fail(tmp_path: Path) -> None:
    ledger = judged(frame(growth=-0.3, wrong=1), tmp_path)
    assert ledger["claim3.step.unit"]["verdict"] == "fails"
    assert ledger["claim1.error.unit"]["verdict"] == "fails"
    assert ledger["claim1.error.unit"]["measured"] == 1 / IMAGES


def test_one_run_measures_no_exponent_and_smoke_nothing(tmp_path: Path) -> None:
    assert judged(frame(runs=1), tmp_path)["claim2.step.unit"]["verdict"] == "not measured"
    assert {entry["verdict"] for entry in judged(frame(), tmp_path, "smoke").values()} == {"not measured"}


def test_means_leave_out_what_is_wrong_or_does_not_flip_and_count_it(tmp_path: Path) -> None:
    rows = frame()
    one = (rows["run"] == 0) & (rows["input"] < 10)
    rows.loc[one, "correct"] = False
    rows.loc[one, "step"] = 1e6
    table = summary.models(rows)
    first = table[table["run"] == 0]
    assert (first["errors"] == 10).all()
    assert (first["told"] == IMAGES - 10).all()
    assert (first["step"] < 10).all()


def test_figures_are_drawn(tmp_path: Path) -> None:
    file = tmp_path / "attack.parquet"
    records.write(file, frame(), ATTACK_COLUMNS, {"seed": 0})
    figures.draw({"attack": [file]}, 0, tmp_path / "out")
    names = {"dimension_unit", "dimension_pixels", "radius_unit", "radius_pixels", "histograms"}
    assert {path.stem for path in (tmp_path / "out").glob("*.svg")} == names
