"""The smoke scale on a real Slurm, through profiles/slurm: the same records, in few Slurm jobs; and jobs that a limit kills."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from onestep.provenance import data_digest

from ..checkout import NOTHING, Checkout, Done, Smoke
from .conftest import Slurm

pytestmark = pytest.mark.workflow

# A machine's own disk shows files at once, and its Slurm may be asked every second.
RUN = ("snakemake", "--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5")
# A workflow of two rules, with what all others have: the first attempt outlasts its limit of a minute, or takes more memory than it may.
KILLED = """
configfile: "config.yaml"
include: "workflow/rules/common.smk"

rule nap:
    output: "rested"
    resources: mem_mb=500, runtime=1, gpu=0, seconds=1000
    shell: "test -e tired || {{ touch tired; sleep 600; }}; touch {output}"

rule eat:
    output: "fed"
    resources: mem_mb=700, runtime=5, gpu=0, seconds=1000
    shell: "test -e hungry || {{ touch hungry; python -c 'import time; food = bytes(1) * 10**9; time.sleep(600)'; }}; touch {output}"

include: "workflow/rules/cluster.smk"
"""


def adapted(text: str) -> str:
    """The profile with a partition for GPUs, and a tenth of the jobs in each Slurm job: smoke's are so short that two hold all."""
    return re.sub(r"(below-5|below-20): (\d+)0\n", r"\1: \2\n", text.replace('gpu_partition: ""', "gpu_partition: accelerated"))


def slurm_jobs(text: str) -> list[int]:
    """The Slurm jobs of which Snakemake says that it submitted them."""
    return [int(number) for number in re.findall(r"submitted with SLURM jobid (\d+)", text)]


@dataclass(frozen=True)
class Runs:
    """The smoke scale in a checkout of its own, and beside it what is killed."""

    checkout: Checkout
    smoke: Done
    killed: Done


@pytest.fixture(scope="module")
def runs(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    checkout, other = (Checkout(tmp_path_factory.mktemp(name)) for name in ("on-slurm", "killed"))
    checkout.edit("profiles/slurm/profile.yaml", adapted)
    (other.folder / "Snakefile").write_text(KILLED)
    killed = other.start(*RUN, "rested", "fed")
    smoke = checkout.run(*RUN, "--config", "scale=smoke")
    text, _ = killed.communicate(timeout=300)
    return Runs(checkout, smoke, Done(killed.returncode, text, 0.0))


def test_the_whole_workflow_runs_on_slurm_in_at_most_twelve_jobs(runs: Runs, slurm: Slurm) -> None:
    assert runs.smoke.code == 0, runs.smoke.text
    submitted = slurm_jobs(runs.smoke.text)
    assert 1 < len(submitted) <= 12
    assert {slurm.states()[job] for job in submitted} == {"COMPLETED"}
    assert (runs.checkout.folder / "results/paper.pdf").read_bytes().startswith(b"%PDF")


def test_records_and_the_paper_are_those_of_a_local_run(runs: Runs, smoke: Smoke) -> None:
    def made(checkout: Checkout, pattern: str, content: Callable[[Path], str | bytes]) -> dict[str, str | bytes]:
        results = checkout.folder / "results"
        return {str(file.relative_to(results)): content(file) for file in sorted(results.glob(pattern))}

    records = made(runs.checkout, "smoke/records/**/*.parquet", data_digest)
    assert len(records) > 60
    assert records == made(smoke.checkout, "smoke/records/**/*.parquet", data_digest)
    for pattern in ("smoke/tables/**/*.csv", "smoke/figures/**/*.svg"):
        assert made(runs.checkout, pattern, Path.read_bytes) == made(smoke.checkout, pattern, Path.read_bytes)


def test_gpus_are_asked_for_one_a_slurm_job_and_in_their_partition(runs: Runs, slurm: Slurm) -> None:
    asked = [slurm.asked(job) for job in slurm_jobs(runs.smoke.text)]
    with_gpu = [text for text in asked if "Partition=accelerated" in text]
    assert 0 < len(with_gpu) < len(asked)
    assert all("gres:gpu:1\n" in text for text in with_gpu)
    assert not any("gres:gpu" in text for text in asked if text not in with_gpu)


def test_every_slurm_job_has_one_cpu(runs: Runs, slurm: Slurm) -> None:
    assert all("NumCPUs=1 " in slurm.asked(job) for job in slurm_jobs(runs.smoke.text))


def test_a_second_run_submits_nothing(runs: Runs) -> None:
    again = runs.checkout.run(*RUN, "--config", "scale=smoke")
    assert again.code == 0, again.text
    assert NOTHING in again.text


def test_jobs_killed_by_their_time_or_memory_limit_are_sent_again_with_twice_as_much(runs: Runs, slurm: Slurm) -> None:
    assert runs.killed.code == 0, runs.killed.text
    seen = set()
    for job in slurm_jobs(runs.killed.text):
        asked = re.search(r"TimeLimit=(\S+).*mem=(\w+)", slurm.asked(job), re.DOTALL)
        assert asked
        seen.add((slurm.states()[job], *asked.groups()))
    naps = {("TIMEOUT", "00:01:00", "500M"), ("COMPLETED", "00:02:00", "1000M")}
    # Killed is the step, which the job only waits for.
    assert "exceeded memory limit" in runs.killed.text
    meals = {("FAILED", "00:05:00", "700M"), ("COMPLETED", "00:10:00", "1400M")}
    assert seen == naps | meals
