"""Trained networks and their first steps: against a scan of the network itself, with everything recomputed by NumPy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.data import prepare
from onestep.errors import Mistake
from onestep.lazy import experiment, models, starts
from onestep.lazy.models import UNCONSTRAINED
from onestep.lazy.starts import Setting
from onestep.provenance import read_certificate

from .conftest import RADII, SIDES, WIDTH, settings


@pytest.fixture(scope="module")
def attacked(trained: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("attacked") / "attack.parquet"
    experiment.attack(trained, None, None, out)
    return records.read([out])


def value(model: models.Model, x: np.ndarray) -> np.ndarray:
    """f at rows of x, from the model's file alone, in double precision."""
    W, a = model.weights.astype(float), model.signs.astype(float)
    return np.maximum(x @ W.T, 0) @ a / np.sqrt(len(a)) + model.output_bias


@pytest.mark.parametrize("folder", ["trained", "published"])
def test_steps_are_the_first_of_20_000_points_at_which_the_prediction_flips(
    folder: str, request: pytest.FixtureRequest, images: Path, tmp_path: Path
) -> None:
    where: Path = request.getfixturevalue(folder)
    experiment.attack(where, images, 20, tmp_path / "a.parquet")
    frame = records.read([tmp_path / "a.parquet"])
    for file in where.glob("**/*.safetensors"):
        model = models.read(file)
        setting = models.setting_of(model)
        x = starts.images(setting, images).test_x.astype(float)
        mine = frame[(frame["c0"] == model.c0) & (frame["input_dim"] == setting.side**2)]
        assert len(mine) == 20
        for row in mine.itertuples():
            point = x[row.input]
            W = model.weights.astype(float)
            gradient = (model.signs * (W @ point > 0)) @ W / np.sqrt(WIDTH)
            if setting.bias != "none":
                gradient[0] = 0
            f = float(value(model, point[None])[0])
            assert row.value == pytest.approx(f, rel=1e-4, abs=1e-6)
            assert row.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
            grid = np.linspace(0, 1.3 * row.step, 20_001)
            phi = value(model, point - np.sign(f) * grid[:, None] * gradient) * np.sign(f)
            first = grid[int((phi < 0).argmax())]
            # f is good to about 1e-7 in single precision.
            assert row.step == pytest.approx(first, rel=2e-4, abs=1e-6 / row.gradient_norm**2)
            assert row.perturbation_norm == pytest.approx(row.step * row.gradient_norm, rel=1e-6)


def test_rows_say_what_was_trained(attacked: pd.DataFrame, images: Path) -> None:
    names = "c0 width input_dim run input value gradient_norm step perturbation_norm input_norm correct status"
    assert " ".join(attacked).startswith(names)
    assert set(attacked["c0"]) == {*RADII, UNCONSTRAINED}
    assert set(attacked["input_dim"]) == {side**2 for side in SIDES}
    assert np.allclose(attacked["input_norm"], 1, atol=1e-6)
    count = len(starts.images(settings()[0], images).test_y)
    assert (attacked.groupby(["c0", "input_dim"]).size() == count).all()
    assert attacked.groupby("c0")["correct"].mean()[UNCONSTRAINED] > 0.95


def test_the_certificate_has_what_the_paper_says_of_the_training(trained: Path, tmp_path: Path) -> None:
    experiment.attack(trained, None, 1, tmp_path / "a.parquet")
    assert read_certificate(tmp_path / "a.parquet")["parameters"]["lr"] == settings()[0].lr


def test_the_weights_kept_lie_inside_their_ball_and_those_of_the_authors_code_outside(trained: Path, published: Path) -> None:
    for folder, inside in ((trained, True), (published, False)):
        for file in folder.glob("**/*.safetensors"):
            model = models.read(file)
            start, signs, output_bias = starts.start(models.setting_of(model))
            assert np.array_equal(model.signs, signs)
            assert model.output_bias == output_bias
            farthest = np.linalg.norm(model.weights.astype(float) - start, axis=1).max() * np.sqrt(WIDTH)
            if model.c0 != UNCONSTRAINED:
                assert (farthest <= model.c0 * (1 + 1e-5)) == inside
                assert model.info["stop"] == "left"


def test_norm_radii_and_protocol_do_not_change_the_start() -> None:
    one, other = settings()[0], settings(unit_norm=False, bias="zero", protocol="as_published")[0]
    assert np.array_equal(starts.start(one)[0], starts.start(other)[0][:, 1:])
    assert not starts.start(other)[0][:, 0].any()


def test_the_same_weights_whichever_other_radii_are_asked_for(trained: Path, images: Path, tmp_path: Path) -> None:
    models.train(settings()[:1], RADII[:1], images, tmp_path / "alone")
    name = Path(f"side-{SIDES[0]}") / models.name(RADII[0])
    assert np.array_equal(models.read(tmp_path / "alone" / name).weights, models.read(trained / name).weights)


