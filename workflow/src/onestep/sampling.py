"""How the experiments on random networks work through them: in blocks, with a word on how far they are, into rows and files.

The size and place of a block depend on its cell alone: however a cell is split into jobs, the same arithmetic runs on the same blocks
and the records are the same bytes.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from onestep import memory, records
from onestep.provenance import certificate

COLUMNS = {
    "depth": "number of hidden layers L",
    "width": "width k of every hidden layer",
    "input_dim": "input dimension d",
    "network": "index of the network in its cell",
    "input": "index of the input of its network",
    "value": "f(x)",
    "gradient_norm": "||grad f(x)||",
    "status": "switched; unswitched: no sign change below the cap; dead: f(x) is 0",
}
"""Record columns that mean the same in several experiments."""

_BLOCK_NUMBERS = 2**21
"""About how many numbers are held at once."""
_BLOCK_NETWORKS = 64


def block_size(numbers: float) -> int:
    """How many networks that hold so many numbers each are worked on together."""
    return max(1, min(_BLOCK_NETWORKS, int(_BLOCK_NUMBERS // max(1, numbers))))


def blocks(numbers: float, first: int, networks: int) -> Iterator[tuple[range, slice]]:
    """The blocks that hold the networks first .. first + networks - 1, and which of each block's networks are among them."""
    size = block_size(numbers)
    for start in range(first - first % size, first + networks, size):
        yield range(start, start + size), slice(max(first - start, 0), min(first + networks - start, size))


def require_memory(numbers: float, what: str) -> None:
    """Refuses networks of which one, that holds so many numbers, does not fit: before any work."""
    memory.require(max(_BLOCK_NUMBERS, int(numbers)), what)


class Progress:
    """A word now and then on how far a job is."""

    def __init__(self, cells: int) -> None:
        self._cells, self._cell, self._last = cells, 0, time.perf_counter()

    def cell(self) -> None:
        """The next cell begins."""
        self._cell += 1

    def say(self, done: int, networks: int, what: str = "network") -> None:
        """Says it, unless it was said just before."""
        if time.perf_counter() - self._last > 5:
            self._last = time.perf_counter()
            print(f"cell {self._cell} of {self._cells}: {what} {done:,} of {networks:,}", file=sys.stderr, flush=True)


def rows(block: range, wanted: slice, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for each wanted network and each entry behind its axis; a column is a tensor or an array [B, ...], or one value for all.

    A column with fewer axes is repeated along the missing ones.
    """
    arrays = {name: column.cpu().numpy() if isinstance(column, Tensor) else column for name, column in columns.items()}
    arrays = {name: column for name, column in arrays.items() if isinstance(column, np.ndarray)}
    axes = max(array.ndim for array in arrays.values())
    arrays = {name: array.reshape(*array.shape, *(1,) * (axes - array.ndim)) for name, array in arrays.items()}
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    flat = {name: np.broadcast_to(array, shape)[wanted].ravel() for name, array in arrays.items()}
    # Records are in double precision, whatever the networks are in.
    flat = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in flat.items()}
    networks = np.repeat(np.array(block)[wanted], int(np.prod(shape[1:])))
    return pd.DataFrame({"network": networks} | columns | flat)


def write(
    out: Path,
    parts: Sequence[pd.DataFrame],
    columns: dict[str, str],
    module: str,
    parameters: dict[str, Any],
    device: str = "cpu",
    found: Mapping[str, Any] | None = None,
) -> None:
    """Writes the record file that `module` made; what else was found on the way goes into its certificate."""
    frame = pd.concat(parts, ignore_index=True)[list(columns)]
    born = certificate(parameters=parameters, modules=[module], seed=parameters["seed"], device=device)
    records.write(out, frame, columns, {**born, **(found or {})})
