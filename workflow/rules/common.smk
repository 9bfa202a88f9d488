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


SINGLESTEP = f"singlestep/scales/{SCALE}"


def networks_of(depth, width):
    """How many networks a cell of this depth and width has."""
    size = "widest_networks" if width in setting(f"{SINGLESTEP}/widest") else "two_layer_networks" if depth == 1 else "networks"
    return setting(f"{SINGLESTEP}/{size}")


def inputs_of(wildcards):
    """How many inputs each network has."""
    return 1 if int(wildcards.width) >= setting(f"{SINGLESTEP}/one_input_from") else setting(f"{SINGLESTEP}/inputs")


def parts(pattern, depths, widths):
    """The record files of an experiment: for every depth and width, one for each part of the networks."""
    size = setting(f"{SINGLESTEP}/networks_per_job")
    return [
        f"{RESULTS}/records/singlestep/{pattern.format(depth=depth, width=width, first=first)}"
        for depth in depths
        for width in widths
        for first in range(0, networks_of(depth, width), size)
    ]


def networks_in_part(wildcards):
    """How many networks the part that starts with `first` has."""
    total = networks_of(int(wildcards.get("depth", 1)), int(wildcards.width))
    return min(setting(f"{SINGLESTEP}/networks_per_job"), total - int(wildcards.first))


def sampling_seconds(wildcards):
    """About how long a job takes, from measured times: held or never formed, more evaluations along the ray where d is small."""
    depth, width = int(wildcards.get("depth", 1)), int(wildcards.width)
    looks = [3 + 12 * d**-0.3 * (depth > 1) for d in setting(f"{SINGLESTEP}/input_dims")]
    free = sum(inputs_of(wildcards) * depth * n * (1e-4 + 3e-8 * width * (1 + n / 10)) for n in looks)
    held = sum(depth * (1.5e-8 * min(width, 3000) ** 2 + 1e-4 * n) for n in looks)
    return round(1.5 + networks_in_part(wildcards) * min(free, held), 1)


def sampling_memory(wildcards):
    """Megabytes: what the products along the rays of one wide network take."""
    return 2000 + round(4e-3 * int(wildcards.get("depth", 1)) / 6 * int(wildcards.width))


MULTILAYER = f"multilayer/scales/{SCALE}"
PROFILES = ["equal", "growing", "shrinking", "bottleneck"]


def multilayer_parts(pattern, **axes):
    """The record files of an experiment: one for each value of its axes and for each part of the networks."""
    first = range(0, setting(f"{MULTILAYER}/networks"), setting(f"{MULTILAYER}/networks_per_job"))
    return expand(f"{RESULTS}/records/multilayer/{pattern}", **axes, first=first)


def multilayer_networks(wildcards):
    """How many networks of each cell the part that starts with `first` has."""
    return min(setting(f"{MULTILAYER}/networks_per_job"), setting(f"{MULTILAYER}/networks") - int(wildcards.first))


def grid_of(name, profile):
    """Depths, base widths and bottlenecks of a profile in one of the grids `flip` and `ball`."""
    grid = setting(f"{MULTILAYER}/{name}")
    if profile == "bottleneck":
        return grid["bottleneck_depths"], [grid["bottleneck_width"]], grid["bottlenecks"]
    prefix = "" if profile == "equal" else "profile_"
    return grid[f"{prefix}depths"], grid[f"{prefix}widths"], []


def shape_of(name, wildcards):
    """The same as options."""
    depths, widths, bottlenecks = grid_of(name, wildcards.profile)
    options = {"depth": depths, "width": widths, "bottleneck": bottlenecks, "ratio": [setting("multilayer/profile_ratio")]}
    return " ".join(f"--{option} {' '.join(map(str, values))}" for option, values in options.items() if values)


def multilayer_seconds(name, wildcards):
    """About how long a job takes, from measured times."""
    depths, widths, bottlenecks = grid_of("flip" if name == "flip" else "ball", wildcards.profile)
    wider = {"growing": 2, "shrinking": 0.5}.get(wildcards.profile, 1)
    if name == "flip":
        one = sum(L**2 * (3e-4 + 1e-7 * wider * k) for L in depths for k in widths)
    else:
        steps = setting("multilayer/ascent_steps") * {"layers": 1.0, "smoothness": 1.5}[name]
        one = sum(L * (1e-4 + steps * (3e-5 + 1.5e-9 * (wider * k) ** 2)) for L in depths for k in widths)
    return round(2 + multilayer_networks(wildcards) * one * max(1, len(bottlenecks)), 1)


