# What jobs ask for and what they took: results/<scale>/run.json, from which `onestep cost` forecasts another scale.
from snakemake.io import is_flagged

from onestep import cost


def asked(job):
    """A job and what it asks for."""
    ask = {name: job.resources.get(name) for name in ("seconds", "mem_mb", "disk_mb", "gpu")}
    temporary = all(is_flagged(file, "temp") for file in job.output)
    return {"rule": job.rule.name, "output": [str(file) for file in job.output], "temporary": temporary, "threads": job.threads} | ask


def took(job):
    """The same with what is known of how long it took; on a cluster Snakemake notes when a job was sent, not when it began."""
    noted = None if CLUSTER else workflow.persistence.metadata(job.output[0])
    seconds = noted.endtime - noted.starttime if noted and noted.starttime and noted.endtime else None
    return asked(job) | {"noted_seconds": seconds, "benchmark": job.benchmark and str(job.benchmark), "cached": bool(job.rule.cache.flag)}


class Plan(logging.Handler):
    """Writes the jobs of a dry run to the file that `onestep cost` names."""

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.RUN_INFO:
            # All, for a dry run tells of them twice: the second time none is left.
            jobs = [asked(job) for job in workflow.dag.needrun_jobs(exclude_finished=False) if job.rule.shellcmd]
            Path(os.environ[cost.PLAN]).write_text(json.dumps(jobs))


if cost.PLAN in os.environ:
    logger.addHandler(Plan())


onsuccess:
    jobs = [took(job) for job in workflow.dag.jobs if job.rule.shellcmd]
    cost.write(jobs, SCALE, shlex.join(["snakemake", *sys.argv[1:]]), Path(RESULTS) / "run.json")
    shutil.copyfile(f"{RESULTS}/run.json", "results/run.json")
