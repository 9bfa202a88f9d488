"""How the experiments on random networks work through them: in blocks, with a word on how far they are, into rows and files.

The size and place of a block depend on its cell alone: however a cell is split into jobs, the same arithmetic runs on the same blocks
and the records are the same bytes.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onestep import memory, records
from onestep.errors import Mistake
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
        block = range(start, start + size)
        yield block, wanted(block, first, networks)


def wanted(block: range, first: int, networks: int) -> slice:
    """Which networks of a block are among first .. first + networks - 1."""
    start = max(first - block.start, 0)
    return slice(start, max(start, min(first + networks - block.start, len(block))))


def halving(measure: Callable[[range], list[pd.DataFrame]], items: range) -> list[pd.DataFrame]:
    """The tables that `measure` makes of all items together; where they do not fit on the GPU, of their halves, joined: down to one item.

    The items' random streams are their own, so the halves are the same networks and inputs, their numbers equal to rounding. On the CPU,
    whose records are the same bytes everywhere, a lack of memory stays an error.
    """
    try:
        return measure(items)
    except RuntimeError as error:
        # torch's allocator, the driver, and libraries that ask the driver themselves: cuBLAS, cuDNN, cuSOLVER.
        lacking = isinstance(error, torch.OutOfMemoryError) or re.search("CUDA error: out of memory|_STATUS_ALLOC_FAILED", str(error))
        if not lacking:
            raise
        reason = str(error).splitlines()[0]
    # Behind the handler: until then the error holds what `measure` had allocated.
    torch.cuda.empty_cache()
    if len(items) == 1:
        raise Mistake(f"not enough memory on the GPU even for one network or input at a time ({reason}); use --device cpu")
    print(f"not enough memory on the GPU for {len(items)} at a time: going on with halves of them", file=sys.stderr, flush=True)
    middle = len(items) // 2
    halves = [halving(measure, half) for half in (items[:middle], items[middle:])]
    return [pd.concat(tables, ignore_index=True) for tables in zip(*halves, strict=True)]


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
