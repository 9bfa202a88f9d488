# What a cluster needs to know of the rules: which are light, which share a job, what they get at a second attempt. One machine ignores it.
from snakemake.io import strip_wildcard_constraints

SIZES = [5, 20, 80, 300]

# They take seconds, and read what every other job wrote; `prepare` may download, which the nodes of a cluster often cannot.
LIGHT = {"prepare", "data", "claims", "typeset", "html", "latest"}
LIGHT |= {step.name for step in workflow.rules if step.name.endswith(("_claims", "_figures", "_notebook"))}
HEAVY = [step for step in workflow.rules if step.shellcmd and step.name not in LIGHT]
MADE = {strip_wildcard_constraints(file): step for step in HEAVY for file in step.output}
workflow.localrules(*LIGHT)


def value(step, resource, wildcards):
    """What a rule asks for at the first attempt; None where it does not say."""
    return step.resources.get(resource).evaluate(wildcards).value


def first(step):
    """The rule that starts what this one goes on with; both are in one Slurm job."""
    return next((first(MADE[str(file)]) for file in step.input if str(file) in MADE), step)


def size(step, wildcards):
    """Jobs of about the same length share a Slurm job, as many as the profile says."""
    seconds = value(first(step), "seconds", wildcards) or 0
    return next((f"below-{limit}" for limit in SIZES if seconds < limit), "alone")


def group(step):
    """Those with a GPU have another partition, and jobs that share a Slurm job must agree on it."""
    return lambda wildcards: "gpu-" * bool(value(step, "gpu", wildcards)) + size(step, wildcards)


def memory(step):
    """As many times as much as attempts have been made."""
    once = step.resources["mem_mb"]
    return lambda wildcards, attempt: attempt * once.evaluate(wildcards).value


def runtime(step):
    """The same; the minutes to spare are a Slurm job's, not each of the jobs' that share it and whose times are added."""
    once = step.resources["runtime"]

    def limit(wildcards, attempt):
        minutes = once.evaluate(wildcards).value
        return attempt * (minutes if size(step, wildcards) == "alone" else max(2, minutes - 5))

    return limit


def partition(step):
    """The profile's partition, or the one for jobs with a GPU."""
    return lambda wildcards: CLUSTER["gpu_partition" if value(step, "gpu", wildcards) else "slurm_partition"]


if CLUSTER:
    for step in HEAVY:
        step.group = group(step)
        step.resources["slurm_partition"] = partition(step)
        step.resources["mem_mb"] = memory(step)
        step.resources["runtime"] = runtime(step)


def check_slurm():
    """A mistake in the profile, or a machine without Slurm, is one line before any job; Slurm itself would say it of every job."""
    if shutil.which("sbatch") is None:
        raise Mistake("profiles/slurm: sbatch is not on the path; start from the cluster's login node, or leave --workflow-profile out")
    listed = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True)
    if listed.returncode:
        raise Mistake(f"profiles/slurm: Slurm does not answer ({listed.stderr.strip().splitlines()[0]}); try sinfo")
    for name in filter(None, CLUSTER.values()):
        if name not in listed.stdout.split():
            known = ", ".join(sorted(set(listed.stdout.split())))
            raise Mistake(f"profiles/slurm/profile.yaml: Slurm has no partition {name!r}; choose from {known}")
