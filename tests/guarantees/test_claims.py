"""The claims: where the records are made to follow the paper every claim holds, and where one thing is otherwise its claim fails."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onestep.claims import Judge
from onestep.guarantees import claims, summary

from .made import DELTAS, NETWORKS, PUBLISHED, RATIOS, TRAINED, attacked, followed, proved, sampled, written

NORMS = ("l1", "l2", "linf")
SETS = ("mnist-odd-even", "cifar10-groups")
KINDS = ("random", "training", "test")
Ledger = dict[str, dict[str, Any]]


def judged(folder: Path, scale: str = "laptop", **frames: pd.DataFrame) -> Ledger:
    """The ledger of records that follow the laws, but for those given; by fewer resamplings than usual."""
    out = folder / "claims.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "resampling_weights", functools.partial(summary.resampling_weights, replicates=100))
        claims.assess(written(folder, **frames), PUBLISHED, DELTAS, scale, 0, folder / "tables", out)
    return {entry["id"].removeprefix("guarantees."): entry for entry in json.loads(out.read_text())["claims"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Path]:
    """Where the paper is right."""
    folder = tmp_path_factory.mktemp("world")
    return judged(folder), folder


def named(name: str) -> list[str]:
    return [f"{name}.{norm}" for norm in NORMS]


REGIONS = [f"claim3.{dataset}.{region}" for dataset in SETS for region in ("start", "middle")]
ACCURACY = [f"claim4.accuracy.{dataset}" for dataset in SETS]
LOWERED = [f"claim5.{dataset}.{kind}" for dataset in SETS for kind in KINDS]
SEARCHED = {"claim6.setting", "claim6.beyond", "claim7.beyond"}
ALL = {
    *named("claim1"), *named("claim2"), *named("figure1"), *REGIONS, *ACCURACY, "claim4.gap.cifar10-groups", *LOWERED, *SEARCHED,
    "claim7.setting", "claim8.share", "claim8.exponent",
}  # fmt: skip


def test_where_the_paper_is_right_every_claim_holds(world: tuple[Ledger, Path]) -> None:
    told = {name: entry["verdict"] for name, entry in world[0].items()}
    # What an attack could have refuted alone is not contradicted.
    assert told == {name: "not contradicted" if name in SEARCHED else "holds" for name in ALL}


def test_a_claim_says_what_it_rests_on(world: tuple[Ledger, Path]) -> None:
    ledger, folder = world
    entry = ledger["claim1.l1"]
    assert (entry["networks"], entry["samples"]) == (3 * NETWORKS, 3 * NETWORKS)  # three sides
    assert entry["data"] == "random images; trained networks: STAND-IN for MNIST and STAND-IN for CIFAR-10"
    assert entry["records"] == [str(folder / "sample.parquet")]
    assert entry["figure"] == "results/laptop/figures/guarantees/distances.pdf"
    low, high = entry["interval"]
    assert low < entry["measured"] < high
    # Of these very networks, and a proof: no interval.
    for name in (*ACCURACY, "claim7.setting", "claim7.beyond"):
        assert ledger[name]["interval"] is None
    assert {file.stem for file in (folder / "tables").glob("*.csv")} == {
        "medians", "exponents", "law", "search", "rays", "kernels", "bounds", "trained", "ratios",
    }  # fmt: skip


WORSE = {dataset: {kind: 4 * ratio for kind, ratio in kinds.items()} for dataset, kinds in RATIOS.items()}
WORLDS = {
    "distances that grow faster": (
        {"sample": lambda: sampled({norm: power + 0.2 for norm, power in summary.EXPONENTS.items()})},
        [*named("claim1"), *named("claim2")],
    ),
    "distances half as long again": ({"sample": lambda: sampled(level=1.5)}, named("figure1")),
    "boundaries at some inputs": ({"sample": lambda: sampled(shortest=0.3)}, ["claim6.setting", "claim6.beyond"]),
    "shares that go with r^2": ({"attack": lambda: attacked(power=2.0)}, REGIONS),
    "networks right on exactly 98%": ({"attack": lambda: attacked(accuracy=0.98)}, ACCURACY),
    "a gap of 10 points": ({"attack": lambda: attacked(gap=0.1)}, ["claim4.gap.cifar10-groups"]),
    "training that makes distances longer": ({"attack": lambda: attacked(WORSE)}, LOWERED),
    "kernels beyond the theorem": ({"kernels": lambda: proved(1.001, 1.001)}, ["claim7.setting", "claim7.beyond"]),
    "directions that soon meet the boundary": ({"rays": lambda: followed(level=0.05)}, ["claim8.share"]),
    "directions of another exponent": ({"rays": lambda: followed(0.7)}, ["claim8.exponent"]),
}


@pytest.mark.parametrize("name", WORLDS)
def test_where_one_thing_is_otherwise_its_claims_fail_and_no_others(name: str, tmp_path: Path) -> None:
    frames, failing = WORLDS[name]
    ledger = judged(tmp_path, **{experiment: rows() for experiment, rows in frames.items()})
    assert {claim for claim, entry in ledger.items() if entry["verdict"] == "fails"} == {*failing}


def test_smoke_judges_nothing(tmp_path: Path) -> None:
    ledger = judged(tmp_path, "smoke")
    assert ledger.keys() == ALL
    assert {entry["verdict"] for entry in ledger.values()} == {"not measured"}


def test_few_trained_networks_do_not_tell_whether_shares_are_linear_and_none_on_all_images_what_the_gap_is(tmp_path: Path) -> None:
    ledger = judged(tmp_path, attack=attacked(networks=TRAINED - 1, whole=False))
    told = {name: ledger[name]["verdict"] for name in ALL}
    unknown = {*REGIONS, "claim4.gap.cifar10-groups"}
    assert {name for name, verdict in told.items() if verdict == "not measured"} == unknown
    # The others have t intervals over networks.
    assert {told[name] for name in (*ACCURACY, *LOWERED)} == {"holds"}


def test_one_data_set_has_no_claims_about_the_other(tmp_path: Path) -> None:
    rows = attacked()
    ledger = judged(tmp_path, attack=rows[rows["dataset"] == "mnist-odd-even"])
    assert ledger.keys() == {name for name in ALL if "cifar10" not in name}
    assert ledger["claim1.l1"]["data"] == "random images; trained networks: STAND-IN for MNIST"


def test_too_few_networks_for_a_delta_are_not_judged_at_it() -> None:
    """4 / delta networks: 13 are too few for 0.3; 14 are judged at it and 39 tell; 40 are judged at 0.1, too, and 100 tell."""
    rows = followed()
    rows.loc[rows["network"] == 0, "length"] = 1e-6
    for count, deltas in ((13, []), (14, [0.3]), (39, [0.3]), (40, [0.1, 0.3]), (100, [0.1, 0.3])):
        table = claims.ray_shares(rows[rows["network"] < count], DELTAS)
        parts = claims._told(table)
        assert len(parts) == len(deltas) * 5  # cells
        assert [estimate for estimate, _ in parts] == pytest.approx([1 / count / delta for _ in range(5) for delta in deltas])
        assert (max((high for _, (_, high) in parts), default=np.inf) < 1) == (count in (39, 100))


# ---------------------------------------------------------------------------------------------- the rules in force


def test_the_ranges_are_those_that_were_agreed_on_before_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[tuple[float, float], bool]] = {}
    add = Judge.add

    def spy(judge: Judge, name: str, *words: str, holds: tuple[float, float], searched: bool = False, **more: Any) -> None:
        seen[name] = (holds, searched)
        add(judge, name, *words, holds=holds, searched=searched, **more)

    monkeypatch.setattr(Judge, "add", spy)
    judged(tmp_path)
    agreed: dict[Sequence[str], tuple[float, float]] = {
        ("claim1.l1",): (0.45, 0.55),
        ("claim1.l2",): (-0.05, 0.05),
        ("claim1.linf",): (-0.55, -0.45),
        tuple(named("claim2")): (-0.6, -0.4),
        tuple(named("figure1")): (0.8, 1.2),
        tuple(name for name in REGIONS if "start" in name): (0, 0.02),
        tuple(name for name in REGIONS if "middle" in name): (0, 0.1),
        tuple(ACCURACY): (np.nextafter(0.98, 1), 1),
        ("claim4.gap.cifar10-groups",): (14.3, 18.3),
        ("claim5.mnist-odd-even.random",): (0, np.nextafter(1, 0)),
        ("claim5.mnist-odd-even.training", "claim5.mnist-odd-even.test"): (0.8, 1.25),
        tuple(name for name in LOWERED if "cifar10" in name): (0.2, 0.5),
        ("claim6.setting", "claim6.beyond", "claim8.share"): (0, 1),  # shares over delta
        ("claim7.setting", "claim7.beyond"): (0, 1 + 1e-9),
        ("claim8.exponent",): (0.45, 0.55),
    }
    assert {name for names in agreed for name in names} == ALL
    for names, holds in agreed.items():
        for name in names:
            assert seen[name][0] == pytest.approx(holds, rel=1e-12), name
            assert seen[name][1] == (name in SEARCHED), name
    regions = {name: (limit, low, high) for name, limit, low, high in summary.REGIONS}
    assert (regions, summary.FITTED) == ({"start": (0.02, 0, 0.25), "middle": (0.1, 0.25, 0.6)}, 0.25)


@pytest.mark.parametrize(("shift", "verdict"), [(0.035, "holds"), (0.05, "inconclusive"), (0.075, "fails")])
def test_an_exponent_is_judged_by_its_interval_and_0_05(shift: float, verdict: str, tmp_path: Path) -> None:
    ledger = judged(tmp_path, sample=sampled({norm: power + shift for norm, power in summary.EXPONENTS.items()}))
    assert {ledger[name]["verdict"] for name in named("claim1")} == {verdict}
    for norm, power in summary.EXPONENTS.items():
        assert ledger[f"claim1.{norm}"]["measured"] == pytest.approx(power + shift, abs=0.02)
    assert {ledger[name]["verdict"] for name in named("claim2")} == {"holds"}  # l1's is raw: it was flatter by 1 / sqrt(ln n)


def test_shares_are_judged_on_one_input_a_network() -> None:
    """More inputs of the same networks would be no independent observations."""
    rows = sampled()
    twice = pd.concat([rows, rows.assign(input=1, distance=0.0)])
    pd.testing.assert_frame_equal(claims.bounds(twice, DELTAS), claims.bounds(rows, DELTAS))
