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

from .conftest import FEW, NETWORKS, WIDEST, Records

GAMMAS = [0.1, 0.3]
COLUMNS = {"variants": "VARIANT_COLUMNS"} | {
    kind: f"{kind.upper()}_COLUMNS" for kind in ("sample", "universal", "fixed", "hessian", "bracket", "limit")
}
TABLES = ("cells", "slopes", "bounds", "exceptions", "variants", "activations", "hessian", "infinite_width", "convergence", "bracket")


Ledger = dict[str, dict[str, Any]]


def assess(recorded: Records, folder: Path, scale: str = "laptop") -> Ledger:
    out = folder / "claims.json"
    claims.assess(recorded, GAMMAS, 1.0, scale, 1, folder / "tables", out)
    return {entry["id"].removeprefix("singlestep."): entry for entry in json.loads(out.read_text())["claims"]}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the claims and tables of `ledger` lie."""
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def ledger(recorded: Records, judged: Path) -> Ledger:
    """What is judged from the records as they were sampled."""
    return assess(recorded, judged)


def doctored(recorded: Records, folder: Path, kind: str, change: Any) -> Records:
    """The same records with one experiment's frames changed."""
    files = []
    for file in recorded[kind]:
        files.append(folder / file.name)
        records.write(files[-1], change(records.read([file])), getattr(experiment, COLUMNS[kind]), {})
    return recorded | {kind: files}


def test_every_claim_has_what_a_reader_needs(ledger: Ledger, judged: Path) -> None:
    fields = "id paper statement published measured interval verdict rule networks samples scale data figure records"
    for entry in ledger.values():
        assert list(entry) == fields.split()
        assert entry["interval"] is None or entry["interval"][0] <= entry["measured"] <= entry["interval"][1]
        assert entry["rule"]
        assert entry["verdict"] == "not measured" or entry["networks"] > 0
    for name in TABLES:
        assert (judged / f"tables/{name}.csv").read_text()
    assert len(read(judged / "claims.json")) == len(ledger)


def test_smoke_is_too_small_to_judge(recorded: Records, tmp_path: Path) -> None:
    assert {entry["verdict"] for entry in assess(recorded, tmp_path, "smoke").values()} == {"not measured"}


def test_few_networks_do_not_let_claim_1_hold(ledger: Ledger) -> None:
    """100 networks without an exception bound the share by 0.025^(1/100) = 96%, far from 99.5%."""
    for name in ("fig1.two-layer", "thm1.switched.tanh"):
        assert ledger[name]["measured"] == 1
        assert ledger[name]["interval"][0] == pytest.approx(0.025 ** (1 / NETWORKS))
        assert ledger[name]["verdict"] == "inconclusive"


