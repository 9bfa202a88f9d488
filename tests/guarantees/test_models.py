"""Trained residual networks and their files: what they were trained on, what they started as, and what is refused."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from onestep.data import prepare
from onestep.errors import Mistake
from onestep.guarantees import models
from onestep.guarantees.models import Model, Setting
from onestep.guarantees.training_commands import training
from onestep.networks.residual import ARCHITECTURES, ImageNetwork, narrowed
from onestep.provenance import read_certificate
from onestep.seeds import stream
from onestep.training import standard
from onestep.training.standard import How

DATASET = "mnist-odd-even"
HOW = How(epochs=2, lr=1e-3, least=0.0)


def prepared(file: Path, negative: str, positive: str, side: int | None = None) -> Path:
    """The digits that need no network."""
    prepare.prepare(DATASET, "mnist", list(negative), list(positive), "embedded", None, file, side)
    return file


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("images") / "images.safetensors", "13579", "02468")


def setting(**changes) -> Setting:
    return replace(Setting(DATASET, 0, 1, HOW, 1 / 16, images_used=60, test_images=50), **changes)


@pytest.fixture(scope="module")
def file(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "m.safetensors"
    models.train(setting(), images, out)
    return out


@pytest.fixture(scope="module")
def model(file: Path) -> Model:
    return models.load(file)


def equal(left: ImageNetwork, right: ImageNetwork) -> bool:
    return list(left.weights) == list(right.weights) and all(torch.equal(w, right.weights[name]) for name, w in left.weights.items())


def test_the_twin_is_the_start_that_the_streams_name(model: Model, images: Path) -> None:
    drawn = ImageNetwork.sample(
        stream(1, "guarantees", "trained", DATASET, 0, 0), narrowed(ARCHITECTURES["resnet"], 1 / 16), 28, 1, dtype=torch.float32
    )
    assert equal(model.start, drawn)
    assert not equal(model.network, drawn)
    assert (model.start.architecture, model.start.side, model.start.channels) == (drawn.architecture, 28, 1)


def test_what_is_loaded_is_what_training_it_again_gives(model: Model, images: Path) -> None:
    x = models.images(setting(), images)

    def order(epoch: int) -> np.ndarray:
        return stream(1, "guarantees", "trained", DATASET, 0, 0, "order", epoch).permutation(60)

    again = standard.train(model.start, x.train_x, x.train_y, order, HOW)
    assert equal(again.network, model.network)
    for name, values in again.network.weights.items():
        assert model.network.weights[name].stride() == values.stride()  # the layout in memory, too: it decides the rounding
    assert (again.path, again.accuracy, again.stop) == (model.facts.path, model.facts.train_accuracy, model.facts.stop)
    assert standard.accuracy(again.network, x.test_x, x.test_y) == model.facts.test_accuracy


def test_the_file_says_what_was_done(model: Model, file: Path, images: Path) -> None:
    facts = model.facts
    assert facts.setting == setting()
    assert (facts.epochs, facts.stop, facts.discarded, facts.used, facts.tested, facts.side) == (2, "epochs", 0, 60, 50, 28)
    assert facts.data["stand_in"]
    born = read_certificate(file)
    assert born["seed"] == 1
    assert list(born["inputs"]) == [str(images)]
    assert born["parameters"]["how"]["lr"] == HOW.lr
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]  # no checkpoint is left


def test_the_images_are_those_of_the_file_in_the_unit_interval(model: Model, images: Path) -> None:
    x, (arrays, _) = models.images(setting(), images), prepare.read(images)
    assert np.array_equal(x.chosen, model.facts.images)
    assert np.array_equal((x.train_x * 255).round().numpy().astype(np.uint8), arrays["train_x"][x.chosen].reshape(60, -1))
    assert np.array_equal(x.train_y.numpy(), arrays["train_y"][x.chosen])
    assert 0 <= float(x.train_x.min()) < float(x.train_x.max()) == 1


def test_a_network_in_double_precision_is_the_one_that_was_trained(file: Path, model: Model) -> None:
    double = models.load(file, dtype=torch.float64)
    for mine, trained in ((double.network, model.network), (double.start, model.start)):
        assert all(torch.equal(values.float(), trained.weights[name]) for name, values in mine.weights.items())


@pytest.mark.parametrize("count", [2, 7, 30, 100, 600])
def test_images_are_drawn_with_the_shares_of_their_classes(count: int) -> None:
    classes = stream(0, "classes").choice(np.arange(5), 600, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    drawn = models.chosen(classes, count, stream(0, "drawn"))
    assert len(set(drawn)) == count
    for label in range(5):
        assert abs((classes[drawn] == label).sum() - count * (classes == label).mean()) <= 1
    assert np.array_equal(models.chosen(classes, None, stream(0, "drawn")), np.arange(600))
    assert np.array_equal(models.chosen(classes, 601, stream(0, "drawn")), np.arange(600))


def test_networks_have_images_of_their_own_and_every_attempt_the_same(images: Path) -> None:
    first, second = (models.images(setting(network=network), images).chosen for network in (0, 1))
    assert not np.array_equal(first, second)


def first_epochs(network: int, images: Path, attempts: int = 4) -> list[float]:
    """The share of its images that each attempt has right behind its first epoch."""
    how, shares = How(epochs=1, lr=1e-6, least=0), []
    x = models.images(setting(network=network, how=how), images)
    for attempt in range(attempts):
        start = setting(network=network).start(attempt, 28, 1)
        order = lambda epoch: np.arange(60)  # noqa: E731  # at this learning rate the order is not felt
        shares.append(standard.train(start, x.train_x, x.train_y, order, how).accuracy)
    return shares


def test_a_network_that_does_not_learn_is_drawn_again(images: Path, tmp_path: Path) -> None:
    network, shares = next((k, found) for k in range(20) if (found := first_epochs(k, images))[0] < max(found) - 0.05)
    least = (shares[0] + max(shares)) / 2
    expected = next(attempt for attempt, share in enumerate(shares) if share >= least)
    again = setting(network=network, how=How(epochs=1, lr=1e-6, least=least))
    models.train(again, images, tmp_path / "m.safetensors")
    found = models.load(tmp_path / "m.safetensors")
    assert found.facts.discarded == expected > 0
    assert equal(found.start, again.start(expected, 28, 1))


def test_networks_that_never_learn_are_a_mistake(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DRAWS", 2)
    with pytest.raises(Mistake, match="2 networks in a row were right on less than 99% of their images after an epoch; train on more"):
        models.train(setting(how=How(epochs=1, lr=1e-6, least=0.99)), images, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_a_killed_training_goes_on_to_the_same_bits(model: Model, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, steps = tmp_path / "m.safetensors", []
    monkeypatch.setattr(models, "Checkpoint", lambda file, of: standard.Checkpoint(file, of, seconds=0))
    stepped = standard._Training.step

    def step(self, x, y) -> None:
        steps.append(self.steps)
        if len(steps) == 3:
            raise KeyboardInterrupt
        stepped(self, x, y)

    monkeypatch.setattr(standard._Training, "step", step)
    with pytest.raises(KeyboardInterrupt):
        models.train(setting(), images, out)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors.0.checkpoint"]
    models.train(setting(), images, out)
    assert steps == [0, 1, 2, 2, 3]
    assert equal(models.load(out).network, model.network)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_wrong_images_are_refused(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    with pytest.raises(Mistake, match="holds mnist-odd-even, not cifar10-groups; name the file of that data set with --images"):
        models.train(setting(dataset="cifar10-groups"), images, out)
    with pytest.raises(Mistake, match="were resized; prepare them without --side"):
        models.train(setting(), prepared(tmp_path / "small.safetensors", "0", "1", 8), out)
    arrays, info = prepare.read(images)

    for part in ("train", "test"):
        one = arrays | {f"{part}_y": np.ones_like(arrays[f"{part}_y"])}
        save_file(one, tmp_path / "one.safetensors", metadata={"data": json.dumps(info)})
        with pytest.raises(Mistake, match=f"its {part} images all have one label; choose classes that have images on both sides"):
            models.train(setting(), tmp_path / "one.safetensors", out)
    assert not out.exists()


def test_what_is_no_model_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no such model; train it with `onestep guarantees train`"):
        models.load(tmp_path / "none")
    (tmp_path / "text").write_text("no model")
    for file in (images, tmp_path / "text"):
        with pytest.raises(Mistake, match="not a model of `onestep guarantees train`; remove it and train it again"):
            models.load(file)


# ---------------------------------------------------------------------------------------------- the command


def command(*options: str) -> None:
    parser = argparse.ArgumentParser()
    training(parser.add_subparsers(required=True))
    chosen = parser.parse_args(["train", "--dataset", DATASET, "--network", "0", "--epochs", "2", "--seed", "1", *options])
    chosen.run(chosen)


def test_the_command_trains_that_network(images: Path, model: Model, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    how = ("--lr", "1e-3", "--least", "0", "--images-used", "60", "--test-images", "50", "--width", "1/16", "--device", "cpu")
    command(*how, "--images", str(images), "--out", str(out))
    assert equal(models.load(out).network, model.network)


@pytest.mark.parametrize(
    "options", [("--width", "0"), ("--width", "3/2"), ("--width", "wide"), ("--until", "1.01"), ("--least", "1"), ("--images-used", "1")]
)
def test_options_out_of_range_are_refused(options: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(*options, "--out", "m.safetensors")
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_images_that_are_not_there_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no such images; prepare them with `snakemake --cores 1"):
        command("--images", str(tmp_path / "none"), "--out", "m.safetensors")


def test_a_narrowed_network_has_a_share_of_the_filters() -> None:
    def widths(factor: float) -> list[int]:
        net = ImageNetwork.sample(stream(0), narrowed(ARCHITECTURES["resnet"], factor), 8, 1)
        return [len(values) for name, values in net.weights.items() if name.endswith("weight")]

    full = widths(1)
    assert widths(0.5) == [*(width // 2 for width in full[:-1]), 2]
    assert set(widths(1 / 64)[:-1]) == {1, 2}
    assert narrowed(ARCHITECTURES["resnet"], 1) == ARCHITECTURES["resnet"]
    lenet = narrowed(ARCHITECTURES["lenet"], 0.5)
    assert [getattr(layer, "filters", getattr(layer, "units", None)) for layer in lenet.layers] == [64, 64, None, 64, 64, None, 256, 256]
