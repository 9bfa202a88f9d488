"""Birth certificates, code digests, and files that are whole or not there."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from onestep import provenance, records
from onestep.errors import Mistake


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package whose files a test may edit."""
    copy = tmp_path / "onestep"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    provenance._module.cache_clear()
    return copy


def digest(module: str) -> str:
    provenance._module.cache_clear()
    return provenance.code_digest(module)


def test_the_closure_follows_imports_and_stops_at_the_package() -> None:
    found = provenance.closure("onestep.singlestep.experiment")
    assert {"onestep.attacks.ray", "onestep.networks.random_relu", "onestep.seeds", "onestep.records"} <= found.keys()
    assert not {"onestep.cli", "onestep.singlestep.figures", "onestep.drawing"} & found.keys()
    assert all(name.startswith("onestep") for name in found)


def test_comments_docstrings_and_layout_do_not_change_a_digest(package: Path) -> None:
    before = digest("onestep.singlestep.experiment")
    file = package / "attacks/ray.py"
    text = (
        file.read_text()
        .replace('"""A network along rays', '"""Other words for a network along rays')
        .replace('"""The march stops when', '"""It stops when')
    )
    file.write_text("# a comment\n\n" + text + "\n\n# another\n")
    assert digest("onestep.singlestep.experiment") == before


def test_an_edit_changes_the_digests_that_can_see_it_and_no_others(package: Path) -> None:
    modules = ("onestep.singlestep.experiment", "onestep.singlestep.figures", "onestep.singlestep.claims", "onestep.data.prepare")
    before = {module: digest(module) for module in modules}
    file = package / "attacks/ray.py"
    file.write_text(file.read_text().replace("AIM = 0.7", "AIM = 0.6"))
    changed = {module for module in modules if digest(module) != before[module]}
    assert changed == {"onestep.singlestep.experiment"}


def test_relative_imports_and_imports_inside_functions_count(package: Path) -> None:
    (package / "deep.py").write_text("VALUE = 1\n")
    (package / "attacks/user.py").write_text("def f():\n    from ..deep import VALUE\n    return VALUE\n")
    before = digest("onestep.attacks.user")
    (package / "deep.py").write_text("VALUE = 2\n")
    assert digest("onestep.attacks.user") != before


def test_a_module_that_does_not_parse_is_a_one_line_mistake(package: Path) -> None:
    (package / "seeds.py").write_text("def broken(:\n")
    with pytest.raises(Mistake, match=r"seeds\.py:1: "):
        digest("onestep.singlestep.experiment")


def test_a_locks_digest_is_that_of_its_pins(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==2.4.6\ntorch==2.13.0\n")
    digest = provenance.pins_digest(lock)
    lock.write_text("# Why.\ntorch==2.13.0  # the CPU build does as well\n\nnumpy==2.4.6\n")
    assert provenance.pins_digest(lock) == digest
    lock.write_text("numpy==2.4.6\ntorch==2.13.1\n")
    assert provenance.pins_digest(lock) != digest
    with pytest.raises(Mistake, match="cannot be read"):
        provenance.pins_digest(tmp_path / "none")


def test_a_certificate_says_what_is_needed_to_make_the_artifact_again(tmp_path: Path) -> None:
    source = tmp_path / "input.txt"
    source.write_text("x")
    born = provenance.certificate(parameters={"a": 1}, modules=["onestep.seeds"], inputs=[source], seed=3)
    assert born["seed"] == 3
    assert born["parameters"] == {"a": 1}
    assert born["inputs"] == {str(source): provenance.file_digest(source)}
    assert {"command", "code", "git", "versions", "device", "wall_seconds", "peak_megabytes", "finished"} <= born.keys()
    assert born["versions"]["torch"]


def test_every_kind_of_artifact_gives_its_certificate_back(tmp_path: Path) -> None:
    born = provenance.certificate(parameters={"a": 1}, modules=["onestep.seeds"])
    record = tmp_path / "r.parquet"
    records.write(record, pd.DataFrame({"x": [1.0]}), {"x": "a number"}, born)
    figure = tmp_path / "f.svg"
    figure.write_text("<svg/>")
    provenance.write_certificate(figure, born)
    ledger = tmp_path / "claims.json"
    ledger.write_text(json.dumps({"provenance": born, "claims": []}))
    for file in (record, figure, ledger):
        assert provenance.read_certificate(file) == born


@pytest.mark.parametrize("name", ["none.parquet", "text.parquet", "plain.csv", "list.json"])
def test_a_file_without_a_certificate_is_a_one_line_mistake(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if not name.startswith("none"):
        file.write_text("[1]")
    with pytest.raises(Mistake) as caught:
        provenance.read_certificate(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail() -> None:
        with provenance.whole(file) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_has_left_of_a_file_goes_with_the_next_write_of_it(tmp_path: Path) -> None:
    (tmp_path / ".a.4711.txt").write_text("ha")
    (tmp_path / ".b.4711.txt").write_text("another file's")
    provenance.write_text(tmp_path / "a.txt", "whole")
    assert {file.name for file in tmp_path.iterdir()} == {"a.txt", ".b.4711.txt"}


def test_a_place_that_cannot_be_written_is_a_one_line_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Mistake, match="cannot be written"):
        provenance.write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(Mistake, match="cannot be written to"):
        provenance.writable_folder(tmp_path / "file")
