# What all rules share: the checked configuration, code digests, the GPU hint, and how long the rest will take.
import functools
import getpass
import json
import logging
import math
import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from onestep.config import validate
from onestep.data.sources import TITLES, resolve, root_of
from onestep.errors import Mistake
from onestep.provenance import code_digest, pins_digest, writable_folder


def stop(mistake):
    """A person's mistake: one line, exit status 2, before any job."""
    print(f"onestep: {mistake}", file=sys.stderr)
    # Past Snakemake's handlers, which would add a traceback and exit with 1.
    logging.shutdown()
    os._exit(2)


def check_cache():
    """Whether results can be shared: Snakemake itself would say so of each job, once it has computed it."""
    if workflow.workflow_settings.cache is not None:
        folder = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
        if not folder:
            raise Mistake("--cache: $SNAKEMAKE_OUTPUT_CACHE is not set; name the folder that is shared, or leave --cache out")
        writable_folder(Path(folder), "$SNAKEMAKE_OUTPUT_CACHE: ")


try:
    validate(config)
    writable_folder(Path("results"))
    # What was resolved, not what was asked for, is a param of the rules that use it.
    SOURCES = resolve(config["data_source"], config["data_root"])
    PINS = pins_digest(Path("envs/requirements.lock"))
    check_cache()
except Mistake as mistake:
    stop(mistake)

# What the top of a cluster's profile says; empty on one machine.
CLUSTER = {
    name: resource.evaluate(None, input=None, attempt=1, threads=1, rulename="", async_run=None).value
    for name, resource in (workflow.resource_settings.default_resources or {}).items()
    if name in ("slurm_partition", "slurm_account", "gpu_partition")
}
SCALE = config["scale"]
RESULTS = f"results/{SCALE}"


wildcard_constraints:
    depth=r"\d+",
    width=r"\d+",
    first=r"\d+",
    activation="relu|tanh|softplus|gelu",
    variant="gaussian-output|bias|tanh|softplus|gelu",
    profile="equal|growing|shrinking|bottleneck",
    dataset="|".join(config["datasets"]),
    kind="corrected|corrected-pixels|published|published-pixels",
    run=r"\d+",
    architecture="resnet|lenet|convolutional|fully-connected|periodic|periodic-pooled",
    side=r"\d+",
    network=r"\d+",
    effort="fast|thorough",


def code(*modules):
    """Digests of the modules' import closure and of the pinned versions: as a param they rerun a rule when code that it can see or the
    environment has changed, and are part of the key under which the cache finds a result."""
    try:
        return f"{code_digest(*modules)}-{PINS}"
    except Mistake as mistake:
        stop(mistake)


def setting(path):
    """A value of the configuration, by its path: a param made of it reruns only the rules that use it."""
    # Not Snakemake's lookup(), which walks the whole configuration each time: 7 ms, some 30 times a job.
    return functools.reduce(operator.getitem, path.split("/"), config)


# On a cluster it is the profile that knows of GPUs.
GPUS = bool(CLUSTER.get("gpu_partition") if CLUSTER else shutil.which("nvidia-smi"))


def check_gpu():
    """A GPU asked for where there is none is one line before any job; each job would say it on its own."""
    if config["device"].startswith("cuda") and not GPUS:
        why = "profiles/slurm/profile.yaml names no gpu_partition" if CLUSTER else "this machine has no nvidia-smi"
        raise Mistake(f"device: {config['device']} asks for a GPU, and {why}; use auto or cpu")


def device(wildcards):
    """Where a job computes: networks of width 10,000 and more are never formed, and stay on the CPU."""
    return "cpu" if int(wildcards.get("width", 0)) >= 10_000 else config["device"]


def gpu_hint(wildcards):
    """1 where there is a GPU that the job may use, so that the profile's `gpu=1` lets one such job run at a time; else 0."""
    return int(GPUS and device(wildcards) != "cpu")


def lasting(seconds):
    """Resources: the seconds that a job takes, about (a number, or a function of the wildcards), and the minutes after which a cluster may
    end it: five times as long, and five to spare."""

    def limit(wildcards):
        return 5 + math.ceil(5 / 60 * (seconds(wildcards) if callable(seconds) else seconds))

    return {"seconds": seconds, "runtime": limit}


def sources(wildcards):
    """Where a data set's images really come from: a param, so that other data are made when the source changes."""
    source = SOURCES[setting(f"datasets/{wildcards.dataset}/images")]
    root = root_of(source, config["data_root"])
    return f"--source {source}" + ("" if root is None else f" --root {shlex.quote(str(root))}")


def title(wildcards):
    """The data set's name for people."""
    return TITLES[setting(f"datasets/{wildcards.dataset}/images")]


class RemainingTime(logging.Handler):
    """Says after each job about how long the rest takes: by the rules' own estimates (resource `seconds`), corrected by what they took."""

    def __init__(self, jobs, cores):
        super().__init__()
        self.left = {job.jobid: float(job.resources.get("seconds", 3)) for job in jobs}
        self.cores, self.total, self.start = cores, sum(self.left.values()), time.monotonic()

    def say(self):
        """About the remaining time; the first part of a run is too short to correct the estimates by."""
        left, elapsed = sum(self.left.values()), time.monotonic() - self.start
        done = self.total - left
        pace = elapsed * self.cores / done if done > 0.1 * self.total else 1.0
        seconds = left * pace / self.cores
        about = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"
        logger.info(f"About {about} to go ({done / self.total:.0%} of the work done, {elapsed / 60:.1f} min so far).")

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_FINISHED and self.left.pop(record.job_id, None) is not None and self.left:
            self.say()


onstart:
    try:
        check_gpu()
        if workflow.executor_plugin.name == "slurm":
            check_slurm()
    except Mistake as mistake:
        workflow.persistence.unlock()
        stop(mistake)
    remaining = RemainingTime(list(workflow.dag.needrun_jobs()), max(1, min(workflow.cores or 1, 64)))
    remaining.say()
    logger.addHandler(remaining)
