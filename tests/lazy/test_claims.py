"""The claims: records made to follow a law are judged as the law says, and doctored ones are not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onestep.lazy import claims, figures, summary

from .made import DIMS, EXPONENTS, GAMMAS, IMAGES, RUNS, attacked, balls, brackets, robust, written


def judged(folder: Path, scale: str = "laptop", **frames: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The ledger of records that follow the laws, but for those given."""
    out = folder / "claims.json"
    claims.assess(written(folder, **frames), GAMMAS, scale, 0, folder / "tables", out)
    return {entry["id"].removeprefix("lazy."): entry for entry in json.loads(out.read_text())["claims"]}


def test_records_that_follow_the_laws_hold_and_say_what_they_rest_on(tmp_path: Path) -> None:
    ledger = judged(tmp_path)
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
    assert {file.stem for file in (tmp_path / "tables").glob("*.csv")} == {
        "models", "cells", "exponents", "growth", "protocols", "robust", "contours", "checks", "ball", "bracket",
    }  # fmt: skip


@pytest.mark.parametrize(("quantity", "claim"), [("gradient_norm", "gradient"), ("step", "step"), ("relative", "perturbation")])
def test_another_exponent_fails(quantity: str, claim: str, tmp_path: Path) -> None:
    ledger = judged(tmp_path, attack=attacked({quantity: EXPONENTS[quantity] + 0.3}))
    assert ledger[f"claim2.{claim}.unit"]["verdict"] == "fails"
    assert ledger[f"claim2.{claim}.unit"]["measured"] == pytest.approx(EXPONENTS[quantity] + 0.3, abs=0.02)


def test_what_shrinks_with_the_ball_and_networks_that_err_fail(tmp_path: Path) -> None:
    ledger = judged(tmp_path, attack=attacked(growth=-0.3, wrong=1))
    assert ledger["claim3.step.unit"]["verdict"] == "fails"
    assert ledger["claim1.error.unit"]["verdict"] == "fails"
    assert ledger["claim1.error.unit"]["measured"] == 1 / IMAGES


def test_one_run_measures_no_exponent_and_smoke_nothing(tmp_path: Path) -> None:
    assert judged(tmp_path, attack=attacked(runs=1))["claim2.step.unit"]["verdict"] == "not measured"
    assert {entry["verdict"] for entry in judged(tmp_path, "smoke").values()} == {"not measured"}


def test_means_leave_out_what_is_wrong_or_does_not_flip_and_count_it(tmp_path: Path) -> None:
    rows = attacked()
    one = (rows["run"] == 0) & (rows["input"] < 10)
    rows.loc[one, "correct"] = False
    rows.loc[one, "step"] = 1e6
    table = summary.models(rows[rows["protocol"] == "corrected"])
    first = table[table["run"] == 0]
    assert (first["errors"] == 10).all()
    assert (first["told"] == IMAGES - 10).all()
    assert (first["step"] < 10).all()


def test_under_the_authors_protocol_wrong_images_count_as_0_unflipped_ones_as_5_and_lengths_lie_on_a_grid() -> None:
    rows = attacked().query("protocol == 'as_published' and input_dim == 25 and c0 == 10 and run == 0").assign(gradient_norm=2.0)
    rows["perturbation_norm"] = [np.nan, 7.0, 0.00301] + [0.5] * (len(rows) - 3)
    rows["correct"] = [True] * 3 + [False] * (len(rows) - 3)
    table = summary.models(rows)
    assert table["perturbation"].item() == pytest.approx((5 + 5 + 0.004) / len(rows))
    assert table["step"].item() == pytest.approx((5 + 5 + 0.004) / 2 / len(rows))


def test_figure_4_as_published_holds(tmp_path: Path) -> None:
    ledger = judged(tmp_path)
    for name in ("claim5.radius", "claim5.exponent", "claim5.clean", "claim6.exponent", "claim6.radius"):
        assert ledger[name]["verdict"] == "holds", name
    assert ledger["claim5.radius"]["measured"] == pytest.approx(5.0, abs=0.15)
    assert ledger["claim6.radius"]["measured"] > 0.99


def test_other_thresholds_and_other_exponents_fail(tmp_path: Path) -> None:
    ledger = judged(tmp_path, adversarial=robust(gone=3.8, safe=36.0))
    assert (ledger["claim5.radius"]["verdict"], ledger["claim6.radius"]["verdict"]) == ("fails", "fails")
    ledger = judged(tmp_path, adversarial=robust(tilt=0.2))
    assert (ledger["claim5.exponent"]["verdict"], ledger["claim6.exponent"]["verdict"]) == ("fails", "fails")
    assert judged(tmp_path, adversarial=robust(wrong=0.02))["claim5.clean"]["verdict"] == "fails"


def test_a_threshold_that_no_ball_reaches_has_no_exponent_and_its_networks_are_not_robust(tmp_path: Path) -> None:
    ledger = judged(tmp_path, adversarial=robust(safe=60.0))
    assert (ledger["claim6.exponent"]["verdict"], ledger["claim6.radius"]["verdict"]) == ("not measured", "fails")


def test_a_contour_is_where_a_line_between_two_cells_crosses_the_level() -> None:
    table = summary.contours(summary.robust(robust()))
    half = table.query("panel == 'budgets' and level == 0.5 and run == 0")
    assert np.allclose(half["scaled"], 4.0, atol=0.05)
    assert np.allclose(half["scaled"], half["crossing"] * half["size"] ** 0.5)


def test_lemmas_hold_of_the_ball_unless_more_than_gamma_of_its_starts_break_them(tmp_path: Path) -> None:
    ledger = judged(tmp_path)
    assert {ledger[f"claim7.{name}"]["verdict"] for name in ("value", "neurons", "robust_error")} == {"holds"}
    assert {ledger[f"claim7.{name}"]["verdict"] for name in ("gradient", "change")} == {"not contradicted"}
    assert judged(tmp_path, ball=balls(highest=100.0))["claim7.value"]["verdict"] == "fails"
    assert judged(tmp_path, ball=balls(power=-0.2))["claim7.robust_error"]["verdict"] == "fails"
    assert judged(tmp_path, bracket=brackets(change=0.1))["claim7.change"]["verdict"] == "fails"


def test_fewer_steps_stand_beside_the_published_hundred() -> None:
    rows = robust()
    first = summary.robust(rows)
    twice = pd.concat([robust(), robust(gone=4.8, steps=100)]).query("panel == 'budgets' and run == 0")
    table = summary.checks(first, summary.robust(twice))
    assert (table[table["where"] == "test"]["difference"] == 0).all()
    assert table[table["where"] == "training"]["difference"].max() == pytest.approx(0.18, abs=0.02)


def test_figures_are_drawn(tmp_path: Path) -> None:
    figures.draw(written(tmp_path), 0, tmp_path / "out")
    names = {"dimension_unit", "dimension_pixels", "radius_unit", "radius_pixels", "histograms", "robust", "collapse", "journey", "bracket"}
    assert {path.stem for path in (tmp_path / "out").glob("*.svg")} == names
