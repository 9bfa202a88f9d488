"""The figures: all of them, as vector files that are the same bytes each time."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from onestep import drawing
from onestep.provenance import read_certificate
from onestep.singlestep import figures

from .conftest import Records

NAMES = {"switched", "step", "gradient", "scales", "law", "bounds", "fixed_step", "universal"}
NAMES |= {"variants", "hessian", "infinite_width", "bracket"}
AGAIN = {"switched", "law", "bracket"}


def test_every_figure_is_drawn_the_same_twice(recorded: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second time only some of them are written: that is what takes long."""
    figures.draw(recorded, 1, tmp_path / "first")
    monkeypatch.setattr(figures, "save", lambda figure, path, born: path.stem in AGAIN and drawing.save(figure, path, born))
    figures.draw(recorded, 1, tmp_path / "second")
    plt.close("all")
    for name in NAMES:
        for suffix in (".pdf", ".svg"):
            drawn = (tmp_path / "first" / name).with_suffix(suffix)
            assert read_certificate(drawn)["inputs"]
            if name in AGAIN:
                assert drawn.read_bytes() == (tmp_path / "second" / name).with_suffix(suffix).read_bytes()
    assert {file.stem for file in (tmp_path / "first").glob("*.svg")} == NAMES
    assert {file.stem for file in (tmp_path / "second").glob("*.svg")} == AGAIN


@pytest.mark.parametrize(("value", "written"), [(10, "10"), (300, "300"), (1000, "1k"), (3500, "3.5k"), (1234, "1234"), (1_000_000, "1M")])
def test_short_numbers(value: int, written: str) -> None:
    assert figures._short(value) == written


@pytest.mark.parametrize("values", [[10, 30, 100, 1000, 10_000, 100_000, 1_000_000], [10, 30, 50, 100, 300, 1000, 3000, 10_000], [10, 60]])
def test_labels_of_a_grid_do_not_overlap_at_printed_size(values: list[int]) -> None:
    figure, axes = drawing.panels(1, 3, 2.0)
    figures._grid(axes[0], values)
    axes[0].set_xlim(min(values), max(values))
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes[0].get_xticklabels() if label.get_text()]
    assert len(boxes) > 1
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    plt.close(figure)


def test_there_is_no_band_where_networks_have_one_input() -> None:
    """At the first width the spread between networks is known, at the second it is not and open circles say that networks are few."""
    line = {"depth": 1, "input_dim": [10, 100, 1000], "switched": [0.9, 1.0, 1.0], "switched_low": 0.8, "switched_high": 1.0}
    table = pd.concat(
        [
            pd.DataFrame(line | {"width": 10, "switched_sd": 0.1, "judged": 1}),
            pd.DataFrame(line | {"width": 1000, "switched_sd": np.nan, "judged": 0}),
        ]
    )
    figure = figures.switched(table)
    bands = [band for band in figure.axes[0].collections if type(band).__name__ == "FillBetweenPolyCollection"]
    assert [sum(len(path.vertices) for path in band.get_paths()) > 0 for band in bands] == [True, False]
    open_circles = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in open_circles] == [0, 3]
    plt.close(figure)
