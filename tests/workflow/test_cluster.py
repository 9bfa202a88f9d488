"""The Slurm profile without a Slurm: how the work is cut into Slurm jobs, what they ask for, and mistakes that stop it in one line."""

import json
import re
import resource
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..checkout import Checkout, one_line

pytestmark = pytest.mark.workflow

PROFILE = ("--workflow-profile", "profiles/slurm")
# Writes down what Snakemake would submit: no command of its own does.
PLAN = """
import json, sys
import snakemake.cli
from snakemake.dag import DAG

known = DAG.update_groups

def update_groups(dag):
    known(dag)
    jobs = []
    for job in dag.needrun_jobs():
        if job.rule.shellcmd:
            asks = []
            for job.attempt in (3, 1):
                asks.insert(0, {name: value for name, value in job.resources.items() if isinstance(value, int | str)})
            slurm_job = dag._group.get(job)
            rule = job.rule.name
            jobs.append({"rule": rule, "asks": asks, "slurm_job": slurm_job and str(id(slurm_job)), "size": slurm_job and slurm_job.groupid,
                         "light": rule in dag.workflow._localrules})
    json.dump(jobs, open("plan.json", "w"))

DAG.update_groups = update_groups
snakemake.cli.main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Planned:
    """A job, what it asks for at the first and third attempt, and the Slurm job that it would be part of."""

    rule: str
    asks: tuple[dict[str, int | str], dict[str, int | str]]
    slurm_job: str | None
    size: str | None
    light: bool


def plan(checkout: Checkout, *arguments: str, **environment: str) -> list[Planned]:
    done = checkout.run(sys.executable, "-c", PLAN, "-n", "--quiet", "all", *arguments, **environment)
    assert done.code == 0, done.text
    return [Planned(**job) for job in json.loads((checkout.folder / "plan.json").read_text())]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def paper(checkout: Checkout) -> list[Planned]:
    return plan(checkout, *PROFILE, "--config", "scale=paper")


def test_light_jobs_run_where_the_command_runs_and_all_others_in_slurm_jobs(paper: list[Planned]) -> None:
    assert all(job.light == (job.slurm_job is None) for job in paper)
    # How long a job takes decides which share a Slurm job.
    assert all("seconds" in job.asks[0] for job in paper)
    light = {job.rule for job in paper if job.light}
    assert {"prepare", "claims", "typeset", "html", "latest", "lazy_figures", "singlestep_notebook"} <= light
    assert not {"singlestep_sample", "lazy_train", "lazy_attack", "benchmarks_matrix_free"} & light


def test_no_slurm_job_is_shorter_than_about_five_minutes_at_paper_scale(paper: list[Planned]) -> None:
    """By the rules' own estimates; of each size the last Slurm job has what is left."""
    seconds: Counter[tuple[str, str]] = Counter()
    for job in paper:
        if job.slurm_job and job.size:
            seconds[job.size, job.slurm_job] += int(job.asks[0]["seconds"])
    for size in {size for size, _ in seconds}:
        lasts = sorted(lasting for (other, _), lasting in seconds.items() if other == size)
        assert all(lasting >= 240 for lasting in lasts[1:]), (size, lasts)
    # The longest have one each, every network that is trained among them.
    assert sum(size != "alone" for size, _ in seconds) < 250


def test_a_slurm_job_asks_for_five_times_the_time_that_its_jobs_take_rounded_up_to_minutes(paper: list[Planned]) -> None:
    """Five minutes more if it has one job only; times of jobs that share a Slurm job are added."""
    shared: dict[str, list[Planned]] = {}
    for job in paper:
        if job.slurm_job:
            shared.setdefault(job.slurm_job, []).append(job)
    for jobs in shared.values():
        asked, takes = (sum(int(job.asks[0][name]) for job in jobs) for name in ("runtime", "seconds"))
        # Of estimates, halves of a second are rounded here.
        least = 5 * (takes - len(jobs) / 2) / 60
        assert least <= asked <= 5 * takes / 60 + len(jobs) + 5 * len(jobs) * (jobs[0].size == "alone"), sorted({job.rule for job in jobs})


def test_what_reads_trained_weights_is_in_the_slurm_job_that_trains_them(paper: list[Planned]) -> None:
    """One Slurm job of its own for the longest trainings, with the attacks on them."""
    alone = [job for job in paper if job.size == "alone" and job.rule.startswith("lazy_")]
    of = {job.slurm_job: sorted(other.rule for other in alone if other.slurm_job == job.slurm_job) for job in alone}
    assert ["lazy_attack", "lazy_train"] in of.values()
    assert not any("lazy_attack" in rules and "lazy_train" not in rules for rules in of.values())


def test_memory_and_time_grow_with_the_attempt(paper: list[Planned]) -> None:
    for job in paper:
        first, third = job.asks
        for name in ("mem_mb", "runtime"):
            assert third[name] == (1 if job.light else 3) * int(first[name]), (job.rule, name)


def test_jobs_with_a_gpu_have_their_partition_and_share_slurm_jobs_with_each_other_only(checkout: Checkout) -> None:
    undo = checkout.edit("profiles/slurm/profile.yaml", lambda text: text.replace('gpu_partition: ""', "gpu_partition: accelerated"))
    try:
        jobs = [job for job in plan(checkout, *PROFILE, "--config", "scale=smoke") if job.slurm_job]
    finally:
        undo()
    assert {job.asks[0]["gpu"] for job in jobs} == {0, 1}
    for job in jobs:
        assert job.asks[0]["slurm_partition"] == ("accelerated" if job.asks[0]["gpu"] else "normal")
        assert str(job.size).startswith("gpu-") == bool(job.asks[0]["gpu"])


