"""The figures: all of them from made-up records, as vector files that are the same bytes each time."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from onestep import drawing
from onestep.guarantees import figures, summary
from onestep.provenance import read_certificate

from .made import PUBLISHED, attacked, followed, sampled, shown, written

NAMES = {"distances", "relative", "supplement", "law", "percentiles", "trained", "bounds", "rays", "examples"}


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fewer resamplings than usual, and no figure left open."""
    monkeypatch.setattr(summary, "resampling_weights", functools.partial(summary.resampling_weights, replicates=100))
    yield
    plt.close("all")


def test_every_figure_is_drawn_and_is_the_same_bytes_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are drawn; writing them is what takes long, so only two are written, twice."""
    drawn = set()

    def save(figure: Figure, path: Path, born: dict[str, Any]) -> None:
        drawn.add(path.stem)
        assert len(born["inputs"]) == 8  # seven experiments and the published medians
        if path.stem in ("rays", "trained"):
            drawing.save(figure, path, born)

    monkeypatch.setattr(figures, "save", save)
    figures.draw(written(tmp_path), PUBLISHED, 1, tmp_path / "first")
    assert drawn == NAMES
    again = {
        "rays": figures.rays(followed(), summary.ray_quantiles(followed(), 1)[0]),
        "trained": figures.trained(summary.lines(attacked(), 1)),
    }
    for name, figure in again.items():
        drawing.save(figure, tmp_path / "second" / f"{name}.pdf", {})
        for suffix in (".pdf", ".svg"):
            first, second = ((tmp_path / run / name).with_suffix(suffix) for run in ("first", "second"))
            assert first.read_bytes() == second.read_bytes()
            assert read_certificate(first)["inputs"]


def test_a_run_with_one_data_set_is_drawn() -> None:
    rows = attacked(networks=4)
    rows = rows[rows["dataset"] == "mnist-odd-even"]
    table = summary.lines(rows, 1)
    for figure, panels, title in (
        (figures.percentiles(rows, table), 3, "STAND-IN for MNIST\nshare within r"),
        (figures.trained(table), 1, "STAND-IN for MNIST: 4 networks"),
        (figures.examples(shown(("mnist-odd-even",))), 2 * 7, ""),
    ):
        assert len(figure.axes) == panels
        assert title in (figure.axes[0].get_ylabel(), figure.axes[0].get_title())
        figure.draw_without_rendering()


def test_the_published_medians_and_the_theorem_stand_beside_ours() -> None:
    rows, published = sampled(), summary.read_published(PUBLISHED)
    found = summary.medians(rows, 0)
    figure = figures.distances(found, rows, published, relative=False)
    for axes, norm in zip(figure.axes, summary.NORMS, strict=True):
        (squares,) = (line for line in axes.lines if line.get_marker() == "s")
        told = published[(published["norm"] == norm) & published["image_side"].isin([12, 28, 60])]
        assert squares.get_xdata().tolist() == told["n"].tolist()
        assert squares.get_ydata().tolist() == told["median"].tolist()
    (bound,) = (line for line in figure.axes[0].lines if line.get_linestyle() == ":")
    n = np.array([432.0, 2352.0, 10800.0])
    # Theorem 1 at delta = 1/2, M = 4, for images of length sqrt(n / 3).
    logs = 12 * np.sqrt(np.log(4 * n)) + 8 * np.log(n) * np.sqrt(np.log(2 * n)) + 2 * np.sqrt(np.pi)
    assert np.asarray(bound.get_ydata()) == pytest.approx(np.sqrt(n / 3) * 0.5 * np.sqrt(np.pi) / (4 * logs))
    relative = figures.distances(found, rows, published, relative=True)
    (squares,) = (line for line in relative.axes[0].lines if line.get_marker() == "s")
    told = published[(published["norm"] == "l1") & published["image_side"].isin([12, 28, 60])]
    assert np.asarray(squares.get_ydata()) == pytest.approx((told["median"] / (told["n"] / 2)).to_numpy())


def test_an_example_is_shown_as_the_image_it_is() -> None:
    """Height and width from the pixels, colours from the channels; the change is added, and what is shown of it is scaled."""
    rows = shown(("cifar10-groups",))
    picture = np.arange(48.0).reshape(4, 4, 3) / 48
    own = (rows["input"] == 0) & (rows["norm"] == "l1")
    order = {(pixel, channel): picture[pixel // 4, pixel % 4, channel] for pixel in range(16) for channel in range(3)}
    rows.loc[own, "original"] = [order[key] for key in zip(rows.loc[own, "pixel"], rows.loc[own, "channel"], strict=True)]
    rows.loc[own, "change"] = np.where(rows.loc[own, "pixel"] == 5, 0.25, 0.0)
    figure = figures.examples(rows.sample(frac=1, random_state=0).sort_values(["input", "norm"], kind="stable"))
    image, change, result = (axes.images[0].get_array() for axes in figure.axes[:3])
    assert np.allclose(image, picture)
    marked = np.zeros((4, 4, 3))
    marked[1, 1] = 0.25
    assert np.allclose(change, 0.5 + 2 * marked)
    assert np.allclose(result, np.clip(picture + marked, 0, 1))


def test_rays_that_never_meet_the_boundary_are_said_to_be_too_few() -> None:
    rows = followed().assign(length=np.nan, status="unswitched")
    rows.loc[rows["architecture"] != "resnet", "length"] = 1.0
    figure = figures.rays(rows, summary.ray_quantiles(rows, 0)[0])
    assert [text.get_text() for text in figure.axes[1].texts] == ["too few rays meet the boundary"]


def test_ticks_are_round_numbers_within_the_range() -> None:
    assert figures._round(0.3, 7.0) == pytest.approx([0.5, 1, 2, 5])
    assert figures._round(3.1, 3.2) == [3.1, 3.2]
    assert pd.Series(figures._round(1.0, 1000.0)).is_monotonic_increasing