def collapse_widths():
    """The widths at which the depth collapse is followed, the widest of them at one dimension."""
    return sorted({*setting(f"{MULTILAYER}/collapse_widths"), setting(f"{MULTILAYER}/collapse_widest")})


def collapse_dims(wildcards):
    """The input dimensions for a width."""
    dims = setting(f"{MULTILAYER}/collapse_dims")
    return dims if int(wildcards.width) in setting(f"{MULTILAYER}/collapse_widths") else dims[:1]


def collapse_seconds(wildcards):
    """About how long that takes: layers, times what is drawn and multiplied in each."""
    each = setting(f"{MULTILAYER}/collapse_inputs") * int(wildcards.width) * 1.4e-8 + 1e-5
    layers = setting(f"{MULTILAYER}/collapse_depths")[-1] * len(collapse_dims(wildcards))
    return round(2 + multilayer_networks(wildcards) * layers * each, 1)


def scan_jobs():
    """The jobs that scan very deep networks: one for each width, and one for the deepest."""
    return [*(f"width-{width}" for width in setting(f"{MULTILAYER}/scan_widths")), "deepest"]


def scan_grid(wildcards):
    """Depths, width and input dimensions of such a job; the deepest networks have the smallest width and dimension."""
    dims, widths = setting(f"{MULTILAYER}/scan_dims"), setting(f"{MULTILAYER}/scan_widths")
    if wildcards.deep == "deepest":
        return [setting(f"{MULTILAYER}/scan_deepest")], widths[0], dims[:1]
    return setting(f"{MULTILAYER}/scan_depths"), int(wildcards.deep.removeprefix("width-")), dims


def scan_seconds(wildcards):
    """About how long it takes: layers, times what is drawn and multiplied in each."""
    depths, width, dims = scan_grid(wildcards)
    each = setting("multilayer/scan_points") * width * 2.5e-8 + 2e-5
    return round(2 + multilayer_networks(wildcards) * sum(depths) * len(dims) * each, 1)


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


LAZY = f"lazy/scales/{SCALE}"


def lazy_jobs(pattern):
    """The files of an experiment: one for each way of training, width and run."""
    sizes = setting(LAZY)
    jobs = [(kind, width, sizes["runs"]) for kind in ("corrected", "corrected-pixels") for width in sizes["widths"]]
    jobs += [(kind, width, sizes["widest_runs"]) for kind in ("corrected", "corrected-pixels") for width in sizes["widest"]]
    jobs += [(kind, width, sizes["published_runs"]) for kind in ("published", "published-pixels") for width in sizes["published_widths"]]
    return [pattern.format(kind=kind, width=width, run=run) for kind, width, runs in jobs for run in range(runs)]


def lazy_some(experiment, widths, runs):
    """The files of an experiment on some of the networks that are trained as the text says."""
    kinds = ("corrected", "corrected-pixels")
    return [f"{experiment}/{kind}/width-{width}/run-{run}.parquet" for kind in kinds for width in widths for run in range(runs)]


def lazy_panels(check=False):
    """The files of Figure 4, or of the check on its training: one for each panel, protocol, width, side and run."""
    sizes = setting(f"{LAZY}/adversarial")
    budgets = "adversarial/budgets/{}/width-{}/side-{}/run-{}.parquet"
    if check:
        jobs = [("corrected", sizes["width"], side, sizes["runs"]) for side in sizes["checked_sides"]]
        budgets = budgets.replace("adversarial", "check", 1)
    else:
        jobs = [("corrected", sizes["width"], side, sizes["runs"]) for side in sizes["sides"]]
        jobs += [("as_published", sizes["width"], side, sizes["published_runs"]) for side in sizes["published_sides"]]
    files = [budgets.format(*job, run) for *job, runs in jobs for run in range(runs)]
    if not check:
        radii = budgets.replace("budgets", "radii", 1)
        files += [radii.format("corrected", width, sizes["side"], run) for width in sizes["widths"] for run in range(sizes["runs"])]
    return files


