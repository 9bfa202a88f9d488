"""The figures: all of them, as vector files that are the same bytes each time."""

import itertools
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from onestep import drawing, records
from onestep.provenance import read_certificate
from onestep.singlestep import figures
from onestep.singlestep.summary import hessian_cells

from .conftest import Records

NAMES = {"switched", "step", "gradient", "scales", "law", "bounds", "fixed_step", "universal"}
NAMES |= {"variants", "hessian", "infinite_width", "bracket"}


def test_every_figure_is_drawn_and_is_the_same_bytes_a_second_time(
    recorded: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are drawn; writing them is what takes long, so only two are written, twice."""
    drawn = set()

    def save(figure: Figure, path: Path, born: dict[str, Any]) -> None:
        drawn.add(path.stem)
        assert born["inputs"]
        if path.stem in ("bracket", "hessian"):
            drawing.save(figure, path, born)
        plt.close(figure)

    monkeypatch.setattr(figures, "save", save)
    figures.draw(recorded, 1, tmp_path)
    assert drawn == NAMES
    again = {
        "bracket": figures.bracket(records.read(recorded["bracket"])),
        "hessian": figures.hessian(hessian_cells(records.read(recorded["hessian"]), 1)[0]),
    }
    for name, figure in again.items():
        drawing.save(figure, tmp_path / "again" / f"{name}.pdf", {})
        for suffix in (".pdf", ".svg"):
            first = (tmp_path / name).with_suffix(suffix)
            assert first.read_bytes() == (tmp_path / "again" / name).with_suffix(suffix).read_bytes()
            assert read_certificate(first)["inputs"]


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
