"""What is measured where not all inputs of a network fit on the GPU at once: the same records, to rounding."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from onestep import records
from onestep.data import prepare
from onestep.guarantees import models, trained
from onestep.guarantees.experiment import Setting, sample
from onestep.guarantees.rays import rays
from onestep.guarantees.second import search
from onestep.networks.residual import ImageNetwork
from onestep.training.standard import How

SETTING = Setting("fully-connected", 4, range(3, 4), 3, 0)
NORMS = ["l1", "l2", "linf"]


def whole_and_halves(run: Callable[[Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The records, and those on a GPU that holds two inputs."""
    run(folder / "whole.parquet")
    answer, sizes = ImageNetwork.__call__, []

    def full(self: ImageNetwork, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(x))
        return answer(self, x)

    monkeypatch.setattr(ImageNetwork, "__call__", full)
    run(folder / "halves.parquet")
    assert set(sizes) == {1, 2}
    return [records.read([folder / f"{name}.parquet"]) for name in ("whole", "halves")]


def same(whole: pd.DataFrame, halves: pd.DataFrame) -> None:
    """Equal to what single precision makes of another order of sums, by which now and then a search settles in another minimum."""
    searched = {"gradients", "distance", "second", "change"} & set(whole.columns)
    kept = [name for name in whole.columns if name not in searched]
    pd.testing.assert_frame_equal(whole[kept], halves[kept], rtol=1e-3, atol=1e-6)
    for name in searched - {"gradients"}:
        assert np.isclose(whole[name], halves[name], rtol=1e-3, atol=1e-6, equal_nan=True).mean() >= 0.9, name


RANDOM: dict[str, Callable[[Path], None]] = {
    "sample": lambda out: sample(SETTING, NORMS, "fast", "cpu", out),
    "search": lambda out: search(SETTING, NORMS, "fast", "cpu", out),
    "rays": lambda out: rays(SETTING, 1.0, "cpu", out),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_networks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same(*whole_and_halves(RANDOM[name], tmp_path, monkeypatch))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits that need no network, and a network that was trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    prepare.prepare("mnist-odd-even", "mnist", list("13579"), list("02468"), "embedded", None, folder / "images.safetensors")
    how = How(epochs=1, lr=1e-3, least=0.0)
    setting = models.Setting("mnist-odd-even", 0, 1, how, 1 / 32, images_used=40, test_images=20)
    models.train(setting, folder / "images.safetensors", folder / "model.safetensors")
    return folder


def test_trained_networks(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, model = folder / "images.safetensors", folder / "model.safetensors"
    same(*whole_and_halves(lambda out: trained.attack([model], images, 3, "fast", "cpu", out), tmp_path, monkeypatch))


def test_examples(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, model = folder / "images.safetensors", folder / "model.safetensors"
    same(*whole_and_halves(lambda out: trained.examples(model, images, 3, "cpu", out), tmp_path, monkeypatch))