def lazy_cells(wildcards):
    """The cells of a job of Figure 4, as options: budgets in one ball, or balls for one budget; the same in every figure."""
    figure = setting("lazy/adversarial")

    def between(values, size):
        low, high = figure["ends"]
        return [low, *(value / size**0.5 for value in values if low < value / size**0.5 < high), high]

    width, dim = int(wildcards.width), int(wildcards.side) ** 2
    if wildcards.get("panel", "budgets") == "budgets":
        budgets, radii = between(figure["budgets"], dim), [figure["c0"] / width**0.5]
    else:
        budgets, radii = [figure["budget"]], between(figure["radii"], width)
    return " ".join(["--budget", *(f"{value:.5g}" for value in budgets), "--radius", *(f"{value:.5g}" for value in radii)])


def lazy_attacks(wildcards):
    """How a job of Figure 4 attacks and when its trainings end, as options."""
    sizes = setting(f"{LAZY}/adversarial")
    published = "published_" if wildcards.get("protocol") == "as_published" else ""
    options = {"epochs": sizes[f"{published}epochs"], "patience": sizes[f"{published}patience"]}
    options |= {"training-steps": sizes["training_steps"], "test-steps": sizes["test_steps"]}
    return " ".join(f"--{name} {value}" for name, value in options.items())


def lazy_panel_seconds(wildcards):
    """About how long a job of Figure 4 takes, from measured times."""
    sizes = setting(f"{LAZY}/adversarial")
    epochs = sizes["published_epochs"] / 3 if wildcards.get("protocol") == "as_published" else min(sizes["epochs"], 4)
    each = (
        5e-7
        * int(wildcards.width)
        * (300 + int(wildcards.side) ** 2)
        * (epochs * (sizes["training_steps"] + 2) + 0.1 * sizes["test_steps"])
    )
    return round(2 + each * 7)


def lazy_radii(wildcards):
    """The C0 of a job; inf: without a ball, too."""
    every, width = setting("lazy/c0"), int(wildcards.width)
    if width in setting(f"{LAZY}/widest"):
        return every[:1]
    free = wildcards.kind.startswith("corrected") and width in setting(f"{LAZY}/free_widths")
    return every + (["inf"] if free else [])


def lazy_epochs(wildcards):
    """Epochs at most."""
    return setting(f"{LAZY}/published_epochs" if wildcards.kind.startswith("published") else "lazy/epochs")


def lazy_images(wildcards):
    """How many test images are looked at, as an option; all where it is left out."""
    return f"--test-images {setting(f'{LAZY}/widest_images')}" if int(wildcards.width) in setting(f"{LAZY}/widest") else ""


def lazy_seconds(wildcards):
    """About how long a training takes, from measured times."""
    pixels = sum(side**2 for side in setting(f"{LAZY}/sides"))
    epochs = {"published": 10, "published-pixels": 2, "corrected": 3, "corrected-pixels": 0.5}[wildcards.kind]
    epochs = 0.1 if int(wildcards.width) in setting(f"{LAZY}/widest") else epochs
    return round(2 + epochs * 2e-6 * int(wildcards.width) * pixels)


def lazy_memory(wildcards):
    """Megabytes: the weights of the largest network, several times."""
    return 1000 + round(4e-5 * int(wildcards.width) * setting(f"{LAZY}/sides")[-1] ** 2)


def lazy_weights(wildcards):
    """Megabytes of the models: one for each side and C0."""
    weights = int(wildcards.width) * sum(side**2 + 1 for side in setting(f"{LAZY}/sides"))
    return max(1, round(4e-6 * weights * len(lazy_radii(wildcards))))


GUARANTEES = f"guarantees/scales/{SCALE}"
THEOREM = ["periodic", "periodic-pooled"]
SUPPLEMENT = ["lenet", "convolutional", "fully-connected"]


def guarantees_sizes(architecture):
    """Networks and inputs of each cell of the random networks."""
    if architecture == "resnet":
        return setting(f"{GUARANTEES}/networks"), setting(f"{GUARANTEES}/inputs")
    return setting(f"{GUARANTEES}/{'theorem' if architecture in THEOREM else 'supplement'}_networks"), 1


def guarantees_firsts(networks):
    """The first networks of the parts that so many networks are split into."""
    return range(0, setting(f"{GUARANTEES}/{networks}"), setting(f"{GUARANTEES}/networks_per_job"))


