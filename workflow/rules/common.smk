# What all rules share: the checked configuration, code digests, the GPU hint, and how long the rest will take.
import logging
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from onestep.config import validate
from onestep.data.sources import TITLES, resolve, root_of
from onestep.errors import Mistake
from onestep.provenance import code_digest, writable_folder


def stop(mistake):
    """A person's mistake: one line, exit status 2, before any job."""
    print(f"onestep: {mistake}", file=sys.stderr)
    # Past Snakemake's handlers, which would add a traceback and exit with 1.
    logging.shutdown()
    os._exit(2)


try:
    validate(config)
    writable_folder(Path("results"))
    # What was resolved, not what was asked for, is a param of the rules that use it.
    SOURCES = resolve(config["data_source"], config["data_root"])
except Mistake as mistake:
    stop(mistake)

SCALE = config["scale"]
RESULTS = f"results/{SCALE}"


wildcard_constraints:
    depth=r"\d+",
    width=r"\d+",
    first=r"\d+",
    dataset="|".join(config["datasets"]),


def code(*modules):
    """Digest of the modules' import closure: as a param it reruns a rule when code that it can see has changed."""
    try:
        return code_digest(*modules)
    except Mistake as mistake:
        stop(mistake)


def setting(path):
    """A value of the configuration, by its path: a param made of it reruns only the rules that use it."""
    return lookup(path, within=config)


def gpu_hint():
    """1 where there is a GPU and the configuration may use it, so that the profile's `gpu=1` lets one such job run at a time; else 0."""
    return int(config["device"] != "cpu" and shutil.which("nvidia-smi") is not None)


def minutes(seconds):
    """A runtime limit in minutes with room to spare, for clusters that end a job at its limit."""
    return 5 + round(seconds / 10)


def sources(wildcards):
    """Where a data set's images really come from: a param, so that other data are made when the source changes."""
    source = SOURCES[setting(f"datasets/{wildcards.dataset}/images")]
    root = root_of(source, config["data_root"])
    return f"--source {source}" + ("" if root is None else f" --root {shlex.quote(str(root))}")


def title(wildcards):
    """The data set's name for people."""
    return TITLES[setting(f"datasets/{wildcards.dataset}/images")]


SINGLESTEP = f"singlestep/scales/{SCALE}"


def networks_of(depth):
    """How many networks a cell of this depth has."""
    return setting(f"{SINGLESTEP}/{'two_layer_networks' if depth == 1 else 'networks'}")


def parts(pattern, depths, widths):
    """The record files of an experiment: for every depth and width, one for each part of the networks."""
    size = setting(f"{SINGLESTEP}/networks_per_job")
    return [
        f"{RESULTS}/records/singlestep/{pattern.format(depth=depth, width=width, first=first)}"
        for depth in depths
        for width in widths
        for first in range(0, networks_of(depth), size)
    ]


def networks_in_part(wildcards):
    """How many networks the part that starts with `first` has."""
    total = networks_of(int(wildcards.get("depth", 1)))
    return min(setting(f"{SINGLESTEP}/networks_per_job"), total - int(wildcards.first))


def sampling_seconds(wildcards):
    """About how long a job takes, from times measured for each weight and, in deeper networks, each evaluation along the ray."""
    depth, width = int(wildcards.get("depth", 1)), int(wildcards.width)
    inner = (depth - 1) * width**2 * (9e-9 + 6e-9 * depth) + (depth > 1) * 3e-4 * depth**2
    one = sum(1.5e-8 * width * d + 1e-4 + inner for d in setting(f"{SINGLESTEP}/input_dims"))
    return round(1.5 + networks_in_part(wildcards) * one, 1)


class RemainingTime(logging.Handler):
    """Says after each job about how long the rest takes: by the rules' own estimates (resource `seconds`), corrected by what they took."""

    def __init__(self, jobs, cores):
        super().__init__()
        self.left = {job.jobid: float(job.resources.get("seconds", 3)) for job in jobs}
        self.cores, self.total, self.start = cores, sum(self.left.values()), time.monotonic()
        self.last = self.start

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
    remaining = RemainingTime(list(workflow.dag.needrun_jobs()), max(1, min(workflow.cores or 1, 64)))
    remaining.say()
    logger.addHandler(remaining)
