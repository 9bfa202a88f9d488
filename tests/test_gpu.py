"""Every experiment that takes a device, on a stand-in for a GPU that computes what the CPU does: to the bit the CPU's records."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onestep.attacks import minimal
from onestep.attacks.minimal import Effort
from onestep.data import prepare
from onestep.guarantees import models, trained
from onestep.guarantees.experiment import Setting, sample
from onestep.guarantees.rays import rays
from onestep.guarantees.second import search
from onestep.lazy import adversarial
from onestep.lazy.adversarial import Attacks
from onestep.lazy.starts import Setting as Lazy
from onestep.provenance import file_digest, read_certificate
from onestep.singlestep import experiment
from onestep.training.standard import How

from .gpu import DEVICE, Gpu, OnGpu

CAP, DIMS = 20.0, [5, 10]
IMAGES = Setting("lenet", 4, range(3, 4), 2, 0)
DENSE = Setting("fully-connected", 4, range(3, 4), 2, 0)
ATTACKS = Attacks(lr=0.1, epochs=2, patience=2, training_steps=3, test_steps=4)
TRAINED = models.Setting("mnist-odd-even", 0, 1, How(epochs=1, lr=1e-3, least=0.0), 1 / 32, images_used=40, test_images=20)
PUBLISHED = {"protocol": "as_published", "bias": "normal"}

Run = Callable[[str, Path], None]
RANDOM: dict[str, Run] = {
    **{
        f"sample, depth {depth}": lambda device, out, depth=depth: experiment.sample(depth, 30, DIMS, 60, 9, 2, 5, CAP, device, out)
        for depth in range(4)
    },
    "universal": lambda device, out: experiment.universal(30, DIMS, 60, 9, 2, 4.0, 5, CAP, device, out),
    "fixed": lambda device, out: experiment.fixed(30, DIMS, 60, 9, 2, [0.5, 2.0], 5, device, out),
    "bias": lambda device, out: experiment.variants("bias", 30, DIMS, 60, 9, 2, 5, CAP, device, out),
    "gelu": lambda device, out: experiment.variants("gelu", 30, DIMS, 60, 9, 2, 5, CAP, device, out),
    "hessian": lambda device, out: experiment.hessian("gelu", [2], DIMS, 60, 9, 5, device, out),
    "l1, l2 and linf": lambda device, out: sample(IMAGES, ["l1", "l2", "linf"], "fast", device, out),
    "search": lambda device, out: search(DENSE, ["l2"], "thorough", device, out),
    "rays": lambda device, out: rays(IMAGES, 1.0, device, out),
}


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes where shows in the first steps."""
    for effort in minimal.EFFORTS:
        monkeypatch.setitem(minimal.EFFORTS, effort, Effort(dict.fromkeys((1, 2, math.inf), 3), dict.fromkeys((1, 2, math.inf), 0.8)))


def the_same(run: Run, folder: Path, end: str = "parquet") -> None:
    run("cpu", folder / f"cpu.{end}")
    with Gpu():
        run("cuda:0", folder / f"gpu.{end}")
    assert file_digest(folder / f"gpu.{end}") == file_digest(folder / f"cpu.{end}")
    assert [read_certificate(folder / f"{name}.{end}")["device"] for name in ("cpu", "gpu")] == ["cpu", "cuda:0"]


@pytest.mark.parametrize("name", RANDOM)
def test_random_networks(name: str, tmp_path: Path) -> None:
    the_same(RANDOM[name], tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits that need no network, and one of `guarantees` that was trained on them."""
    folder = tmp_path_factory.mktemp("gpu")
    prepare.prepare("mnist-odd-even", "mnist", list("13579"), list("02468"), "embedded", None, folder / "odd-even.safetensors")
    prepare.prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, folder / "0-1.safetensors")
    models.train(TRAINED, folder / "odd-even.safetensors", folder / "model.safetensors")
    return folder


def test_standard_training(folder: Path, tmp_path: Path) -> None:
    the_same(lambda device, out: models.train(TRAINED, folder / "odd-even.safetensors", out, device), tmp_path, "safetensors")


def test_trained_networks(folder: Path, tmp_path: Path) -> None:
    images, model = folder / "odd-even.safetensors", folder / "model.safetensors"
    the_same(lambda device, out: trained.attack([model], images, 2, "fast", device, out), tmp_path)
    the_same(lambda device, out: trained.examples(model, images, 1, device, out), tmp_path)


@pytest.mark.parametrize("protocol", [{}, PUBLISHED], ids=["corrected", "published"])
def test_adversarial_training(protocol: dict[str, str], folder: Path, tmp_path: Path) -> None:
    setting = Lazy("mnist-0-1", 5, 30, 0, 1, **protocol)
    file, cells = folder / "0-1.safetensors", ([0.0, 0.1], [2.0])
    the_same(lambda device, out: adversarial.robust(setting, ATTACKS, *cells, 1, file, out, device), tmp_path)
    the_same(lambda device, out: adversarial.check(setting, ATTACKS, *cells, file, out, device), tmp_path)


def test_the_stand_in_refuses_what_a_gpu_refuses() -> None:
    with Gpu():
        here, there = torch.ones(3), torch.ones(3).to("cuda:0")
        assert isinstance(there, OnGpu)
        assert (here.device.type, there.device) == ("cpu", DEVICE)
        assert (there + there.cpu().to(there)).cpu().numpy().tolist() == [2.0] * 3
        assert torch.zeros(2, device=there.device).device == (there * 2).sum().device == there[torch.tensor([0])].device == DEVICE
        for wrong in (lambda: here + there, lambda: here @ there, lambda: here[there.long()], lambda: torch.where(here > 0, there, 0.0)):
            with pytest.raises(RuntimeError, match="same device"):
                wrong()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
