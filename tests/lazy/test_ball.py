"""What is certain of all networks of the ball, against networks that were trained in it."""

from pathlib import Path

import numpy as np

from onestep import records
from onestep.lazy import ball, models, starts

from .conftest import RADII, SIDES, WIDTH, settings


def test_trained_networks_lie_between_the_extremes_and_are_flipped_where_that_is_certain(
    images: Path, trained: Path, tmp_path: Path
) -> None:
    count = 30
    ball.ball(settings(), RADII, range(1), count, images, tmp_path / "b.parquet")
    rows = records.read([tmp_path / "b.parquet"])
    assert len(rows) == len(SIDES) * len(RADII) * count
    found = 0
    for (c0, dim), part in rows.groupby(["c0", "input_dim"]):
        model = models.read(trained / f"side-{round(dim**0.5)}" / models.name(c0))
        setting = models.setting_of(model)
        x, labels = starts.images(setting, images).test_x[part["input"]].astype(float), starts.images(setting, images).test_y[part["input"]]

        def value(points: np.ndarray, weights: np.ndarray, signs: np.ndarray = model.signs) -> np.ndarray:
            return np.maximum(points @ weights.T.astype(float), 0) @ signs / np.sqrt(WIDTH)

        f = value(x, model.weights)
        assert (f <= part["highest"] + 1e-5).all()
        assert (f >= part["lowest"] - 1e-5).all()
        start, signs, _ = starts.start(setting)
        np.testing.assert_allclose(part["value"], value(x, start), atol=1e-5)
        changed = ((x @ start.T.astype(float) > 0) != (x @ model.weights.T.astype(float) > 0)).sum(1)
        assert (changed <= part["changeable"]).all()
        gradient = ((x @ start.T.astype(float) > 0) * signs / np.sqrt(WIDTH)) @ start
        unit = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        certain = part["certain"].notna().to_numpy()
        points = x - labels[:, None] * part["certain"].to_numpy()[:, None] * unit
        assert (labels[certain] * value(points[certain], model.weights) < 1e-5).all()
        assert (part["status"] == np.where(certain, "certain", "unknown")).all()
        found += certain.sum()
    assert found > 20


def test_a_larger_ball_is_less_certain(images: Path, tmp_path: Path) -> None:
    ball.ball(settings()[1:], [1.0, 2.0], range(3), 5, images, tmp_path / "b.parquet")
    small, large = (part.reset_index() for _, part in records.read([tmp_path / "b.parquet"]).groupby("c0"))
    assert (large["highest"] > small["highest"]).all()
    assert (large["lowest"] < small["lowest"]).all()
    assert (large["changeable"] >= small["changeable"]).all()
    both = small["certain"].notna() & large["certain"].notna()
    assert both.any()
    assert (large["certain"] > small["certain"])[both].all()
