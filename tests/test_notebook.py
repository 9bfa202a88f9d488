"""The notebook as a page: executed with the records it is given, the same bytes each time, a failing cell told in one line."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from onestep import records
from onestep.errors import Mistake
from onestep.notebook import render
from onestep.provenance import read_certificate


def notebook(path: Path, *cells: str) -> Path:
    """A notebook whose first cell holds the parameters."""
    document = nbformat.v4.new_notebook()
    document.cells = [nbformat.v4.new_code_cell(text) for text in ('results = ""\nrecords = []', *cells)]
    document.cells[0].metadata["tags"] = ["parameters"]
    document.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(document, path)
    return path


def test_a_page_shows_what_was_run_and_is_the_same_twice(tmp_path: Path) -> None:
    source = notebook(tmp_path / "walk.ipynb", "print(results, len(records))")
    record = tmp_path / "a.parquet"
    records.write(record, pd.DataFrame({"x": [1.0]}), {"x": "a number"}, {})
    for name in ("one.html", "two.html"):
        render(source, Path("results/smoke"), [record], tmp_path / name)
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert "results/smoke 1" in page
    assert 'results = ""' not in page
    assert str(record) in read_certificate(tmp_path / "one.html")["inputs"]


def test_a_failing_cell_is_one_line_and_leaves_no_page(tmp_path: Path) -> None:
    source = notebook(tmp_path / "walk.ipynb", "1 / 0")
    with pytest.raises(Mistake, match=r"walk\.ipynb: cell \d+ failed \(ZeroDivisionError: division by zero\)"):
        render(source, tmp_path, [], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(Mistake, match="no such notebook"):
        render(tmp_path / "none.ipynb", tmp_path, [], tmp_path / "page.html")