def test_without_a_partition_for_gpus_nothing_asks_for_one(paper: list[Planned]) -> None:
    assert {(job.asks[0]["gpu"], job.asks[0]["slurm_partition"]) for job in paper if job.slurm_job} == {(0, "normal")}


def test_one_machine_knows_nothing_of_all_this(checkout: Checkout) -> None:
    jobs = plan(checkout, "--config", "scale=smoke")
    assert {job.slurm_job for job in jobs} == {None}
    assert all(job.asks[0]["mem_mb"] == job.asks[1]["mem_mb"] for job in jobs)
    assert not any("slurm_partition" in job.asks[0] for job in jobs)


def path_with(folder: Path, **programs: str) -> str:
    """A path to every program of this machine but Slurm's, for which these scripts stand."""
    for here in {Path(name).resolve() for name in ("/bin", "/usr/bin")}:
        for program in here.iterdir():
            if not re.match(r"sbatch|sinfo|squeue|sacct|scontrol|srun|sshare", program.name) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{Path(sys.executable).parent}:{folder}"


def test_a_machine_without_slurm_is_told_in_one_line(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path_with(tmp_path))
    one_line(done, "profiles/slurm", "sbatch is not on the path", "login node")
    # The folder is not left locked.
    assert not list((checkout.folder / ".snakemake/locks").glob("*"))


def test_a_gpu_asked_for_without_a_partition_for_gpus_is_told_in_one_line(checkout: Checkout) -> None:
    one_line(checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", "device=cuda"), "device: cuda", "names no gpu_partition")


def test_an_unknown_partition_is_told_in_one_line(checkout: Checkout, tmp_path: Path) -> None:
    path = path_with(tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="printf 'short 1:00:00\\nlong infinite\\n'")
    one_line(checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path), "no partition 'normal'", "long, short")


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ("printf '  physics\\n  maths\\n'", ["you have no account 'chemistry'", "maths, physics"]),
        ("echo 'no accounting storage' >&2; exit 1", ["no accounts (no accounting storage)", "leave account empty"]),
    ],
)
def test_an_account_that_one_does_not_have_is_told_in_one_line(checkout: Checkout, tmp_path: Path, accounts: str, words: list[str]) -> None:
    path = path_with(tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="echo normal infinite", sacctmgr=accounts, sshare=accounts)
    undo = checkout.edit("profiles/slurm/profile.yaml", lambda text: text.replace('account: ""', "account: chemistry"))
    try:
        one_line(checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path), *words)
    finally:
        undo()


def test_a_time_limit_below_that_of_a_checkpoint_is_told_in_one_line(checkout: Checkout, tmp_path: Path) -> None:
    path = path_with(tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="echo normal 1:00")
    done = checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path)
    one_line(done, "partition 'normal' gives", "_train 1 min", "first checkpoint comes after 60 s")


def test_no_job_asks_for_more_time_than_its_partition_gives(checkout: Checkout, tmp_path: Path) -> None:
    path = path_with(tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="printf 'normal 2:00\\naccelerated 1-00:00:00\\n'")
    undo = checkout.edit("profiles/slurm/profile.yaml", lambda text: text.replace('gpu_partition: ""', "gpu_partition: accelerated"))
    try:
        jobs = [job for job in plan(checkout, *PROFILE, "--config", "scale=smoke", PATH=path) if job.slurm_job]
    finally:
        undo()
    limited = [[int(ask["runtime"]) for ask in job.asks] for job in jobs if job.asks[0]["slurm_partition"] == "normal"]
    assert max(map(max, limited)) == 2
    assert [1, 2] in limited
    free = [[int(ask["runtime"]) for ask in job.asks] for job in jobs if job.asks[0]["slurm_partition"] == "accelerated"]
    assert all(third == 3 * first for first, third in free)
    assert max(map(max, free)) > 2


def test_jobs_that_together_ask_for_more_time_than_their_partition_gives_are_told_in_one_line(checkout: Checkout, tmp_path: Path) -> None:
    """Slurm would refuse each such Slurm job; none of the smoke run's jobs alone asks for so much."""
    path = path_with(tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="echo normal 10:00")
    done = checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path)
    one_line(done, "jobs that share a Slurm job (below-", "partition 'normal' gives 10", "group-components of profiles/slurm/profile.yaml")
    assert int(done.text.split(" ask for ")[1].split()[0]) > 10


def test_a_slurm_that_does_not_answer_is_told_in_one_line(checkout: Checkout, tmp_path: Path) -> None:
    path = path_with(
        tmp_path, sbatch="exit 1", squeue="exit 1", sinfo="echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1"
    )
    one_line(checkout.run("snakemake", *PROFILE, "--config", "scale=smoke", PATH=path), "Unable to contact slurm controller", "sinfo")


def test_ten_thousand_cells_are_planned_within_a_minute_and_two_gigabytes(tmp_path: Path) -> None:
    """Four times the paper scale's grid, by smaller parts and more runs; in seconds of processor time, whatever else the machine does."""
    checkout = Checkout(tmp_path)

    def four_times(text: str) -> str:
        changes = {"networks_per_job: 200": "networks_per_job: 45", " runs: 5": " runs: 20", "published_runs: 5": "published_runs: 20"}
        parts = re.split(r"(?m)^(    paper:\n(?:      .*\n|\n)+)", text)
        for old, new in changes.items():
            parts[1::2] = [part.replace(old, new) for part in parts[1::2]]
        return "".join(parts)

    checkout.edit("config.yaml", four_times)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = checkout.run("snakemake", "-n", "--config", "scale=paper")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0, done.text
    counted = re.search(r"^total\s+(\d+)$", done.text, re.MULTILINE)
    assert counted
    assert int(counted[1]) >= 10_000
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    # Kilobytes, of the largest process that these tests have started.
    assert after.ru_maxrss < 2_000_000