def test_cells_with_few_networks_are_shown_and_not_judged(recorded: Records, ledger: Ledger, tmp_path: Path) -> None:
    """At the widest width there are 3 networks: whatever they do, no claim changes, but for the list of exceptions."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        few = frame["width"] == WIDEST
        return frame.assign(
            status=frame["status"].mask(few, "unswitched"),
            step=frame["step"].mask(few),
            gradient_norm=frame["gradient_norm"].mask(few, 9.0),
        )

    after = assess(doctored(recorded, tmp_path, "sample", spoil), tmp_path)
    for name, entry in ledger.items():
        assert {key: after[name][key] for key in entry if key != "records"} == {key: entry[key] for key in entry if key != "records"}
    cells = pd.read_csv(tmp_path / "tables/cells.csv")
    assert (cells["judged"] == (cells["networks"] >= NETWORKS)).all()
    assert set(cells.loc[cells["judged"] == 0, "width"]) == {WIDEST}
    assert (pd.read_csv(tmp_path / "tables/exceptions.csv")["width"] == WIDEST).sum() == FEW


def test_a_run_with_few_networks_everywhere_judges_nothing_but_suprema(recorded: Records, tmp_path: Path) -> None:
    thinned = recorded
    for kind in ("sample", "universal", "fixed", "variants", "hessian"):
        thinned = doctored(thinned, tmp_path, kind, lambda frame: frame[frame["network"] < 29])
    verdicts = {name: entry["verdict"] for name, entry in assess(thinned, tmp_path).items()}
    assert {name for name, verdict in verdicts.items() if verdict != "not measured"} == {"prop2.gradient-change"}


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
    exceptions = pd.read_csv(tmp_path / "tables/exceptions.csv").query("width != @WIDEST")
    assert sorted(set(exceptions["network"])) == list(range(10))
    assert (exceptions["width"] > 50).all()


def test_a_step_that_grows_with_d_is_not_constant(recorded: Records, ledger: Ledger, tmp_path: Path) -> None:
    changed = doctored(recorded, tmp_path, "sample", lambda frame: frame.assign(step=frame["step"] * frame["input_dim"] ** 0.5))
    entry = assess(changed, tmp_path)["fig2a.step-in-d.two-layer"]
    assert entry["verdict"] == "fails"
    assert entry["measured"] == pytest.approx(ledger["fig2a.step-in-d.two-layer"]["measured"] + 0.5, abs=1e-9)


def test_values_beyond_the_bound_fail_propositions_1_and_3(recorded: Records, ledger: Ledger, tmp_path: Path) -> None:
    beyond = lambda frame: frame.assign(value=frame["value"] + 10 * np.sign(frame["value"]))  # noqa: E731
    changed = assess(doctored(doctored(recorded, tmp_path, "sample", beyond), tmp_path, "variants", beyond), tmp_path)
    for proposition in ("prop3.value", "prop1.value"):
        assert changed[proposition]["verdict"] == "fails"
        assert ledger[proposition]["verdict"] != "fails"


def test_no_narrow_width_lets_proposition_4_be_measured(recorded: Records, ledger: Ledger, tmp_path: Path) -> None:
    assert ledger["prop4.gradient-change"]["verdict"] == "not measured"
    wide = doctored(recorded, tmp_path, "fixed", lambda frame: frame.assign(width=3000, input_dim=1000, radius=2.0))
    assert assess(wide, tmp_path)["prop4.gradient-change"]["verdict"] == "not contradicted"
    steep = doctored(recorded, tmp_path, "fixed", lambda frame: frame.assign(width=3000, input_dim=1000, radius=2.0, gradient_change=1e6))
    assert assess(steep, tmp_path)["prop4.gradient-change"]["verdict"] == "fails"


def test_a_claim_counts_only_the_networks_that_it_rests_on(ledger: Ledger, judged: Path) -> None:
    """All four cells bound |f|, none has a width at which the gradient's bound says something at these gammas."""
    telling = pd.read_csv(judged / "tables/bounds.csv").query("limit > 0 and networks >= 4 / gamma")
    for bound in ("value", "gradient"):
        cells = telling[telling["bound"] == bound][["activation", "width", "input_dim"]].drop_duplicates()
        relu = cells["activation"] == "relu"
        assert ledger[f"prop3.{bound}"]["networks"] == NETWORKS * relu.sum()
        assert ledger[f"prop1.{bound}"]["networks"] == NETWORKS * (~relu).sum()
    assert ledger["prop3.value"]["networks"] == 4 * NETWORKS
    assert ledger["universal.share"]["samples"] == ledger["universal.share"]["networks"] == NETWORKS
    assert ledger["universal.length"]["samples"] == 2 * NETWORKS
    assert ledger["thm1.fixed-step"]["networks"] == 3 * NETWORKS
    assert ledger["footnote2.switched"]["networks"] == 2 * NETWORKS


def test_the_fixed_step_fails_when_more_stay_than_gamma_allows(recorded: Records, tmp_path: Path) -> None:
    """At c = 1, gamma = 1/e: 75 of 100 unflipped is 2 gamma. 6 of 100 is less than gamma = 10.5% at c = 1.5, but not surely so."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        flipped = frame["network"] < np.where(frame["activation"] == "relu", 25, 94)
        return frame.assign(status=np.where(flipped, "switched", "unswitched"))

    ledger = assess(doctored(recorded, tmp_path, "fixed", spoil), tmp_path)
    for theorem, constant, verdict in ((1, "C3", "inconclusive"), (2, "C4", "fails")):
        assert ledger[f"thm{theorem}.fixed-step"]["verdict"] == verdict
        assert f"{constant} = 1" in ledger[f"thm{theorem}.fixed-step"]["statement"]


def test_an_universal_direction_that_does_not_flip_and_has_another_length_fails(recorded: Records, tmp_path: Path) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(status="unswitched", fixed_value=frame["value"], universal_norm=2 * frame["gradient_norm"])

    ledger = assess(doctored(recorded, tmp_path, "universal", spoil), tmp_path)
    for name in ("share", "perturbation", "length"):
        assert ledger[f"universal.{name}"]["verdict"] == "fails"


def test_perturbations_that_do_not_shrink_with_d_and_are_too_long_fail(recorded: Records, tmp_path: Path) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(perturbation_norm=2 * frame["perturbation_norm"] * np.sqrt(frame["input_dim"]))

    ledger = assess(doctored(recorded, tmp_path, "sample", spoil), tmp_path)
    assert ledger["thm2.perturbation"]["verdict"] == ledger["law.half-normal"]["verdict"] == "fails"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "holds"), (2.0, "fails")])
def test_the_gradient_law_is_judged_where_k_is_large_against_d(
    recorded: Records, ledger: Ledger, tmp_path: Path, factor: float, verdict: str
) -> None:
    assert ledger["law.gradient-change"]["verdict"] == "not measured"

    def wide(frame: pd.DataFrame) -> pd.DataFrame:
        change = factor * frame["gradient_norm"] * np.sqrt(2 * frame["radius"] / (np.pi * np.sqrt(frame["input_dim"])))
        return frame.assign(width=10 * frame["width"], gradient_change=change)

    assert assess(doctored(recorded, tmp_path, "fixed", wide), tmp_path)["law.gradient-change"]["verdict"] == verdict


def test_a_threshold_that_falls_with_depth_fails(recorded: Records, tmp_path: Path) -> None:
    """The two-layer networks switch nowhere below d = 60, k = 60, the deeper ones everywhere."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        lost = (frame["depth"] == 1) & (frame["width"] != WIDEST) & ((frame["input_dim"] == 10) | (frame["width"] == 10))
        return frame.assign(status=np.where(lost, "unswitched", "switched"), step=1.0, perturbation_norm=1.0)

    ledger = assess(doctored(recorded, tmp_path, "sample", spoil), tmp_path)
    assert ledger["fig1.threshold-d"]["verdict"] == ledger["fig1.threshold-k"]["verdict"] == "fails"


