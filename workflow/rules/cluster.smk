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


def partition(step):
    """The profile's partition, or the one for jobs with a GPU."""
    return lambda wildcards: CLUSTER["gpu_partition" if value(step, "gpu", wildcards) else "slurm_partition"]


def slurm_minutes(limit):
    """A time limit as Slurm writes it, `days-hours:minutes:seconds`, in minutes."""
    parts = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if parts is None:
        return math.inf  # `infinite`
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 1440 * days + 60 * hours + minutes + seconds // 60


def told(*command):
    """What one of Slurm's programs says."""
    return subprocess.run(command, capture_output=True, text=True)


def why(done):
    """Why it has failed, in one line."""
    return next(iter(done.stderr.strip().splitlines()), f"{done.args[0]} says nothing")


def partitions():
    """The cluster's partitions, and the minutes after which each ends any job."""
    if shutil.which("sbatch") is None:
        raise Mistake("profiles/slurm: sbatch is not on the path; start from the cluster's login node, or leave --workflow-profile out")
    listed = told("sinfo", "--noheader", "--format=%R %l")
    if listed.returncode:
        raise Mistake(f"profiles/slurm: Slurm does not answer ({why(listed)}); try sinfo")
    return {name: slurm_minutes(limit) for name, limit in map(str.split, listed.stdout.splitlines())}


@functools.cache
def longest(name):
    """Minutes after which a partition ends any job; a plan can be made without Slurm, too."""
    try:
        return partitions().get(name, math.inf)
    except Mistake:
        return math.inf


def memory(step):
    """As many times as much as attempts have been made."""
    once = step.resources["mem_mb"]
    return lambda wildcards, attempt: attempt * once.evaluate(wildcards).value


def runtime(step):
    """The same, up to what the partition gives any job: a training that takes longer goes on from its checkpoint.

    Jobs that share a Slurm job leave out the five minutes to spare: their times are added, and each is a minute at least.
    """
    once = step.resources["runtime"]

    def limit(wildcards, attempt):
        minutes = once.evaluate(wildcards).value
        minutes = attempt * (minutes if size(step, wildcards) == "alone" else minutes - 5)
        return min(minutes, longest(partition(step)(wildcards)))

    return limit


if CLUSTER:
    for step in HEAVY:
        step.group = group(step)
        step.resources["slurm_partition"] = partition(step)
        step.resources["mem_mb"] = memory(step)
        step.resources["runtime"] = runtime(step)


# They write checkpoints of their training.
TRAININGS = {"lazy_train", "guarantees_train"}


def check_partitions(names):
    """That the cluster has them."""
    known = partitions()
    for name in names:
        if name not in known:
            raise Mistake(f"profiles/slurm/profile.yaml: Slurm has no partition {name!r}; choose from {', '.join(sorted(known))}")


def check_accounts(names):
    """That a person has them: the plugin asks Slurm the same of each job, and ends in a traceback."""
    listed = told("sacctmgr", "-n", "-s", "list", "user", getpass.getuser(), "format=account%256")
    if not listed.stdout.strip():
        listed = told("sshare", "-U", "--noheader", "--format=Account%256")
    if listed.returncode:
        raise Mistake(f"profiles/slurm/profile.yaml: Slurm knows of no accounts ({why(listed)}); leave account empty")
    known = sorted({name.strip().lower() for name in listed.stdout.split()})
    for name in names:
        if known and name.lower() not in known:
            raise Mistake(f"profiles/slurm/profile.yaml: you have no account {name!r} with Slurm; choose from {', '.join(known)}")


def check_checkpoints(jobs):
    """That trainings have the time to write one: those that their time limit ends would else begin anew at each attempt."""
    from onestep.training.near_init import BETWEEN_CHECKPOINTS

    for job in jobs:
        if job.rule.name in TRAININGS and 60 * (most := longest(job.resources.slurm_partition)) <= BETWEEN_CHECKPOINTS:
            raise Mistake(
                f"profiles/slurm: partition {job.resources.slurm_partition!r} gives {job.rule.name} {most} min, and its first"
                f" checkpoint comes after {BETWEEN_CHECKPOINTS:.0f} s: it would begin anew at each attempt; name one with a longer time limit"
            )


def check_shared(slurm_jobs):
    """That Slurm will take them: the times of jobs that share a Slurm job are added, and no partition takes more than it gives any job."""
    for slurm_job in slurm_jobs:
        if (asked := slurm_job.resources.runtime) > (most := longest(slurm_job.resources.slurm_partition)):
            raise Mistake(
                f"profiles/slurm: {len(slurm_job.jobs)} jobs that share a Slurm job ({slurm_job.groupid}) ask for {asked} min together, and"
                f" partition {slurm_job.resources.slurm_partition!r} gives {most}; name one with a longer time limit, or fewer jobs in"
                " group-components of profiles/slurm/profile.yaml"
            )


def check_slurm():
    """A mistake in the profile, or a machine without Slurm, is one line before any job; Slurm itself would say it of every job."""
    check_partitions(filter(None, (CLUSTER["slurm_partition"], CLUSTER["gpu_partition"])))
    # The plugin takes several, and sends jobs under the first.
    if accounts := re.findall(r"[^,\s]+", CLUSTER.get("slurm_account", "")):
        check_accounts(accounts)
    jobs = list(workflow.dag.needrun_jobs())
    check_checkpoints(jobs)
    check_shared({group for job in jobs if (group := workflow.dag.get_job_group(job))})
