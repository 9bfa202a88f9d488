"""The plain implementation that training near initialisation is measured against: it is one, and both find the same."""

from pathlib import Path

import pytest
import torch

from onestep import records
from onestep.benchmarks import near_init
from onestep.data.prepare import prepare
from onestep.networks.two_layer import TwoLayer


def test_both_ways_end_in_the_same_balls_with_the_same_answers(tmp_path: Path) -> None:
    prepare("digits", "mnist", ["0"], ["1"], "embedded", None, tmp_path / "images.safetensors")
    near_init.run(tmp_path / "images.safetensors", 8, 100, [2.0, 4.0], 3, tmp_path / "r.parquet", tmp_path / "t.csv")
    rows = records.read([tmp_path / "r.parquet"]).set_index(["method", "c0"])
    assert set(rows.index) == {(method, c0) for method in ("this", "plain") for c0 in (2.0, 4.0)}
    for c0 in (2.0, 4.0):
        assert rows.loc[("this", c0), "gradient_norm"] == pytest.approx(rows.loc[("plain", c0), "gradient_norm"], rel=0.1)
        assert rows.loc[("this", c0), "perturbation_norm"] == pytest.approx(rows.loc[("plain", c0), "perturbation_norm"], rel=0.2)
        assert rows.loc[("plain", c0), "images"] > 10 * rows.loc[("this", c0), "images"]


def test_the_grid_search_is_the_exact_step_rounded_up_to_its_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    net = TwoLayer(torch.randn(50, 6, generator=generator), torch.where(torch.rand(50, generator=generator) < 0.5, -1.0, 1.0))
    x = torch.randn(30, 6, generator=generator)
    (value, norm, length), (_, _, exact) = near_init._grid_search(net, x), near_init._exact(net, x)
    assert torch.allclose(value, net.value(x), atol=1e-6)
    assert torch.allclose(norm, net(x)[1].norm(dim=1))
    length, near = length.double(), exact < 4.9
    assert near.any()
    # A root on the grid to single precision can be found a point later or earlier.
    assert torch.allclose(length[near], (exact[near] / near_init.GRID).ceil() * near_init.GRID, atol=1.01 * near_init.GRID)
    assert (length[near] >= exact[near] - 1e-5).all()
