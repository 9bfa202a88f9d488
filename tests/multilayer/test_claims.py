"""The claims: sampled records give a whole ledger, and doctored records change the verdicts that they should."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.claims import read
from onestep.multilayer import claims, depth, experiment

from .conftest import NETWORKS, Records

DELTAS = [0.2, 0.5]
TABLES = {"cells", "constants", "layers", "small", "changes", "slopes", "terms", "collapse", "scan", "vanishing"}


def assess(recorded: Records, folder: Path, scale: str = "laptop", constant: float = 3.0) -> dict[str, dict[str, Any]]:
    out = folder / "claims.json"
    claims.assess(recorded, DELTAS, constant, scale, 1, folder / "tables", out)
    return {entry["id"].removeprefix("multilayer."): entry for entry in json.loads(out.read_text())["claims"]}


def doctored(recorded: Records, folder: Path, kind: str, change: Any) -> Records:
    """The same records with one experiment's frames changed."""
    columns = getattr(depth if hasattr(depth, f"{kind.upper()}_COLUMNS") else experiment, f"{kind.upper()}_COLUMNS")
    files = []
    for file in recorded[kind]:
        files.append(folder / file.name)
        records.write(files[-1], change(records.read([file])), columns, {})
    return recorded | {kind: files}


@pytest.fixture(scope="module")
def ledger(recorded: Records, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the records as they are say."""
    folder = tmp_path_factory.mktemp("ledger")
    found = assess(recorded, folder)
    assert {file.stem for file in (folder / "tables").glob("*.csv")} == TABLES
    assert len(read(folder / "claims.json")) == len(found) == 15
    return found


def test_every_claim_has_what_a_reader_needs(ledger: dict[str, dict[str, Any]]) -> None:
    fields = "id paper statement published measured interval verdict rule networks samples scale data figure records"
    for name, entry in ledger.items():
        assert list(entry) == fields.split()
        assert entry["interval"] is None or entry["interval"][0] <= entry["measured"] <= entry["interval"][1], name
        assert entry["rule"]
        assert entry["verdict"] == "not measured" or entry["networks"] > 0


def test_smoke_is_too_small_to_judge(recorded: Records, tmp_path: Path) -> None:
    assert {entry["verdict"] for entry in assess(recorded, tmp_path, "smoke").values()} == {"not measured"}


def spoil(recorded: Records, folder: Path, changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for kind, change in changes.items():
        recorded = doctored(recorded, folder, kind, change)
    return assess(recorded, folder)


def test_searches_never_confirm(recorded: Records, tmp_path: Path) -> None:
    """Claims about a supremum: even perfect records leave them at `not contradicted`."""
    perfect = spoil(
        recorded,
        tmp_path,
        {
            "layers": lambda frame: frame.assign(worst_shift=0 * frame["worst_shift"]),
            "smoothness": lambda frame: frame.assign(change=frame["gradient_norm"] / frame["width"]),
            "collapse": lambda frame: frame.assign(value=1.0),
        },
    )
    for claim in ("lemma2.3.radius", "lemma2.8.random", "lemma2.8.gradient", "lemma2.8.worst"):
        assert perfect[claim]["verdict"] == "not contradicted", claim
    # 30 networks without an exception bound a share at 88%, short of 90%.
    assert perfect["thm3.1.pairs"]["measured"] == 1
    assert perfect["thm3.1.pairs"]["verdict"] == "inconclusive"


def test_doctored_records_fail(recorded: Records, tmp_path: Path, ledger: dict[str, dict[str, Any]]) -> None:
    spoilt = spoil(
        recorded,
        tmp_path,
        {
            "flip": lambda frame: frame.assign(
                opposite_norm=np.nan, opposite="unreached", gradient_norm=frame["gradient_norm"] / 100, value=frame["value"] + 100
            ),
            "layers": lambda frame: frame.assign(
                norm=frame["norm"] / 100, worst_shift=frame["worst_shift"] * 100, **{"small_0.3": 1.0, "small_1": 2.0}
            ),
            "smoothness": lambda frame: frame.assign(change=frame["gradient_norm"] * frame["width"] * (1 + frame["bottleneck"])),
            "collapse": lambda frame: frame.assign(
                angle=2 * frame["angle"], norm=frame["norm"] ** 3, value=frame["value"] + 10 * frame["input"]
            ),
            "scan": lambda frame: frame.assign(status="switched"),
        },
    )
    failing = {name for name, entry in spoilt.items() if entry["verdict"] == "fails"}
    assert failing >= set(ledger) - {"law.vanishing-depth"}
    for claim in ("lemma2.2.gradient", "lemma2.2.value", "lemma2.3.radius", "lemma2.5.small", "lemma2.8.worst", "lemma3.2.angle"):
        assert ledger[claim]["verdict"] != "fails", claim


def test_the_constant_decides_theorem_1(recorded: Records, tmp_path: Path) -> None:
    def perfect(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(opposite_norm=1.0, opposite="reached")

    changed = doctored(recorded, tmp_path, "flip", perfect)
    # 1 / sqrt(log(1/delta)) is 0.79 at delta = 0.2 and 1.20 at 0.5.
    for constant, measured in ((3.0, 0), (0.5, 5)):
        entry = assess(changed, tmp_path, constant=constant)["thm1.1.flip"]
        assert f"c3 = {constant:g} " in entry["statement"]
        assert entry["measured"] == measured  # the share that stays, over delta
    table = pd.read_csv(tmp_path / "tables/constants.csv")
    assert np.allclose(table["constant"], 1 / np.sqrt(np.log(1 / table["delta"])), rtol=1e-4)


def test_a_claim_counts_the_networks_that_it_rests_on(ledger: dict[str, dict[str, Any]]) -> None:
    # At the largest width: two depths of equal networks, one of shrinking ones.
    assert ledger["thm1.1.flip"]["networks"] == ledger["thm1.1.flip"]["samples"] == 3 * NETWORKS
    assert ledger["lemma2.8.worst"]["networks"] == 6 * NETWORKS
    assert ledger["bottleneck.change"]["networks"] == 2 * NETWORKS
    # Two dimensions; the networks of all three depths have their layers and their four inputs in common.
    assert ledger["lemma3.2.angle"]["networks"] == 2 * NETWORKS
    assert ledger["lemma3.2.angle"]["samples"] == 2 * 4 * NETWORKS
    # L >= d^3 at d = 2: only 10 layers.
    assert ledger["thm3.1.flip"]["samples"] == NETWORKS


def test_without_deep_networks_theorem_3_is_not_measured(recorded: Records, tmp_path: Path) -> None:
    shallow = doctored(recorded, tmp_path, "collapse", lambda frame: frame[frame["depth"] < 8])
    shallow = doctored(shallow, tmp_path, "scan", lambda frame: frame[frame["depth"] < 8])
    ledger = assess(shallow, tmp_path)
    assert ledger["thm3.1.pairs"]["verdict"] == ledger["thm3.1.flip"]["verdict"] == "not measured"


def test_the_vanishing_depth_is_judged_by_its_exponent_at_infinite_width(recorded: Records, tmp_path: Path) -> None:
    def at(exponent: float) -> Any:
        """All networks flip up to the depth 3 (d / 2)^exponent, none beyond."""

        def change(frame: pd.DataFrame) -> pd.DataFrame:
            flips = frame["depth"] < 3 * (frame["input_dim"] / 2) ** exponent
            return frame.assign(status=np.where(flips, "switched", "unswitched"))

        return change

    # With depths 1, 3 and 10 the half is reached between 1 and 3 at d = 2, and there or between 3 and 10 at d = 10.
    entries = [assess(doctored(recorded, tmp_path, "limit", at(power)), tmp_path)["law.vanishing-depth"] for power in (0.0, 0.5)]
    assert entries[0]["measured"] == pytest.approx(0, abs=1e-12)
    assert entries[0]["verdict"] == "fails"
    assert entries[1]["measured"] == pytest.approx(np.log(np.sqrt(3 * 10) / np.sqrt(3)) / np.log(5))
    assert entries[1]["samples"] == 2 * 3 * 100
