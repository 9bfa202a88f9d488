"""Verdicts follow from intervals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onestep import claims
from onestep.claims import Claim, Judge, judge, judge_all
from onestep.errors import Mistake


def claim(name: str, **changes: object) -> Claim:
    fields = {
        "id": name, "paper": "p", "statement": "It is so.", "published": "1", "measured": 1.0, "interval": (0.5, 1.5), "verdict": "holds",
        "rule": "r", "networks": 10, "samples": 20, "scale": "laptop", "data": "none", "figure": "f", "records": ["a"],
    }  # fmt: skip
    return Claim(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.2, 0.8), "holds"),
        ((0.0, 1.0), "holds"),
        ((1.1, 2.0), "fails"),
        ((-2.0, -0.1), "fails"),
        ((0.5, 1.5), "inconclusive"),
        ((-1, 2), "inconclusive"),
    ],
)
def test_inside_holds_outside_fails_else_inconclusive(interval: tuple[float, float], verdict: str) -> None:
    assert judge(interval, (0, 1)) == verdict


def test_a_claim_about_every_part_fails_with_one_and_holds_with_all() -> None:
    inside, across, outside, far = (0.2, 0.3), (0.9, 1.2), (1.5, 1.6), (3.0, 4.0)
    assert judge_all([inside, (0.1, 0.99)], (0, 1)) == ("holds", 1)
    assert judge_all([inside, across], (0, 1)) == ("inconclusive", 1)
    assert judge_all([inside, outside, far, across], (0, 1)) == ("fails", 2)


def test_the_ledger_reads_back_and_is_printed_as_a_table(tmp_path: Path) -> None:
    parts = [tmp_path / "a.json", tmp_path / "b.json"]
    claims.write(parts[0], [claim("p.one")], {})
    claims.write(parts[1], [claim("q.two", measured=None, interval=None, verdict="not measured", statement="a < b")], {})
    ledger, page = tmp_path / "claims.json", tmp_path / "claims.html"
    claims.collect(parts, ledger, page)
    content = json.loads(ledger.read_text())
    assert content["provenance"]["inputs"].keys() == {str(part) for part in parts}
    assert [entry["id"] for entry in content["claims"]] == ["p.one", "q.two"]
    assert content["claims"][1]["interval"] is None
    printed = claims.table(claims.read(ledger)).splitlines()
    assert len(printed) == 3
    assert "not measured" in printed[2]
    assert "a &lt; b" in page.read_text()


def test_two_claims_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same id"):
        claims.write(tmp_path / "c.json", [claim("a"), claim("a")], {})


@pytest.mark.parametrize("content", [None, "not json", '{"claims": [{"id": 1}]}', "[]"])
def test_what_is_not_a_ledger_is_a_one_line_mistake(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "claims.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Mistake) as caught:
        claims.read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- a paper's judge

ROWS = pd.DataFrame({"width": [1, 1, 1, 2, 2], "network": [0, 0, 1, 0, 1], "input": [0, 1, 0, 0, 0]})
NAN, ALL = float("nan"), (-np.inf, np.inf)


def added(scale: str = "laptop", needed: int = 1, **changes: object) -> Claim:
    paper = Judge("p", scale, ["depth", "width"], "none", needed)
    options = {"parts": [(0.5, (0.2, 0.8))], "holds": (0.0, 1.0), "rows": ROWS, "figure": "f", "files": [Path("a")]}
    paper.add("c", "It is so.", "1", "rule", **(options | changes))  # type: ignore[arg-type]
    return paper.claims[0]


def test_networks_are_counted_by_cell_and_samples_are_their_inputs() -> None:
    claim = added()
    assert (claim.id, claim.networks, claim.samples, claim.verdict, claim.measured, claim.interval) == (
        "p.c",
        4,
        5,
        "holds",
        0.5,
        (0.2, 0.8),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "smoke"},
        {"needed": 3},
        {"parts": []},
        {"parts": [(NAN, (NAN, NAN))]},
        {"parts": [(0.5, (0.2, 0.8)), (NAN, (NAN, NAN))]},
        {"parts": [(0.5, ALL), (2.0, (1.5, 3.0))]},
        {"rows": ROWS.iloc[:0]},
    ],
)
def test_what_is_too_little_is_not_measured(changes: dict[str, object]) -> None:
    assert added(**changes).verdict == "not measured"


def test_a_search_never_confirms_and_its_largest_find_has_no_interval() -> None:
    found = added(parts=[(0.5, (0.5, 0.5))], searched=True, needed=100)
    assert (found.verdict, found.interval) == ("not contradicted", None)
    assert added(parts=[(1.5, (1.5, 1.5))], searched=True).verdict == "fails"


def test_what_is_said_of_these_very_networks_is_judged_and_has_no_interval() -> None:
    found = added(parts=[(0.5, (0.5, 0.5))])
    assert (found.verdict, found.measured, found.interval) == ("holds", 0.5, None)
