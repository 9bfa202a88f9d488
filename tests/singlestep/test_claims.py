"""The claims: sampled records give a whole ledger, and doctored records change the verdicts that they should."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.claims import read
from onestep.singlestep import claims, experiment

from .conftest import Records

GAMMAS = [0.1, 0.3]


def assess(recorded: Records, folder: Path, scale: str = "laptop") -> dict[str, dict[str, Any]]:
    out = folder / "claims.json"
    claims.assess(recorded["sample"], recorded["universal"], recorded["fixed"], GAMMAS, 1.0, scale, 1, folder / "tables", out)
    return {entry["id"].removeprefix("singlestep."): entry for entry in json.loads(out.read_text())["claims"]}


def doctored(recorded: Records, folder: Path, kind: str, change: Any) -> Records:
    """The same records with one experiment's frames changed."""
    columns = {"sample": experiment.SAMPLE_COLUMNS, "universal": experiment.UNIVERSAL_COLUMNS, "fixed": experiment.FIXED_COLUMNS}[kind]
    files = []
    for file in recorded[kind]:
        files.append(folder / file.name)
        records.write(files[-1], change(records.read([file])), columns, {})
    return recorded | {kind: files}


def test_every_claim_has_what_a_reader_needs(recorded: Records, tmp_path: Path) -> None:
    ledger = assess(recorded, tmp_path)
    fields = "id paper statement published measured interval verdict rule networks samples scale data figure records"
    for entry in ledger.values():
        assert list(entry) == fields.split()
        assert entry["interval"] is None or entry["interval"][0] <= entry["measured"] <= entry["interval"][1]
        assert entry["rule"]
        assert entry["verdict"] == "not measured" or entry["networks"] > 0
    for name in ("cells", "slopes", "bounds", "exceptions"):
        assert (tmp_path / f"tables/{name}.csv").read_text()
    assert len(read(tmp_path / "claims.json")) == len(ledger)


def test_smoke_is_too_small_to_judge(recorded: Records, tmp_path: Path) -> None:
    assert {entry["verdict"] for entry in assess(recorded, tmp_path, "smoke").values()} == {"not measured"}


def test_few_networks_do_not_let_claim_1_hold(recorded: Records, tmp_path: Path) -> None:
    """40 networks without an exception bound the share by 0.025^(1/40) = 91%, far from 99.5%."""
    entry = assess(recorded, tmp_path)["fig1.two-layer"]
    assert entry["measured"] == 1
    assert entry["interval"][0] == pytest.approx(0.025 ** (1 / 40))
    assert entry["verdict"] == "inconclusive"


def test_claim_1_fails_when_samples_do_not_switch_and_lists_them(recorded: Records, tmp_path: Path) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        lost = frame["network"] < 10
        return frame.assign(
            status=frame["status"].mask(lost, "unswitched"),
            step=frame["step"].mask(lost),
            perturbation_norm=frame["perturbation_norm"].mask(lost),
        )

    changed = doctored(recorded, tmp_path, "sample", spoil)
    assert assess(changed, tmp_path)["fig1.two-layer"]["verdict"] == "fails"
    exceptions = pd.read_csv(tmp_path / "tables/exceptions.csv")
    assert sorted(set(exceptions["network"])) == list(range(10))
    assert (exceptions["width"] > 50).all()


def test_a_step_that_grows_with_d_is_not_constant(recorded: Records, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "sample", lambda frame: frame.assign(step=frame["step"] * frame["input_dim"] ** 0.5))
    entry = assess(changed, tmp_path)["fig2a.step-in-d.two-layer"]
    assert entry["verdict"] == "fails"
    assert entry["measured"] == pytest.approx(assess(recorded, tmp_path)["fig2a.step-in-d.two-layer"]["measured"] + 0.5, abs=1e-9)


def test_values_beyond_the_bound_fail_proposition_3(recorded: Records, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "sample", lambda frame: frame.assign(value=frame["value"] + 10 * np.sign(frame["value"])))
    assert assess(changed, tmp_path)["prop3.value"]["verdict"] == "fails"
    assert assess(recorded, tmp_path)["prop3.value"]["verdict"] != "fails"


def test_an_universal_direction_of_another_length_fails(recorded: Records, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "universal", lambda frame: frame.assign(universal_norm=2 * frame["gradient_norm"]))
    assert assess(changed, tmp_path)["universal.length"]["verdict"] == "fails"


