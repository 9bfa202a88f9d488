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
    claims.assess(recorded["sample"], recorded["universal"], recorded["fixed"], GAMMAS, scale, 1, folder / "tables", out)
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