def test_without_a_ball_a_training_ends_when_it_has_learned_so_much(trained: Path, images: Path, tmp_path: Path) -> None:
    models.train(settings(learned=10.0)[:1], [UNCONSTRAINED], images, tmp_path / "soon")
    name = Path(f"side-{SIDES[0]}") / models.name(UNCONSTRAINED)
    soon, late = models.read(tmp_path / "soon" / name).info, models.read(trained / name).info
    assert (soon["stop"], soon["steps"]) == ("learned", len(starts.images(settings()[0], images).train_y))
    assert late["steps"] > soon["steps"]


def test_the_smallest_distance_lies_between_the_bound_and_the_step(trained: Path, images: Path, tmp_path: Path) -> None:
    experiment.bracket(trained, images, 4, tmp_path / "b.parquet")
    rows = records.read([tmp_path / "b.parquet"])
    assert len(rows) == 4 * len(SIDES) * (len(RADII) + 1)
    switched = rows[rows["status"] == "switched"]
    assert len(switched) > 20
    assert (switched["found"] <= switched["perturbation_norm"] * (1 + 1e-9)).all()
    assert (rows["bound"] <= rows["found"]).all()
    assert (rows["bound"] > 0).all()


def test_bracketed_pixels_have_a_bias_that_no_perturbation_moves(images: Path, tmp_path: Path) -> None:
    models.train(settings(unit_norm=False, bias="torch")[1:], RADII[:1], images, tmp_path / "m")
    experiment.bracket(tmp_path / "m", images, 4, tmp_path / "b.parquet")
    rows = records.read([tmp_path / "b.parquet"])
    assert set(rows["input_dim"]) == {SIDES[1] ** 2}
    assert (rows["bound"] <= rows["found"]).all()
    assert (rows["found"] <= rows["perturbation_norm"] * (1 + 1e-9)).all()


def test_networks_with_an_output_bias_are_not_bracketed(published: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="have an output bias"):
        experiment.bracket(published, images, 4, tmp_path / "b.parquet")


def test_the_way_of_a_training_without_a_ball_ends_at_its_weights(trained: Path, images: Path, tmp_path: Path) -> None:
    experiment.journey(trained, images, tmp_path / "j.parquet")
    rows = records.read([tmp_path / "j.parquet"])
    for side in SIDES:
        model = models.read(trained / f"side-{side}" / models.name(UNCONSTRAINED))
        setting = models.setting_of(model)
        start = starts.start(setting)[0].astype(float)
        way = rows[rows["input_dim"] == side**2]
        assert way["steps"].is_monotonic_increasing
        assert way["farthest"].is_monotonic_increasing
        last = way.iloc[-1]
        assert last["steps"] == model.info["steps"]
        distance = np.linalg.norm(model.weights - start, axis=1) * np.sqrt(WIDTH)
        assert last["farthest"] == pytest.approx(distance.max(), rel=1e-4)
        assert last["median"] == pytest.approx(np.median(distance), rel=1e-4)
        # The features from their definition: the gradient of f in W at every image, as one long vector.
        count = len(starts.images(setting, images).test_y)
        chosen = setting.stream("journey").choice(count, min(models.LOOKED_AT, count), replace=False)
        x = starts.images(setting, images).test_x[chosen].astype(float)
        features = [((x @ W.T > 0)[:, :, None] * x[:, None, :]).reshape(len(x), -1) for W in (start, model.weights.astype(float))]
        kernels = [part @ part.T for part in features]
        alignment = (kernels[0] * kernels[1]).sum() / np.linalg.norm(kernels[0]) / np.linalg.norm(kernels[1])
        assert last["alignment"] == pytest.approx(alignment, rel=1e-4)
        assert last["changed"] == pytest.approx(((x @ start.T > 0) != (x @ model.weights.T.astype(float) > 0)).mean(), abs=1e-4)
    assert rows.groupby("input_dim")["alignment"].first().min() > rows.groupby("input_dim")["alignment"].last().max()


def test_a_folder_without_such_a_training_has_no_way(published: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no model of a training without a ball"):
        experiment.journey(published, images, tmp_path / "j.parquet")


def test_images_of_one_label_are_too_few(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, info = prepare.read(images)
    one_sided = {name: part[arrays[f"{name.split('_')[0]}_y"] == 1] if name.startswith("test") else part for name, part in arrays.items()}
    monkeypatch.setattr(prepare, "read", lambda file: (one_sided, info))
    with pytest.raises(Mistake, match="test images all have one label"):
        starts.images(settings()[0], images)


def test_mistakes_are_one_line(images: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="ascending order, each once"):
        models.train(settings(), [4.0, 2.0], images, tmp_path / "m")
    with pytest.raises(Mistake, match="images are only made smaller"):
        models.train([Setting("mnist-0-1", 29, WIDTH, 0, 1)], [2.0], images, tmp_path / "m")
    with pytest.raises(Mistake, match="holds mnist-0-1, not cifar10"):
        models.train([Setting("cifar10", 5, WIDTH, 0, 1)], [2.0], images, tmp_path / "m")
    with pytest.raises(Mistake, match="holds no models"):
        experiment.attack(tmp_path, None, None, tmp_path / "a.parquet")
    with pytest.raises(Mistake, match="diverged"):
        models.train(settings(lr=1e40), RADII, images, tmp_path / "m")
    assert not list(tmp_path.rglob("*.safetensors"))
