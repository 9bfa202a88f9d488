"""The command line: help, the shapes that others rely on, and mistakes that are one line and exit with 2."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from onestep.cli import main
from onestep.singlestep import experiment

COMMAND = "singlestep sample --depth 2 --width 20 --input-dim 10 20 --networks 3 --inputs 2 --seed 0"
SAMPLE = COMMAND.split(" ")


def onestep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from onestep.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ends_with(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that ends with status 2 writes to stderr; in this process, which has torch at hand."""
    monkeypatch.setattr(sys, "argv", ["onestep", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2, arguments
    return capsys.readouterr().err


def test_help_lists_the_commands() -> None:
    text = onestep("--help").stdout
    for command in (
        "data",
        "singlestep",
        "multilayer",
        "lazy",
        "guarantees",
        "benchmarks",
        "provenance",
        "claims",
        "notebook",
        "paper",
        "schema",
    ):
        assert command in text


def test_a_sample_can_be_taken_by_hand(tmp_path: Path) -> None:
    done = onestep(*SAMPLE, "--out", str(tmp_path / "new folder" / "r.parquet"))
    assert done.returncode == 0, done.stderr
    assert onestep("provenance", str(tmp_path / "new folder" / "r.parquet")).returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--depth", "13"], ["--depth", "13", "out of range"]),
        (["--width", "ten"], ["--width", "'ten'", "whole number"]),
        (["--networks", "-3"], ["--networks", "out of range"]),
        (["--cap", "0"], ["--cap", "above 0"]),
        (["--cap", "inf"], ["--cap", "finite"]),
        (["--device", "tpu"], ["--device tpu", "use auto, cpu, cuda or cuda:N"]),
        (["--device", "cuda:7"], ["--device cuda:7", "GPUs"]),
        (["--device", "cuda:x"], ["--device cuda:x", "no such device"]),
        (["--colour", "red"], ["--colour"]),
        (["--width", "100000000"], ["width 100,000,000", "GB of memory are needed", "smaller width"]),
        (["--width", "1000000000"], ["width 1,000,000,000", "GB of memory are needed"]),
        (["--out", "/dev/null/r.parquet"], ["/dev/null/r.parquet", "cannot be written"]),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: list[str], words: list[str]
) -> None:
    said = ends_with(monkeypatch, capsys, *SAMPLE, "--out", str(tmp_path / "r.parquet"), *change)
    assert len(said.splitlines()) == 1, said
    assert said.startswith("onestep: ")
    for word in words:
        assert word in said
    assert list(tmp_path.iterdir()) == []


def test_the_status_is_that_of_the_process(tmp_path: Path) -> None:
    done = onestep(*SAMPLE, "--out", str(tmp_path / "r.parquet"), "--cap", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_what_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["provenance", "nothing.parquet"], ["claims"], ["claims", "--collect", "a.json"], ["singlestep"], ["guarantees"], []):
        assert len(ends_with(monkeypatch, capsys, *arguments).splitlines()) == 1


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 8 TiB"), RuntimeError("CUDA out of memory. Tried to allocate\n2 GiB")])
def test_memory_that_runs_out_on_the_way_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_out(*_: object) -> None:
        raise error

    monkeypatch.setattr(experiment, "sample", run_out)
    said = ends_with(monkeypatch, capsys, *SAMPLE, "--device", "cpu", "--out", str(tmp_path / "r.parquet"))
    assert re.fullmatch(r"onestep: not enough memory \([^\n]*\); ask for a smaller width or dimension\n", said)


def test_any_other_error_is_a_bug_and_shows_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(experiment, "sample", fail)
    monkeypatch.setattr(sys, "argv", ["onestep", *SAMPLE, "--device", "cpu", "--out", str(tmp_path / "r.parquet")])
    with pytest.raises(RuntimeError, match="shapes"):
        main()
