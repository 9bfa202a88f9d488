"""The figures: all of them, as vector files; one of them drawn twice, to the same bytes."""

from pathlib import Path

from onestep import records
from onestep.drawing import save
from onestep.multilayer import figures, summary
from onestep.provenance import read_certificate

from .conftest import Records

NAMES = {"constant", "scale", "bottleneck", "layers", "small", "gradient_change", "terms", "collapse", "depth"}


def test_every_figure_is_drawn_and_one_is_the_same_twice(recorded: Records, tmp_path: Path) -> None:
    figures.draw(recorded, [0.1, 0.5], 3.0, 1, tmp_path / "first")
    for name in NAMES:
        for suffix in (".pdf", ".svg"):
            assert read_certificate((tmp_path / "first" / name).with_suffix(suffix))["inputs"]
    assert {file.stem for file in (tmp_path / "first").glob("*.svg")} == NAMES
    scan, limit = records.read(recorded["scan"]), records.read(recorded["limit"])
    again = figures.depth(summary.scan_table(scan, limit), summary.vanishing_table(scan, limit, 1)[0])
    save(again, tmp_path / "second" / "depth.pdf", {})
    for suffix in (".pdf", ".svg"):
        drawn = [(tmp_path / run / "depth").with_suffix(suffix).read_bytes() for run in ("first", "second")]
        assert drawn[0] == drawn[1]