def guarantees_samples():
    """The files of the random networks: one for each architecture, side and part."""
    grids = [("resnet", "sides", "networks"), *((name, "supplement_sides", "supplement_networks") for name in SUPPLEMENT)]
    grids += [(name, "theorem_sides", "theorem_networks") for name in THEOREM]
    return [
        f"sample/{architecture}/side-{side}/from-{first}.parquet"
        for architecture, sides, networks in grids
        for side in setting(f"{GUARANTEES}/{sides}")
        for first in guarantees_firsts(networks)
    ]


def guarantees_rays():
    """The files of the random directions: one for each architecture and side."""
    grids = [("resnet", "ray_sides"), *((name, "theorem_sides") for name in THEOREM)]
    return [f"rays/{architecture}/side-{side}.parquet" for architecture, sides in grids for side in setting(f"{GUARANTEES}/{sides}")]


def guarantees_part(wildcards, networks):
    """How many networks the part that starts with `first` has."""
    return min(setting(f"{GUARANTEES}/networks_per_job"), networks - int(wildcards.first))


def guarantees_cell(wildcards, experiment="sample"):
    """Which networks and inputs a job looks at, as options."""
    networks, inputs = guarantees_sizes(wildcards.architecture)
    if experiment == "rays":
        networks, inputs = setting(f"{GUARANTEES}/ray_networks"), 1
    else:
        networks = guarantees_part(wildcards, setting(f"{GUARANTEES}/search_networks") if experiment == "search" else networks)
    first = "" if experiment == "rays" else f" --first-network {wildcards.first}"
    return f"--architecture {wildcards.architecture} --side {wildcards.side} --networks {networks}{first} --inputs {inputs}"


def guarantees_gradient(architecture, side):
    """Seconds that a gradient takes, from measured times."""
    at_32 = {"resnet": 8e-3, "lenet": 12e-3, "fully-connected": 2e-4, "periodic-pooled": 11e-3}.get(architecture, 19e-3)
    return 5e-4 + at_32 * (int(side) / 32) ** 2


def guarantees_seconds(wildcards):
    """About how long a job takes that looks for the nearest boundary in the three norms."""
    networks, inputs = guarantees_sizes(wildcards.architecture)
    gradient = guarantees_gradient(wildcards.architecture, wildcards.side)
    return round(2 + 65 * gradient * guarantees_part(wildcards, networks) * inputs, 1)


def guarantees_ray_seconds(wildcards):
    """About how long a job takes that follows random directions."""
    return round(2 + 30 * guarantees_gradient(wildcards.architecture, wildcards.side) * setting(f"{GUARANTEES}/ray_networks"), 1)


def guarantees_training(wildcards):
    """How a network is trained, as options."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    options = {
        "width": sizes["filters"],
        "images-used": sizes["images"],
        "test-images": sizes["test_images"],
        "epochs": sizes["epochs"],
        "until": sizes["until"],
    }
    options |= {"batch": sizes["batch"], "lr": sizes["lr"]}
    return " ".join(f"--{name} {value}" for name, value in options.items() if value is not None)


def guarantees_training_seconds(wildcards):
    """About how long that takes."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    # Where training ends once the images are learned that takes a third of the epochs, or less.
    epochs = sizes["epochs"] / 3 if sizes["until"] else sizes["epochs"]
    return round(3 + 0.01 * sizes["filters"] ** 2 * (sizes["images"] or 60_000) * epochs)


def guarantees_weights(wildcards):
    """Megabytes of a model: a million weights at the published width."""
    return max(1, round(4.4 * setting(f"{GUARANTEES}/trained/{wildcards.dataset}")["filters"] ** 2))


def guarantees_attacks():
    """The files of the trained networks: one for each data set and part."""
    return [
        f"attack/{dataset}/from-{first}.parquet"
        for dataset, sizes in setting(f"{GUARANTEES}/trained").items()
        for first in range(0, sizes["networks"], sizes["networks_per_job"])
    ]


def guarantees_models(wildcards):
    """The trained networks of such a part."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    last = min(int(wildcards.first) + sizes["networks_per_job"], sizes["networks"])
    folder = f"{RESULTS}/models/guarantees/{wildcards.dataset}"
    return [f"{folder}/network-{network}.safetensors" for network in range(int(wildcards.first), last)]


def guarantees_attack_seconds(wildcards):
    """About how long they are attacked."""
    sizes = setting(f"{GUARANTEES}/trained/{wildcards.dataset}")
    return round(3 + 6 * 35 * 8e-3 * sizes["filters"] ** 2 * len(guarantees_models(wildcards)) * sizes["inputs"])
