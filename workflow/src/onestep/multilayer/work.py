"""How `multilayer` works through its networks: in blocks, with a word on how far it is, into rows and files."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from onestep import records
from onestep.provenance import certificate

_BLOCK_NETWORKS = 64
_BLOCK_NUMBERS = 2**22
"""About how many numbers are held at once."""


def blocks(numbers: float, first: int, networks: int) -> Iterator[tuple[range, slice]]:
    """The blocks that hold the networks first .. first + networks - 1, and which of each block's networks are among them.

    `numbers` a network holds, and nothing else, decide how many networks are in a block.
    """
    size = max(1, min(_BLOCK_NETWORKS, int(_BLOCK_NUMBERS // numbers)))
    for start in range(first - first % size, first + networks, size):
        yield range(start, start + size), slice(max(first - start, 0), min(first + networks - start, size))


class Progress:
    """A word now and then on how far a job is."""

    def __init__(self, cells: int) -> None:
        self._cells, self._cell, self._last = cells, 0, time.perf_counter()

    def cell(self) -> None:
        """The next cell begins."""
        self._cell += 1

    def say(self, done: int, networks: int) -> None:
        """Says it, unless it was said just before."""
        if time.perf_counter() - self._last > 5:
            self._last = time.perf_counter()
            print(f"cell {self._cell} of {self._cells}: network {done} of {networks}", file=sys.stderr, flush=True)


def rows(block: range, wanted: slice, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for each wanted network and each entry behind its axis; a column is a tensor or an array [B, ...], or one value for all.

    A column with fewer axes is repeated along the missing ones.
    """
    arrays = {name: np.asarray(column) for name, column in columns.items() if isinstance(column, (Tensor, np.ndarray))}
    axes = max(array.ndim for array in arrays.values())
    arrays = {name: array.reshape(*array.shape, *(1,) * (axes - array.ndim)) for name, array in arrays.items()}
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    flat = {name: np.broadcast_to(array, shape)[wanted].ravel() for name, array in arrays.items()}
    networks = np.repeat(np.array(block)[wanted], int(np.prod(shape[1:])))
    return pd.DataFrame({"network": networks} | columns | flat)


def write(
    out: Path,
    parts: Sequence[pd.DataFrame],
    columns: dict[str, str],
    module: str,
    parameters: dict[str, Any],
    found: dict[str, Any] | None = None,
) -> None:
    """Writes the record file that `module` made; what else was found on the way goes into its certificate."""
    frame = pd.concat(parts, ignore_index=True)[list(columns)]
    born = certificate(parameters=parameters, modules=[module], seed=parameters["seed"], device="cpu")
    records.write(out, frame, columns, born | (found or {}))
