"""Trained networks and the same ones before: which are attacked, on which images, and what of them is written down."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from onestep import records
from onestep.data import prepare
from onestep.guarantees import models, trained
from onestep.guarantees.models import Model, Setting
from onestep.provenance import read_certificate
from onestep.records import descriptions
from onestep.seeds import stream
from onestep.training.standard import How

from .conftest import Command

COUNT = 3
KINDS, STATES = ("random", "training", "test"), ("trained", "random")
SETS = {"mnist-odd-even": ("mnist", ["1", "3"], ["0", "2"]), "cifar10-groups": ("cifar10", ["cat"], ["bird"])}


def files(folder: Path, dataset: str, networks: int) -> tuple[Path, list[Path]]:
    """Images that need no network, and small networks trained on a few of them for one epoch."""
    images = folder / "images.safetensors"
    source, negative, positive = SETS[dataset]
    prepare.prepare(dataset, source, negative, positive, "embedded", None, images)
    made = [folder / f"network-{network}.safetensors" for network in range(networks)]
    for network, out in enumerate(made):
        models.train(Setting(dataset, network, 1, How(epochs=1, lr=1e-3, least=0.0), 1 / 16, images_used=40, test_images=30), images, out)
    return images, made


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    return files(tmp_path_factory.mktemp("digits"), "mnist-odd-even", 2)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    return files(tmp_path_factory.mktemp("colours"), "cifar10-groups", 1)


@pytest.fixture(scope="module")
def attacked(digits: tuple[Path, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("attacked") / "r.parquet"
    images, made = digits
    trained.attack(made, images, COUNT, "fast", "cpu", out)
    return out


@pytest.fixture(scope="module")
def rows(attacked: Path) -> pd.DataFrame:
    return records.read([attacked])


def inputs(file: Path, images: Path) -> dict[str, tuple[Tensor, np.ndarray]]:
    """What a network is attacked at, and its labels, from the stream that the network has for it and the arrays of the file."""
    facts, (arrays, _) = models.load(file).facts, prepare.read(images)
    own = models.images(facts.setting, images)
    draw = stream(1, "guarantees", "trained", facts.setting.dataset, facts.setting.network, "attacked")
    found = {"random": (torch.from_numpy(draw.random((COUNT, 784))).float(), np.zeros(COUNT))}
    at = draw.choice(40, COUNT, replace=False)
    pixels = arrays["train_x"][facts.images[at]].reshape(COUNT, -1)
    found["training"] = (torch.from_numpy(pixels / np.float32(255)), arrays["train_y"][facts.images[at]])
    at = draw.choice(30, COUNT, replace=False)
    found["test"] = (own.test_x[at], own.test_y[at].numpy())
    return found


def test_every_network_is_attacked_trained_and_before_on_images_of_three_kinds(attacked: Path, rows: pd.DataFrame) -> None:
    assert list(rows.columns) == list(trained.ATTACK_COLUMNS)
    assert all(descriptions(attacked).values())
    counted = rows.groupby(["network", "state", "kind"]).size()
    assert (counted == COUNT).all()
    assert set(counted.index) == {(network, state, kind) for network in range(2) for state in STATES for kind in KINDS}
    assert (rows[["dataset", "norm", "images", "epochs", "filters", "whole"]] == ["mnist-odd-even", "l1", 40, 1, 1 / 16, False]).all(
        axis=None
    )
    assert (rows["data"] == "STAND-IN for MNIST").all()
    assert (rows["status"] == "ok").all()
    assert (rows["distance"] > 0).all()
    assert read_certificate(attacked)["seed"] == 1


def test_both_networks_see_the_same_images_and_the_untrained_one_is_the_start(digits: tuple[Path, list[Path]], rows: pd.DataFrame) -> None:
    images, made = digits
    for network, file in enumerate(made):
        model = models.load(file, dtype=torch.float64)
        for kind, (x, y) in inputs(file, images).items():
            for state, net in (("trained", model.network), ("random", model.start)):
                own = rows[(rows["network"] == network) & (rows["kind"] == kind) & (rows["state"] == state)]
                value = net.value(x.double()).numpy()
                assert own["value"].to_numpy() == pytest.approx(value, rel=1e-4, abs=1e-4)
                # The image's own label, and not the network's, says what is correct; random images have none.
                assert own["correct"].tolist() == (value * y > 0).tolist()
    assert not rows.loc[rows["kind"] == "random", "correct"].any()
    assert rows["correct"].any()


def test_accuracies_are_those_that_the_files_tell(digits: tuple[Path, list[Path]], rows: pd.DataFrame) -> None:
    for network, file in enumerate(digits[1]):
        facts = models.load(file).facts
        own = rows[rows["network"] == network]
        assert (own[["train_accuracy", "test_accuracy"]] == [facts.train_accuracy, facts.test_accuracy]).all(axis=None)


def test_a_network_has_the_same_rows_alone_and_beside_others(
    command: Command, digits: tuple[Path, list[Path]], rows: pd.DataFrame, tmp_path: Path
) -> None:
    images, made = digits
    command("attack --models", made[1], "--images", images, f"--inputs {COUNT} --device cpu --out", tmp_path / "r.parquet")
    alone = records.read([tmp_path / "r.parquet"])
    pd.testing.assert_frame_equal(alone, rows[rows["network"] == 1].reset_index(drop=True), check_exact=True)


def silenced(model: Model) -> Model:
    """The same network, trained, with logits that are always 0: nothing changes its class."""
    for name, values in model.network.weights.items():
        if name.startswith("10."):
            values.zero_()
    return model


def test_what_finds_no_sign_change_stays_as_a_row(digits: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, made = digits
    load = models.load
    monkeypatch.setattr(models, "load", lambda *options, **more: silenced(load(*options, **more)))
    trained.attack(made[:1], images, 2, "fast", "cpu", tmp_path / "a.parquet")
    frame = records.read([tmp_path / "a.parquet"])
    failed = frame["state"] == "trained"
    assert len(frame) == 2 * len(KINDS) * len(STATES)
    assert (frame["status"] == np.where(failed, "failed", "ok")).all()
    assert (frame["distance"].isna() == failed).all()
    trained.examples(made[0], images, 1, "cpu", tmp_path / "e.parquet")
    shown = records.read([tmp_path / "e.parquet"])
    assert len(shown) == 3 * 784
    assert (shown["status"] == "failed").all()
    assert shown["distance"].isna().all()
    assert (shown["change"] == 0).all()


@pytest.mark.parametrize("dataset", SETS)
def test_examples_are_images_pixel_by_pixel_whose_changed_version_has_another_class(
    dataset: str, command: Command, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    images, (file, *_) = request.getfixturevalue("digits" if dataset.startswith("mnist") else "colours")
    out = tmp_path / "e.parquet"
    command("examples --model", file, "--images", images, "--inputs 2 --device cpu --out", out)
    frame = records.read([out])
    assert list(frame.columns) == list(trained.EXAMPLE_COLUMNS)
    (arrays, _), net = prepare.read(images), models.load(file, dtype=torch.float64).network
    known = {picture.tobytes() for picture in arrays["test_x"]}
    side, channels = arrays["test_x"].shape[2:]
    shown = set()
    for (index, norm), entries in frame.groupby(["input", "norm"]):
        # Height, width, colour, from the columns and not from the order of the rows.
        original, change = np.zeros((2, side, side, channels))
        where = (entries["pixel"] // side, entries["pixel"] % side, entries["channel"])
        original[where], change[where] = entries["original"], entries["change"]
        assert len(entries) == original.size
        picture = np.round(original * 255).astype(np.uint8)
        assert picture.tobytes() in known
        shown.add((index, picture.tobytes()))
        changed = original + change
        assert changed.min() >= -1e-7
        assert changed.max() <= 1 + 1e-7
        told = entries[["distance", "value", "status"]].drop_duplicates()
        distance, value, status = told.iloc[0]
        assert (len(told), status) == (1, "ok")
        assert distance == pytest.approx(np.linalg.norm(change.ravel(), {"l1": 1, "l2": 2, "linf": np.inf}[str(norm)]), rel=1e-5)
        before, after = (float(net.value(torch.from_numpy(point.reshape(1, -1)))) for point in (original, original + 1.001 * change))
        assert value == pytest.approx(before, rel=1e-4, abs=1e-4)
        assert before * after < 0
    assert len(shown) == 2  # the same two images in the three norms


def test_mistakes_are_one_line(
    command: Command, digits: tuple[Path, list[Path]], colours: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images, model = tmp_path / "r.parquet", digits[0], digits[1][0]
    for words, says in (
        (["--models", model, "--images", colours[0]], "holds cifar10-groups, not mnist-odd-even"),
        (["--models", model, tmp_path / "none", "--images", images], "no such model; train it"),
        (["--models", images, "--images", images], "not a model of `onestep guarantees train`"),
    ):
        with pytest.raises(SystemExit) as ended:
            command("attack", *words, "--inputs 1 --device cpu --out", out)
        assert ended.value.code == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert says in said[0]
        assert not out.exists()
