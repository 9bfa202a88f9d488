"""Smallest distances beside Foolbox's: what is compared is what it says, also where an attack fails or its point is none."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from onestep import records
from onestep.attacks.minimal import EFFORTS
from onestep.attacks.projection import NORMS
from onestep.benchmarks import minimal
from onestep.benchmarks.minimal import COLUMNS, RIVALS, distances, summary
from onestep.cli import main
from onestep.networks.residual import ARCHITECTURES, ImageNetwork
from onestep.seeds import stream


def command(*words: object) -> int:
    """Runs a command of the benchmarks in this process, as a person would type it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["onestep", "benchmarks", "minimal", *map(str, words)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@pytest.fixture
def small(monkeypatch) -> None:
    """Networks that take no time."""
    monkeypatch.setattr(minimal, "ARCHITECTURE", "fully-connected")


class Steps:
    """Stands for an attack of Foolbox: so many gradients, along the signs of the first one until the label has changed."""

    def __init__(self, **options: int) -> None:
        self.steps = options["steps"]

    def __call__(self, model, x, criterion, *, epsilons):
        assert epsilons is None
        points, direction, left = x.clone(), None, torch.ones(len(x), dtype=torch.bool)
        for step in range(self.steps):
            asked = (x if direction is None else points).clone().requires_grad_()
            logits = model(asked)
            margin = logits.gather(1, criterion.labels[:, None])[:, 0] * 2 - logits.sum(1)
            (gradient,) = torch.autograd.grad(margin.sum(), asked)
            direction = -gradient.sign() if direction is None else direction
            left &= margin > 0
            points = torch.where(left[:, None], (x + 0.002 * (step + 1) * direction).clamp(0, 1), points)
        return None, points, None


def stand_in():
    """A module with what is used of Foolbox."""

    def wrapped(model, bounds, device):
        assert (bounds, device) == ((0.0, 1.0), "cpu")
        return model

    attacks = {name: Steps for rivals in RIVALS.values() for name, _ in rivals.values()}
    return SimpleNamespace(
        PyTorchModel=wrapped,
        attacks=SimpleNamespace(**attacks),
        criteria=SimpleNamespace(Misclassification=lambda y: SimpleNamespace(labels=y)),
    )


def check_rows(rows: pd.DataFrame, sides: list[int], networks: int) -> None:
    """One row for every side, norm, method, network and input, and no method far from the others."""
    expected = {
        (side, norm, method, network, index)
        for side in sides
        for norm, rivals in RIVALS.items()
        for method in (*EFFORTS, *rivals)
        for network in range(networks)
        for index in range(2)
    }
    assert set(zip(*(rows[name] for name in ("side", "norm", "method", "network", "input")), strict=True)) == expected
    assert len(rows) == len(expected)
    assert (rows["seconds"] > 0).all()
    ours = rows[rows["method"].isin(list(EFFORTS))]
    assert (ours["distance"] > 0).all()
    assert rows[rows["method"] == "thorough"]["gradients"].mean() > rows[rows["method"] == "fast"]["gradients"].mean()


def test_it_measures_every_method_on_the_same_networks_and_images(small, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(minimal, "_foolbox", stand_in)
    asked = ["--side", 4, 5, "--networks", 2, "--inputs", 2, "--seed", 3]
    assert command(*asked, "--table", tmp_path / "t.csv", "--out", tmp_path / "r.parquet") == 0
    rows = records.read([tmp_path / "r.parquet"])
    assert list(rows.columns) == list(COLUMNS)
    check_rows(rows, [4, 5], 2)
    for rivals in RIVALS.values():
        for name, (_, options) in rivals.items():
            own = rows[(rows["method"] == name) & rows["norm"].isin([norm for norm in RIVALS if RIVALS[norm].get(name) == rivals[name]])]
            assert (own["gradients"] == options["steps"]).all()
    table = pd.read_csv(tmp_path / "t.csv")
    assert len(table) == 2 * len(NORMS) * len(EFFORTS)
    assert json.loads((tmp_path / "t.csv.json").read_text())["seed"] == 3
    again = minimal.measure([5], 1, 2, 3)
    same = rows[(rows["side"] == 5) & (rows["network"] == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), same.drop(columns="seconds"))


def test_foolbox_itself_is_asked_as_it_wants_to_be(small) -> None:
    pytest.importorskip("foolbox")
    rows = minimal.measure([4], 2, 2, 3)
    check_rows(rows, [4], 2)
    assert rows["distance"].isna().mean() < 0.2
    best = rows[~rows["method"].isin(list(EFFORTS))].groupby(["side", "norm", "network", "input"])["distance"].min()
    thorough = rows[rows["method"] == "thorough"].set_index(["side", "norm", "network", "input"])["distance"]
    assert 0.8 < (thorough / best).median() < 1.1


def test_a_point_counts_where_the_sign_has_changed_inside_the_box() -> None:
    net = ImageNetwork.sample(stream(0, "counted"), ARCHITECTURES["fully-connected"], 3, dtype=torch.float32)
    x = torch.tensor(stream(0, "counted", "x").random((40, 27)), dtype=torch.float32)
    other = torch.tensor(stream(0, "counted", "other").random((40, 27)), dtype=torch.float32)
    changed = (net.value(x) > 0) != (net.value(other) > 0)
    assert changed.any()
    assert not changed.all()
    for norm, order in NORMS.items():
        found = distances(net, x, other, norm)
        assert torch.equal(found.isnan(), ~changed)
        known = np.linalg.norm((other - x).double().numpy(), order, axis=1)[changed.numpy()]
        assert found[changed].numpy() == pytest.approx(known)
        assert distances(net, x, other + 1, norm).isnan().all()


def made_up(distance: dict[str, list[float]], norm: str = "linf") -> pd.DataFrame:
    """Records of one side and norm, two images for each network; thorough takes 4 gradients and 3 s, FMN 8 and 12 s, others 2 and 1."""
    costs = {"thorough": (4, 3.0), "FMN": (8, 12.0)}
    rows = [
        (20, norm, method, index // 2, index % 2, value, *costs.get(method, (2, 1.0)))
        for method, values in distance.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_ratios_are_those_to_the_best_rival_of_each_image_and_costs_those_of_the_strongest() -> None:
    found = {"fast": [1.0, 2.2, 1.5, 3.0], "thorough": [0.9, 2.0, 1.0, 2.0], "FMN": [1.0, 2.0, 1.0, 9.0], "DeepFool": [2.0, 4.0, 2.0, 2.0]}
    table = summary(made_up(found), seed=0).set_index("effort")
    assert table.loc["fast", "ratio"] == pytest.approx(np.median([1.0, 1.1, 1.5, 1.5]))
    assert table.loc["fast", "largest"] == pytest.approx(1.5)
    assert table.loc["thorough", "ratio"] == pytest.approx(1.0)
    # Two networks: a sample of them is one of the two twice, or both.
    assert table.loc["fast", ["ratio_low", "ratio_high"]].tolist() == pytest.approx([1.05, 1.5])
    assert (table["rival"] == "FMN").all()
    assert (table["networks"] == 2).all()
    assert (table["samples"] == 4).all()
    assert table.loc["thorough", ["fewer", "faster"]].tolist() == [2, 4]
    assert table.loc["fast", ["fewer", "faster"]].tolist() == [4, 12]


def test_failures_are_infinite_distances_and_counted() -> None:
    nan = math.nan
    found = {"fast": [1.0, nan, nan, nan], "thorough": [1.0, 1.0, 2.0, 1.0], "FMN": [0.9, nan, nan, nan], "DeepFool": [1.0, 1.0, 1.0, nan]}
    table = summary(made_up(found), seed=0).set_index("effort")
    assert table["failed"].to_dict() == {"fast": 3, "thorough": 0}
    assert table.loc["fast", "largest"] == math.inf
    assert table.loc["thorough", "largest"] == pytest.approx(2.0)
    assert table.loc["thorough", "ratio"] == pytest.approx(np.median([1 / 0.9, 1.0, 2.0, 0.0]))
    assert (table["rival"] == "DeepFool").all()
    assert (table["rivals_failed"] == "FMN 3, DeepFool 1").all()


def test_without_foolbox_one_line_says_what_to_install(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    files = ["--table", tmp_path / "t.csv", "--out", tmp_path / "r.parquet"]
    assert command("--side", 4, "--networks", 1, "--inputs", 1, "--seed", 0, *files) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install foolbox==3.3.4" in said
    assert not list(tmp_path.iterdir())