def test_no_narrow_width_lets_proposition_4_be_measured(recorded: Records, tmp_path: Path) -> None:
    assert assess(recorded, tmp_path)["prop4.gradient-change"]["verdict"] == "not measured"
    wide = doctored(recorded, tmp_path, "fixed", lambda frame: frame.assign(width=3000, input_dim=1000, radius=2.0))
    assert assess(wide, tmp_path)["prop4.gradient-change"]["verdict"] == "not contradicted"
    steep = doctored(recorded, tmp_path, "fixed", lambda frame: frame.assign(width=3000, input_dim=1000, radius=2.0, gradient_change=1e6))
    assert assess(steep, tmp_path)["prop4.gradient-change"]["verdict"] == "fails"


def test_a_claim_counts_only_the_networks_that_it_rests_on(recorded: Records, tmp_path: Path) -> None:
    """40 networks a cell: all four cells bound |f|, none has a width at which the gradient's bound says something at these gammas."""
    ledger = assess(recorded, tmp_path)
    telling = pd.read_csv(tmp_path / "tables/bounds.csv").query("limit > 0 and networks >= 4 / gamma")
    for bound in ("value", "gradient"):
        cells = telling[telling["bound"] == bound][["width", "input_dim"]].drop_duplicates()
        assert ledger[f"prop3.{bound}"]["networks"] == 40 * len(cells)
    assert ledger["universal.share"]["samples"] == ledger["universal.share"]["networks"] == 40
    assert ledger["universal.length"]["samples"] == 80


def test_the_fixed_step_fails_when_more_stay_than_gamma_allows(recorded: Records, tmp_path: Path) -> None:
    """At c = 1, gamma = 1/e: 30 of 40 unflipped is 2 gamma. None of 40 bounds the share by 11.3%, just above gamma = 10.5% at c = 1.5."""
    for flipped, verdict in ((10, "fails"), (40, "inconclusive")):
        change = lambda frame, flipped=flipped: frame.assign(status=np.where(frame["network"] < flipped, "switched", "unswitched"))  # noqa: E731
        entry = assess(doctored(recorded, tmp_path, "fixed", change), tmp_path)["thm2.fixed-step"]
        assert entry["verdict"] == verdict
        assert "C4 = 1" in entry["statement"]


def test_the_universal_direction_fails_when_it_does_not_flip(recorded: Records, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "universal", lambda frame: frame.assign(status="unswitched", fixed_value=frame["value"]))
    ledger = assess(changed, tmp_path)
    assert ledger["universal.share"]["verdict"] == ledger["universal.perturbation"]["verdict"] == "fails"


def test_a_perturbation_that_does_not_shrink_with_d_fails_theorem_2(recorded: Records, tmp_path: Path) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(perturbation_norm=frame["perturbation_norm"] * np.sqrt(frame["input_dim"]))

    changed = doctored(recorded, tmp_path, "sample", spoil)
    assert assess(changed, tmp_path)["thm2.perturbation"]["verdict"] == "fails"


def test_the_half_normal_law_fails_for_perturbations_twice_as_long(recorded: Records, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "sample", lambda frame: frame.assign(perturbation_norm=2 * frame["perturbation_norm"]))
    assert assess(changed, tmp_path)["law.half-normal"]["verdict"] == "fails"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "holds"), (2.0, "fails")])
def test_the_gradient_law_is_judged_where_k_is_large_against_d(recorded: Records, tmp_path: Path, factor: float, verdict: str) -> None:
    assert assess(recorded, tmp_path)["law.gradient-change"]["verdict"] == "not measured"

    def wide(frame: pd.DataFrame) -> pd.DataFrame:
        change = factor * frame["gradient_norm"] * np.sqrt(2 * frame["radius"] / (np.pi * np.sqrt(frame["input_dim"])))
        return frame.assign(width=10 * frame["width"], gradient_change=change)

    assert assess(doctored(recorded, tmp_path, "fixed", wide), tmp_path)["law.gradient-change"]["verdict"] == verdict


def test_a_threshold_that_falls_with_depth_fails(recorded: Records, tmp_path: Path) -> None:
    """The two-layer networks switch nowhere below d = 60, k = 60, the deeper ones everywhere."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        lost = (frame["depth"] == 1) & ((frame["input_dim"] == 10) | (frame["width"] == 10))
        return frame.assign(status=np.where(lost, "unswitched", "switched"), step=1.0, perturbation_norm=1.0)

    ledger = assess(doctored(recorded, tmp_path, "sample", spoil), tmp_path)
    assert ledger["fig1.threshold-d"]["verdict"] == ledger["fig1.threshold-k"]["verdict"] == "fails"


def test_one_depth_says_nothing_of_growth_with_depth(recorded: Records, tmp_path: Path) -> None:
    shallow = recorded | {"sample": [file for file in recorded["sample"] if file.stem.startswith("sample-1-")]}
    ledger = assess(shallow, tmp_path)
    assert ledger["fig1.threshold-d"]["verdict"] == ledger["fig1.threshold-k"]["verdict"] == "not measured"
