"""The figures: all of them, as vector files that are the same bytes each time."""

from pathlib import Path

from onestep.provenance import read_certificate
from onestep.singlestep import figures

from .conftest import Records

NAMES = {"switched", "step", "gradient", "scales", "law", "bounds", "fixed_step", "universal"}


def test_every_figure_is_drawn_the_same_twice(recorded: Records, tmp_path: Path) -> None:
    for run in ("first", "second"):
        figures.draw(recorded["sample"], recorded["universal"], recorded["fixed"], 1, tmp_path / run)
    for name in NAMES:
        for suffix in (".pdf", ".svg"):
            drawn = (tmp_path / "first" / name).with_suffix(suffix)
            assert drawn.read_bytes() == (tmp_path / "second" / name).with_suffix(suffix).read_bytes()
            assert read_certificate(drawn)["inputs"]
    assert {file.stem for file in (tmp_path / "first").glob("*.svg")} == NAMES
