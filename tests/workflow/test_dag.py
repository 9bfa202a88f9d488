"""The graph before anything runs: every target at every scale, the GPU hint, and mistakes that stop it in one line."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from ..checkout import Checkout, one_line

pytestmark = pytest.mark.workflow

TARGETS = ["all", "data", "figures", "singlestep", "multilayer", "lazy", "guarantees", "benchmarks", "claims", "html", "results/paper.pdf"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("fresh"))


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_target_dry_runs_on_a_fresh_clone(checkout: Checkout, scale: str) -> None:
    done = checkout.run("snakemake", "-n", *TARGETS, "--config", f"scale={scale}")
    assert done.code == 0, done.text
    assert not (checkout.folder / f"results/{scale}").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_dry_runs_alone(checkout: Checkout, target: str) -> None:
    assert checkout.would_run(target)


def test_every_rule_that_works_has_a_log_resources_and_a_message(checkout: Checkout) -> None:
    """A job says which log, memory, runtime and GPU it has, in the dry run of Snakemake itself."""
    import snakemake.api as api
    from snakemake.settings.types import ConfigSettings, ResourceSettings

    with api.SnakemakeApi() as snakemake:
        workflow = snakemake.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(config={"scale": "smoke"}),
            snakefile=checkout.folder / "Snakefile",
            workdir=checkout.folder,
        )._workflow
        rules = list(workflow.rules)
    working = [rule for rule in rules if rule.shellcmd]
    assert len(working) > 8
    for rule in rules:
        assert rule.message, rule.name
    for rule in working:
        assert rule.log, rule.name
        assert rule.conda_env, rule.name
        assert {"_cores", "mem_mb", "runtime", "gpu"} <= set(rule.resources), rule.name
        # What is timed is timed alone.
        timed = rule.name in ("benchmarks_matrix_free", "benchmarks_near_init")
        assert rule.resources["_cores"] == (16 if timed else 1), rule.name
        assert bool(rule.benchmark) != bool(rule.cache.flag), rule.name


def test_where_there_is_a_gpu_its_jobs_run_one_at_a_time(tmp_path: Path) -> None:
    """A stub of nvidia-smi stands for the GPU: then two sampling jobs never start together; without it they do."""
    stub = tmp_path / "bin"
    stub.mkdir()
    (stub / "nvidia-smi").write_text("#!/bin/sh\n")
    (stub / "nvidia-smi").chmod(0o755)
    checkout = Checkout(tmp_path / "checkout")
    files = [f"results/smoke/records/singlestep/universal/width-{width}/from-0.parquet" for width in (10, 100)]
    path = checkout.environment["PATH"]
    together = checkout.run("snakemake", "--cores", "2", *files, "--config", "scale=smoke")
    alone = checkout.run("snakemake", "--cores", "2", "--force", *files, "--config", "scale=smoke", PATH=f"{stub}:{path}")
    assert together.code == alone.code == 0, together.text + alone.text
    assert "Execute 2 jobs" in together.text
    assert "Execute 2 jobs" not in alone.text
    assert alone.text.count("Execute 1 jobs") == 2


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_a_gpu_asked_for_where_there_is_none_stops_before_any_job(checkout: Checkout) -> None:
    one_line(checkout.run("snakemake", "--cores", "1", "data", "--config", "scale=smoke", "device=cuda"), "device: cuda", "use auto or cpu")


def test_networks_that_are_never_formed_stay_on_the_cpu(checkout: Checkout) -> None:
    """A job without a claim to a GPU would else lease one."""
    files = [f"results/laptop/records/singlestep/sample/depth-2/width-{width}/from-0.parquet" for width in (1000, 10_000)]
    done = checkout.run("snakemake", "-n", "-p", *files, "--config", "scale=laptop", "device=cuda:1")
    assert done.code == 0, done.text
    devices = {int(width): device for width, device in re.findall(r"--width (\d+) .*--device (\S+)", done.text)}
    assert devices == {1000: "cuda:1", 10_000: "cpu"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("scale: laptop", "scale: laptopp", ["config.yaml", "scale", "'laptopp'"]),
        ("step_cap: 20.0", "step_cap: twenty", ["singlestep/step_cap", "number"]),
        ("step_cap: 20.0", "step_cap: 20.0\n  stepp: 1", ["singlestep/stepp", "unknown key"]),
        ("data_root: null", "data_root: /no/such/folder", ["/no/such/folder"]),
        ('negative: ["0"]', 'negative: ["zero"]', ["datasets/mnist-0-1", "no class 'zero'"]),
    ],
)
def test_a_mistake_in_the_configuration_stops_before_any_job(checkout: Checkout, old: str, new: str, words: list[str]) -> None:
    undo = checkout.edit("config.yaml", lambda text: text.replace(old, new, 1))
    try:
        one_line(checkout.run("snakemake", "--cores", "1"), *words)
    finally:
        undo()


def test_a_mistake_on_the_command_line_stops_before_any_job(checkout: Checkout) -> None:
    one_line(checkout.run("snakemake", "--cores", "1", "--config", "scale=huge"), "scale", "'huge'")


def test_a_module_that_does_not_parse_stops_before_any_job(checkout: Checkout) -> None:
    undo = checkout.edit("workflow/src/onestep/attacks/ray.py", lambda text: "def broken(:\n" + text)
    try:
        one_line(checkout.run("snakemake", "--cores", "1"), "ray.py:1")
    finally:
        undo()


def test_results_that_cannot_be_written_stop_before_any_job(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    for file in (tmp_path / "results").iterdir():
        file.unlink()
    (tmp_path / "results").rmdir()
    (tmp_path / "results").write_text("in the way")
    one_line(checkout.run("snakemake", "--cores", "1"), "results", "cannot be written")


def test_a_broken_data_file_is_told_in_one_line_by_the_job_that_reads_it(tmp_path: Path) -> None:
    """Inside a run Snakemake exits with its own 1; our line stands in what it shows and in the job's log."""
    checkout = Checkout(tmp_path / "checkout")
    raw = tmp_path / "images/MNIST/raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"truncated")
    target = "results/data/mnist-0-1/images.safetensors"
    done = checkout.run("snakemake", "--cores", "1", target, "--config", f"data_root={tmp_path / 'images'}")
    assert done.code == 1
    said = (checkout.folder / "results/data/mnist-0-1/prepare.log").read_text().splitlines()
    assert len([line for line in said if line.startswith("onestep: ")]) == 1
    assert "ubyte" in said[-1]
    assert said[-1] in done.text
    assert not list((checkout.folder / "results/data/mnist-0-1").glob("*.safetensors"))


def test_an_old_python_is_told_in_one_line(tmp_path: Path) -> None:
    """make asks the Python that it is given; a stub stands for an old one."""
    checkout = Checkout(tmp_path)
    (tmp_path / ".venv").unlink()
    old = tmp_path / "python3.9"
    old.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexec {sys.executable} -c "import sys; sys.exit(1)"\n')
    old.chmod(0o755)
    done = checkout.run("make", "paper", f"PYTHON={old}")
    assert done.code == 2
    assert "Python 3.9.1; use Python 3.11 or newer" in done.text
    assert not (tmp_path / ".venv").exists()


def test_two_runs_at_once_are_refused_in_one_line(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    holder = checkout.start("flock", str(tmp_path / ".snakemake/make.lock"), "sleep", "20")
    try:
        checkout.run("sleep", "0.3")
        done = checkout.run("make", "smoke")
        assert done.code == 2
        assert "onestep: another run is at work in this folder" in done.text
    finally:
        holder.kill()
