"""Blocks, rows and what certificates say of how networks were held."""

import json
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from onestep import records, sampling
from onestep.attacks.ray import Roots
from onestep.attacks.single_step import Rays
from onestep.errors import Mistake
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.seeds import stream


@pytest.mark.parametrize(("first", "networks"), [(0, 200), (70, 1), (63, 2), (128, 64), (5, 300)])
def test_blocks_hold_each_wanted_network_once_and_lie_where_a_whole_run_has_them(first: int, networks: int) -> None:
    numbers = 2**15  # 64 networks at a time
    got = [(block, list(block)[wanted]) for block, wanted in sampling.blocks(numbers, first, networks)]
    assert [index for _, indices in got for index in indices] == list(range(first, first + networks))
    assert all(block.start % 64 == 0 and len(block) == 64 for block, _ in got)


def test_large_networks_come_one_by_one_and_small_ones_not_by_thousands() -> None:
    assert sampling.block_size(1e12) == 1
    assert sampling.block_size(0) == sampling.block_size(1) == 64


def test_rows_are_the_wanted_networks_and_every_entry_behind_them() -> None:
    value = torch.arange(12, dtype=torch.float32).view(4, 3)
    frame = sampling.rows(range(8, 12), slice(1, 3), {"depth": 2, "value": value, "norm": value[:, 0].numpy(), "word": value > 5})
    assert frame.to_dict("list") == {
        "network": [9, 9, 9, 10, 10, 10],
        "depth": [2] * 6,
        "value": [3, 4, 5, 6, 7, 8],
        "norm": [3, 3, 3, 6, 6, 6],
        "word": [False] * 3 + [True] * 3,
    }
    assert frame["value"].dtype == frame["norm"].dtype == np.float64


def test_a_certificate_tells_shapes_of_the_same_widest_layer_apart_and_counts_rays(tmp_path: Path) -> None:
    rays = Rays()
    one = torch.ones(2, 1)
    for narrow in (3, 5):
        nets = RandomNetwork.sample([stream(0, "held", i) for i in range(2)], Shape(4, (20, narrow, 20)), kind="dense")
        rays.count(nets, slice(0, 1), Roots(one, one.long(), one.long(), torch.tensor([[1], [1]])))
    frame = sampling.rows(range(2), slice(None), {"value": one})
    columns = {"network": "which", "value": "f(x)"}
    sampling.write(tmp_path / "r.parquet", [frame], columns, "onestep.sampling", {"seed": 0}, found=rays.certified)
    born = json.loads(pq.read_schema(tmp_path / "r.parquet").metadata[b"provenance"])
    assert (born["rays"], born["unresolved"]) == (2, 2)
    assert [cell["widths"] for cell in born["held"]] == [[20, 3, 20], [20, 5, 20]]
    assert {cell["how"] for cell in born["held"]} == {"dense, float64"}
    assert records.read([tmp_path / "r.parquet"])["network"].tolist() == [0, 1]


SHORT = "CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation"


@pytest.mark.parametrize("fit", [1, 3, 13])
def test_what_does_not_fit_on_a_gpu_is_done_in_halves_and_the_tables_are_those_of_the_whole(fit: int) -> None:
    done = []

    def measure(items: range) -> list[pd.DataFrame]:
        if len(items) > fit:
            raise torch.OutOfMemoryError(SHORT)
        done.append(len(items))
        return [pd.DataFrame({"network": items, "scale": scale}) for scale in ("he", "unit")]

    he, unit = sampling.halving(measure, range(5, 18))
    for table, scale in ((he, "he"), (unit, "unit")):
        assert table.to_dict("list") == {"network": list(range(5, 18)), "scale": [scale] * 13}
    assert max(done) <= fit
    assert len(done) == {1: 13, 3: 5, 13: 1}[fit]  # 13 is 3 + 3 + 3 + 2 + 2


def test_what_did_not_fit_is_let_go_of_before_its_halves_are_tried() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def measure(items: range) -> list[pd.DataFrame]:
        assert [there() for there in held] == [None] * len(held)
        weights = torch.zeros(len(items))
        held.append(weakref.ref(weights))
        if len(items) > 1:
            raise torch.OutOfMemoryError(SHORT)
        return []

    sampling.halving(measure, range(8))
    assert len(held) == 15


def test_one_alone_that_does_not_fit_is_a_mistake_in_one_line() -> None:
    def measure(items: range) -> list[pd.DataFrame]:
        raise torch.OutOfMemoryError(SHORT)

    with pytest.raises(Mistake, match=r"not enough memory on the GPU even for one .* \(CUDA out of memory[^\n]*\); use --device cpu$"):
        sampling.halving(measure, range(4))


@pytest.mark.parametrize(
    ("words", "halved"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", False),
        ("shapes do not match", False),
    ],
)
def test_libraries_tell_of_a_full_gpu_in_words_and_every_other_error_stays_one(words: str, halved: bool) -> None:
    def measure(items: range) -> list[pd.DataFrame]:
        if len(items) > 1:
            raise RuntimeError(words)
        return [pd.DataFrame({"network": items})]

    if halved:
        assert sampling.halving(measure, range(2))[0]["network"].tolist() == [0, 1]
    else:
        with pytest.raises(RuntimeError, match=words):
            sampling.halving(measure, range(2))


@pytest.mark.parametrize(("first", "networks"), [(0, 200), (70, 1), (60, 10), (128, 64)])
def test_which_of_a_block_are_wanted_is_the_same_for_any_part_of_it(first: int, networks: int) -> None:
    parts = [range(start, start + size) for start, size in ((0, 64), (64, 32), (96, 16), (112, 16), (128, 1), (129, 200))]
    got = [index for part in parts for index in part[sampling.wanted(part, first, networks)]]
    assert got == list(range(first, first + networks))
