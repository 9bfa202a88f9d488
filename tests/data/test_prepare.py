"""Prepared data sets and the report on them, from the stand-ins that need no network."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from onestep import data_report
from onestep.data import binary, prepare, sources
from onestep.errors import Mistake
from onestep.provenance import read_certificate

GROUPS = (["automobile", "cat", "dog", "horse", "truck"], ["airplane", "bird", "deer", "frog", "ship"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Stand-ins for MNIST 0 versus 1 and the groups of CIFAR-10, prepared in their own size."""
    folder = tmp_path_factory.mktemp("prepared")
    paths = [folder / "mnist-0-1.safetensors", folder / "cifar10-groups.safetensors"]
    prepare.prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, paths[0])
    prepare.prepare("cifar10-groups", "cifar10", *GROUPS, "embedded", None, paths[1])
    return paths


def test_native_images_come_back_as_they_were(prepared: list[Path]) -> None:
    arrays, info = prepare.read(prepared[0])
    source = sources.load("mnist", "embedded", None)
    kept = source.test_labels < 2
    np.testing.assert_array_equal(arrays["test_x"], source.test_images[kept])
    np.testing.assert_array_equal(arrays["test_y"], 2 * source.test_labels[kept] - 1)
    np.testing.assert_array_equal(arrays["test_class"], source.test_labels[kept])
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "train_x": "uint8",
        "train_y": "int8",
        "train_class": "uint8",
        "test_x": "uint8",
        "test_y": "int8",
        "test_class": "uint8",
    }
    assert info["counts"]["test"] == {"0": int((source.test_labels == 0).sum()), "1": int((source.test_labels == 1).sum())}
    assert info["stand_in"] is True
    assert info["description"] == source.description
    assert info["checksums"] == source.checksums


def test_it_carries_its_certificate(prepared: list[Path]) -> None:
    born = read_certificate(prepared[1])
    assert born["parameters"]["negative"] == GROUPS[0]
    assert born["inputs"] == sources.load("cifar10", "embedded", None).checksums


@pytest.mark.parametrize("method", ["area", "bilinear"])
def test_resized_images_are_flat_vectors(tmp_path: Path, prepared: list[Path], method: binary.Method) -> None:
    out = tmp_path / "small.safetensors"
    prepare.prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, out, side=10, method=method, unit_norm=True)
    arrays, info = prepare.read(out)
    small = binary.resized(prepare.read(prepared[0])[0]["train_x"], 10, method).reshape(-1, 100)
    np.testing.assert_allclose(arrays["train_x"], small / np.sqrt((small**2).sum(1, keepdims=True)), atol=1e-6)
    assert arrays["train_x"].dtype == np.float32
    assert (info["side"], info["method"], info["unit_norm"]) == (10, method, True)


def test_the_digest_is_of_the_data_and_nothing_else(tmp_path: Path, prepared: list[Path]) -> None:
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    prepare.prepare("renamed", "mnist", ["0"], ["1"], "embedded", None, again)
    prepare.prepare("mnist-0-1", "mnist", ["1"], ["0"], "embedded", None, other)
    digests = [prepare.read(path)[1]["digest"] for path in (prepared[0], again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_a_stand_in_is_never_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, tmp_path / "x.safetensors")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("STAND-IN DATA: mnist-0-1")
    assert "240 training and 120 test images" in second


def test_a_mistake_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"^[^\n]*unit norm[^\n]*\Z"):
        prepare.prepare("x", "mnist", ["0"], ["1"], "embedded", None, tmp_path / "x.safetensors", unit_norm=True)
    with pytest.raises(Mistake, match=r"^side: 29[^\n]*\Z"):
        prepare.prepare("x", "mnist", ["0"], ["1"], "embedded", None, tmp_path / "x.safetensors", side=29)
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match=rf"^{re.escape(str(tmp_path))}/file/x.safetensors[^\n]*\Z"):
        prepare.prepare("x", "mnist", ["0"], ["1"], "embedded", None, tmp_path / "file" / "x.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [None, b"", b"no such thing"])
def test_reading_what_is_no_data_set(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Mistake, match=rf"^{re.escape(str(path))}[^\n]*\Z"):
        prepare.read(path)


def test_reading_other_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(Mistake, match=r"x\.safetensors: not a prepared data set[^\n]*\Z"):
        prepare.read(tmp_path / "x.safetensors")


# ---------------------------------------------------------------- the report


def test_titles_are_for_people(prepared: list[Path]) -> None:
    infos = [prepare.read(path)[1] for path in prepared]
    assert prepare.title(infos[0]) == "STAND-IN for MNIST 0 versus 1"
    assert prepare.title(infos[0] | {"stand_in": False}) == "MNIST 0 versus 1"
    assert prepare.title(infos[1]).startswith("STAND-IN for CIFAR-10 automobile, cat,")


def test_the_report_is_the_same_bytes_each_time(prepared: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        data_report.draw(prepared, tmp_path / name / "data.pdf", tmp_path / name / "data.csv")
    for suffix in (".pdf", ".svg", ".csv"):
        one, two = (tmp_path / name / f"data{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert read_certificate(one)["parameters"]["datasets"] == [str(path) for path in prepared]


def test_the_table_adds_up(prepared: list[Path], tmp_path: Path) -> None:
    data_report.draw(prepared, tmp_path / "data.pdf", tmp_path / "data.csv")
    with (tmp_path / "data.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["dataset", "images", "source", "class", "label", "train", "test"]
    assert len(rows) == 12
    for path in prepared:
        arrays, info = prepare.read(path)
        for label in (-1, 1):
            mine = [row for row in rows if row["dataset"] == info["dataset"] and int(row["label"]) == label]
            assert sum(int(row["train"]) for row in mine) == (arrays["train_y"] == label).sum()
            assert sum(int(row["test"]) for row in mine) == (arrays["test_y"] == label).sum()


def test_the_report_wants_native_images(tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    prepare.prepare("x", "mnist", ["0"], ["1"], "embedded", None, small, side=7)
    with pytest.raises(Mistake, match=rf"^{re.escape(str(small))}[^\n]*\Z"):
        data_report.draw([small], tmp_path / "data.pdf", tmp_path / "data.csv")
    with pytest.raises(Mistake, match=r"data\.pdf[^\n]*\Z"):
        data_report.draw([], tmp_path / "data.pdf", tmp_path / "data.csv")
