"""Copies of the checkout that a test may edit and run Snakemake in; one of them with a whole smoke run that was killed and went on."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTHING = "Nothing to be done"


@dataclass(frozen=True)
class Done:
    """What a command said and how it ended."""

    code: int
    text: str
    seconds: float


class Checkout:
    """A copy of the project's files that a test may edit, with the commands that a person would type in it."""

    def __init__(self, folder: Path, of: "Checkout | None" = None) -> None:
        """`of`: another one, to be copied with all that was made in it."""
        self.folder = folder
        if of:
            shutil.copytree(of.folder, folder, symlinks=True)
        else:
            listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
            for name in listed.splitlines():
                if (ROOT / name).is_file():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, folder / name)
            # The environment is the installed one; the package is this copy's.
            (folder / ".venv").symlink_to(ROOT / ".venv")
        self.environment = os.environ | {"PYTHONPATH": str(folder / "workflow/src"), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a command in a process group of its own."""
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *command: str, **environment: str) -> Done:
        """Runs a command to its end."""
        started = time.monotonic()
        process = self.start(*command, **environment)
        text, _ = process.communicate(timeout=1800)
        return Done(process.returncode, text, time.monotonic() - started)

    def snakemake(self, *arguments: str, **environment: str) -> Done:
        """Runs Snakemake on both cores at the smoke scale."""
        return self.run("snakemake", "--cores", "2", *arguments, "--config", "scale=smoke", **environment)

    def would_run(self, *arguments: str) -> dict[str, int]:
        """Which rules a run would execute, and how often."""
        done = self.run("snakemake", "-n", *arguments, "--quiet", "host", "--config", "scale=smoke")
        assert done.code == 0, done.text
        if NOTHING in done.text:
            return {}
        table = done.text.split("Job stats:")[1].split("total")[0]
        return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}

    def edit(self, name: str, change: Callable[[str], str]) -> Callable[[], None]:
        """Changes a file; returns what undoes it."""
        file = self.folder / name
        before = file.read_text()
        after = change(before)
        assert after != before, f"the edit of {name} changes nothing"
        file.write_text(after)
        return lambda: file.write_text(before) and None


@dataclass(frozen=True)
class Smoke:
    """The checkout with the smoke run, and what was seen on the way."""

    checkout: Checkout
    killed_after: int
    made_again: int
    resumed: Done


def kill(process: subprocess.Popen[str]) -> int:
    """Kills a command and all that it has started with kill -9, as a power cut would; returns how many processes those were."""
    root, tree = psutil.Process(process.pid), []
    # Twice: what is stopped first starts nothing while the others are found.
    for _ in range(2):
        tree = [root, *root.children(recursive=True)]
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.suspend()
    for one in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()
    return len(tree)


def _records(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.glob("results/smoke/records/**/*.parquet")}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """Starts `make smoke`, kills it and all that it started (kill -9) once records exist, and goes on with `make smoke`."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    process = checkout.start("make", "smoke")
    deadline = time.monotonic() + 60
    while len(_records(checkout.folder)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, "the run was over before it could be killed"
    kill(process)
    before = _records(checkout.folder)
    resumed = checkout.run("make", "smoke")
    after = _records(checkout.folder)
    return Smoke(checkout, len(before), sum(after.get(name) != made for name, made in before.items()), resumed)


def one_line(done: Done, *words: str) -> None:
    """The command ended with status 2 and said these words in a single line of its own, with no job run and no traceback."""
    assert done.code == 2, done.text
    said = [line for line in done.text.splitlines() if line.startswith("onestep: ")]
    assert len(said) == 1, done.text
    for word in words:
        assert word in said[0]
    assert "Traceback" not in done.text
    assert "Finished job" not in done.text
