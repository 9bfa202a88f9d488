"""Record files: documented columns, readable together, digested by their data alone."""

from pathlib import Path

import pandas as pd
import pytest

from onestep import records
from onestep.errors import Mistake
from onestep.provenance import data_digest

COLUMNS = {"network": "index", "value": "f(x)"}
FRAME = pd.DataFrame({"network": [0, 0, 1], "value": [0.5, None, -1.0]})


def test_what_is_written_is_read_and_each_column_says_what_it_means(tmp_path: Path) -> None:
    file = tmp_path / "r.parquet"
    records.write(file, FRAME, COLUMNS, {"seed": 1})
    pd.testing.assert_frame_equal(records.read([file]), FRAME)
    assert records.descriptions(file) == COLUMNS


def test_undocumented_missing_or_reordered_columns_are_refused(tmp_path: Path) -> None:
    for frame in (FRAME.assign(extra=1), FRAME[["network"]], FRAME[["value", "network"]]):
        with pytest.raises(ValueError, match="documented"):
            records.write(tmp_path / "r.parquet", frame, COLUMNS, {})


def test_the_digest_is_of_the_data_and_not_of_the_certificate(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.parquet" for name in "abc")
    records.write(first, FRAME, COLUMNS, {"finished": "today"})
    records.write(second, FRAME, COLUMNS, {"finished": "tomorrow"})
    records.write(third, FRAME.assign(value=[0.5, None, -1.0000000001]), COLUMNS, {"finished": "today"})
    assert data_digest(first) == data_digest(second) != data_digest(third)


def test_files_that_are_missing_broken_or_of_different_kinds_are_one_line_mistakes(tmp_path: Path) -> None:
    good, other, broken = tmp_path / "good.parquet", tmp_path / "other.parquet", tmp_path / "broken.parquet"
    records.write(good, FRAME, COLUMNS, {})
    records.write(other, FRAME[["network"]], {"network": "index"}, {})
    broken.write_bytes(good.read_bytes()[:100])
    for files in ([], [tmp_path / "none.parquet"], [broken], [good, other]):
        with pytest.raises(Mistake) as caught:
            records.read(files)
        assert "\n" not in str(caught.value)
