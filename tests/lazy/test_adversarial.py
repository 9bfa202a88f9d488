"""Figure 4's experiment on the digits that need no network: what its records say, recomputed from their definition."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.lazy import adversarial, starts
from onestep.lazy.adversarial import REFERENCE_STEPS, Attacks
from onestep.provenance import read_certificate

from .conftest import WIDTH, settings

ATTACKS = Attacks(lr=0.1, epochs=5, patience=3, training_steps=3, test_steps=20)
BUDGETS, RADII = [0.0, 0.1, 0.3], [2.0]


def robust(images: Path, folder: Path, budgets=BUDGETS, radii=RADII, checked: int = 1, **changes) -> pd.DataFrame:
    adversarial.robust(settings(**changes)[1], ATTACKS, budgets, radii, checked, images, folder / "r.parquet")
    return records.read([folder / "r.parquet"])


def test_without_a_budget_robust_is_right_and_with_more_fewer_images_are(images: Path, tmp_path: Path) -> None:
    rows = robust(images, tmp_path)
    none = rows[rows["budget"] == 0]
    assert np.array_equal(none["margin"], none["attacked"])
    assert (rows["attacked"] <= rows["margin"] + 1e-5).all()
    shares = [(rows.loc[rows["budget"] == budget, "status"] == "robust").mean() for budget in BUDGETS]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.9 > 0.7 > shares[-1]
    told = np.where(rows["margin"] <= 0, "wrong", np.where(rows["attacked"] > 0, "robust", "broken"))
    assert np.array_equal(rows["status"], told)
    assert set(rows["panel"]) == {"budgets"}


def test_the_published_attack_is_run_on_so_many_inner_cells_and_no_others(images: Path, tmp_path: Path) -> None:
    rows = robust(images, tmp_path, [*BUDGETS, 0.6], checked=2)
    run = rows.groupby("budget")["reference"].agg(lambda values: values.notna().mean())
    assert run.to_list() == [0.0, 1.0, 1.0, 0.0]  # not at the ends


def test_a_larger_ball_is_no_less_robust_and_a_ball_of_radius_zero_is_its_start(images: Path, tmp_path: Path) -> None:
    rows = robust(images, tmp_path, budgets=[0.1], radii=[0.0, 0.1, 2.0])
    assert set(rows["panel"]) == {"radii"}
    setting = settings()[1]
    weights, signs, _ = starts.start(setting)
    x = starts.images(setting, images)
    f = np.maximum(x.test_x.astype(float) @ weights.T, 0) @ signs / np.sqrt(WIDTH)
    first = rows[rows["radius"] == 0].sort_values("input")
    np.testing.assert_allclose(first["margin"], f * x.test_y, atol=1e-5)
    shares = rows.groupby("radius")["status"].agg(lambda status: (status == "robust").mean())
    assert shares[2.0] > shares[0.1] > shares[0.0]


def test_a_training_against_the_published_attack_stands_beside_the_one_of_fewer_steps(images: Path, tmp_path: Path) -> None:
    adversarial.check(settings()[1], ATTACKS, BUDGETS, RADII, images, tmp_path / "c.parquet")
    rows = records.read([tmp_path / "c.parquet"])
    assert set(rows["steps"]) == {ATTACKS.training_steps, REFERENCE_STEPS}
    assert rows["budget"].nunique() == 1
    assert rows["reference"].notna().all()


def test_as_published_attacked_images_stay_in_the_box_and_weights_are_those_before_projection(images: Path, tmp_path: Path) -> None:
    published = {"protocol": "as_published", "bias": "normal"}
    rows = robust(images, tmp_path, **published)
    assert set(rows["protocol"]) == {"as_published"}
    experiment = adversarial.Experiment(settings(**published)[1], ATTACKS, images)
    points = experiment.attacked(experiment.start, experiment.test_x, experiment.test_y, 0.5, 5)
    assert float(points.min()) >= 0
    assert float(points.max()) <= 1
    assert (points[:, 0] == 1).all()
    trained = experiment.train(0.1, 0.001, 3)
    farthest = [(net.weights - experiment.start.weights).norm(dim=1).max().item() for net in (trained.inside, trained.unprojected)]
    assert farthest[0] == pytest.approx(0.001, rel=1e-3)
    assert farthest[1] > 0.0011


def test_the_same_run_writes_the_same_rows_and_says_how_it_attacked(images: Path, tmp_path: Path) -> None:
    first, second = (robust(images, tmp_path) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    parameters = read_certificate(tmp_path / "r.parquet")["parameters"]
    assert parameters["attacks"] == vars(ATTACKS)
