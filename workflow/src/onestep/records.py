"""Records: one row per sample, in Parquet, with what each column means and the birth certificate inside."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from onestep.errors import Mistake
from onestep.provenance import whole, write_certificate, write_text


def write(path: Path, frame: pd.DataFrame, columns: Mapping[str, str], born: Mapping[str, Any]) -> None:
    """Writes a record file whose columns are exactly the documented ones, in their order."""
    if list(frame.columns) != list(columns):
        raise ValueError(f"{path}: columns {list(frame.columns)} are not the documented {list(columns)}")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [field.with_metadata({"description": columns[field.name]}) for field in table.schema]
    table = table.cast(pa.schema(fields)).replace_schema_metadata({"provenance": json.dumps(born)})
    with whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """The rows of several record files of one experiment, one under the other, in the order given."""
    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path).replace_schema_metadata(None))
        except FileNotFoundError:
            raise Mistake(f"{path}: no such record file; run the rule that makes it") from None
        except pa.ArrowInvalid:
            raise Mistake(f"{path}: not a readable Parquet file; remove it and make it again") from None
    if not tables:
        raise Mistake("no record files were given; name at least one")
    try:
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame
    except pa.ArrowInvalid:
        raise Mistake("the record files do not have the same columns; give files of one experiment") from None


def write_table(path: Path, frame: pd.DataFrame, born: Mapping[str, Any]) -> None:
    """Writes a table of results (.csv), its certificate beside it."""
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_certificate(path, born)


def descriptions(path: Path) -> dict[str, str]:
    """What each column of a record file means."""
    return {field.name: (field.metadata or {}).get(b"description", b"").decode() for field in pq.read_schema(path)}