def test_one_depth_says_nothing_of_growth_with_depth(recorded: Records, tmp_path: Path) -> None:
    shallow = recorded | {"sample": [file for file in recorded["sample"] if file.stem.startswith("sample-1-")]}
    ledger = assess(shallow, tmp_path)
    assert ledger["fig1.threshold-d"]["verdict"] == ledger["fig1.threshold-k"]["verdict"] == "not measured"


def test_a_hessian_of_another_exponent_fails(recorded: Records, tmp_path: Path) -> None:
    """The norm is made exact, of another power of d for each activation."""
    exponents = {"tanh": -0.5, "softplus": -0.3, "gelu": -0.54}

    def exact(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(hessian_norm=2.0 * frame["input_dim"] ** frame["activation"].map(exponents))

    ledger = assess(doctored(recorded, tmp_path, "hessian", exact), tmp_path)
    for activation, verdict in (("tanh", "holds"), ("softplus", "fails"), ("gelu", "holds")):
        assert ledger[f"thm1.hessian.{activation}"]["verdict"] == verdict
        assert ledger[f"thm1.hessian.{activation}"]["measured"] == pytest.approx(exponents[activation])


def test_proposition_2_fails_only_where_more_than_gamma_of_the_networks_exceed_it(
    recorded: Records, ledger: Ledger, tmp_path: Path
) -> None:
    """20 of 100 are fewer than the largest gamma, 30%, allows; 60 of 100 are more."""
    assert ledger["prop2.gradient-change"]["verdict"] == "not contradicted"
    assert ledger["prop2.gradient-change"]["interval"] is None
    for exceeding, verdict in ((20, "inconclusive"), (60, "fails")):

        def steep(frame: pd.DataFrame, exceeding: int = exceeding) -> pd.DataFrame:
            return frame.assign(radius=2.0, gradient_change=frame["gradient_change"].mask(frame["network"] < exceeding, 1e6))

        assert assess(doctored(recorded, tmp_path, "fixed", steep), tmp_path)["prop2.gradient-change"]["verdict"] == verdict


def test_variants_are_compared_with_the_networks_of_sample(recorded: Records, tmp_path: Path) -> None:
    """The same records as variants: no difference; with longer steps, or samples lost, there is one."""
    relu = records.read(recorded["sample"]).query("hidden_scale == 'he' and depth == 1 and width == 60").drop(columns="hidden_scale")

    def same(frame: pd.DataFrame) -> pd.DataFrame:
        return relu.assign(variant=frame["variant"].iloc[0])[list(frame.columns)]

    twin = doctored(recorded, tmp_path, "variants", same)
    ledger = assess(twin, tmp_path)
    assert ledger["footnote2.step"]["measured"] == pytest.approx(1)
    assert ledger["footnote2.switched"]["measured"] == 0
    assert ledger["bias.switched"]["verdict"] == "inconclusive"  # 100 networks are too few for half a point
    table = pd.read_csv(tmp_path / "tables/variants.csv")
    assert np.allclose(table["step_ratio"], 1)

    longer = doctored(twin, tmp_path, "variants", lambda frame: frame.assign(step=1.5 * frame["step"]))
    assert assess(longer, tmp_path)["bias.step"]["verdict"] == "fails"
    lost = doctored(
        twin, tmp_path, "variants", lambda frame: frame.assign(status=np.where(frame["network"] < 20, "unswitched", "switched"))
    )
    assert assess(lost, tmp_path)["footnote2.switched"]["verdict"] == "fails"


def test_the_law_at_infinite_width_fails_for_perturbations_twice_as_long(recorded: Records, ledger: Ledger, tmp_path: Path) -> None:
    shorter = doctored(recorded, tmp_path, "limit", lambda frame: frame.assign(perturbation_norm=0.4 * frame["perturbation_norm"]))
    assert ledger["law.infinite-width"]["verdict"] != "fails"
    assert assess(shorter, tmp_path)["law.infinite-width"]["verdict"] == "fails"


@pytest.mark.usefixtures("ledger")
def test_a_bound_above_a_perturbation_is_counted(recorded: Records, judged: Path, tmp_path: Path) -> None:
    assert (pd.read_csv(judged / "tables/bracket.csv")["violations"] == 0).all()
    assess(doctored(recorded, tmp_path, "bracket", lambda frame: frame.assign(lower_bound=2 * frame["best_norm"])), tmp_path)
    assert (pd.read_csv(tmp_path / "tables/bracket.csv")["violations"] == FEW).all()
