"""What a run cost, job by job (results/<scale>/run.json), and from that what another scale will: time, memory, disk, GPU hours."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onestep.errors import Mistake
from onestep.provenance import certificate, read_certificate, write_text

Job = dict[str, Any]
"""A job as the workflow tells of it: `rule`, `output` (files), `temporary`, and what it asks for (`ASKED`)."""
ASKED = ("seconds", "mem_mb", "disk_mb", "threads", "gpu")

PLAN = "ONESTEP_PLAN"
"""Names the file to which a dry run writes its jobs."""
START = 0.2
"""Seconds within which no command has even started: what took less came from the cache, and says nothing of its rule."""
TELLING = 5.0
"""Seconds by estimate that jobs last at least, on average, if they are to correct the estimates of longer ones: others mostly start."""


# ---------------------------------------------------------------- what it was


def _benchmark(file: str | None) -> dict[str, float]:
    """Seconds and megabytes of a job whose rule has a benchmark file."""
    if file is None or not Path(file).is_file():
        return {}
    names, values = (line.split("\t") for line in Path(file).read_text().splitlines()[:2])
    row = dict(zip(names, values, strict=True))
    return {"seconds": float(row["s"])} | ({"peak_megabytes": float(row["max_rss"])} if row["max_rss"] not in ("-", "NA") else {})


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(_size(file) for file in path.iterdir()) if path.is_dir() else path.stat().st_size if path.exists() else 0


def _born(files: Iterable[str]) -> dict[str, Any]:
    """The first certificate among a job's files; weights that were not kept have none."""
    for file in files:
        with contextlib.suppress(Mistake):
            return read_certificate(Path(file))
    return {}


def _noted(job: Job) -> float | None:
    """The time that Snakemake noted."""
    seconds: float | None = job["noted_seconds"]
    fetched = job["cached"] and seconds is not None and seconds < START
    return None if fetched else seconds


def _ran(job: Job) -> Job:
    """A job with what it really took: by its benchmark file, else its artifact's certificate, else the time that was noted."""
    born = _born(job["output"])
    return {
        "rule": job["rule"],
        "output": job["output"],
        "seconds": born.get("wall_seconds", _noted(job)),
        **{name: born.get(name) for name in ("peak_megabytes", "machine", "device", "finished")},
        **_benchmark(job["benchmark"]),
        "bytes": sum(_size(Path(output)) for output in job["output"]),
        "temporary": job["temporary"],
        "asked": {name: job[name] for name in ASKED},
    }


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _summary(jobs: Sequence[Job]) -> dict[str, Any]:
    """What jobs took together, and what was expected of those whose time is known."""
    timed = [job for job in jobs if job["seconds"] is not None]
    seconds, estimated = sum(job["seconds"] for job in timed), sum(job["asked"]["seconds"] for job in timed)
    return {
        "jobs": len(jobs),
        "timed_jobs": len(timed),
        "seconds": round(seconds, 1),
        "estimated_seconds": round(estimated, 1),
        "ratio": round(seconds / estimated, 3) if estimated else None,
        "gpu_seconds": round(sum(job["seconds"] for job in timed if str(job["device"]).startswith("cuda")), 1),
        "peak_megabytes": _largest(job["peak_megabytes"] for job in jobs),
        "asked_megabytes": _largest(job["asked"]["mem_mb"] for job in jobs),
        "bytes": sum(job["bytes"] for job in jobs),
        "machines": sorted({job["machine"] for job in jobs if job["machine"]}),
        "devices": sorted({job["device"] for job in jobs if job["device"]}),
    }


def _by_rule(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    rules: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        rules[job["rule"]].append(job)
    return dict(sorted(rules.items()))


def write(jobs: Sequence[Job], scale: str, command: str, out: Path) -> None:
    """Writes what the jobs of a run took, with those that earlier runs of the scale made and this one did not need.

    Besides what `Job` says each has `noted_seconds` (None where nothing was noted), `benchmark` (a file or None) and `cached` (whether it
    may have come from the cache).
    """
    ran = {job["output"][0]: _ran(job) for job in jobs}
    if out.is_file():
        ran = {job["output"][0]: job for job in _read(out)["jobs"] if Path(job["output"][0]).exists()} | ran
    found = list(ran.values())
    content = {
        "provenance": certificate(parameters={"scale": scale}, modules=[__name__]) | {"command": command},
        "scale": scale,
        "total": _summary(found),
        "rules": {rule: _summary(group) for rule, group in _by_rule(found).items()},
        "jobs": found,
    }
    write_text(out, json.dumps(content, indent=1) + "\n")


def _read(file: Path) -> dict[str, Any]:
    """What a run took."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        if not {"scale", "total", "rules", "jobs"} <= content.keys():
            raise ValueError
    except (ValueError, AttributeError):
        raise Mistake(f"{file}: not what a run took; remove it and run again") from None
    return content


# ---------------------------------------------------------------- what it will be


@dataclass(frozen=True)
class Forecast:
    """What the jobs of a rule will take."""

    rule: str
    jobs: int
    seconds: float
    longest: float
    gpu_seconds: float
    megabytes: float
    """Of memory, the largest job's."""
    disk: float
    """Megabytes that stay; of what does not, that of one job."""
    temporary: bool
    known_from: str
    """The scale whose run has corrected the estimates; empty: none."""


def plan(scale: str, folder: Path) -> list[Job]:
    """Every job of a scale, as if nothing had been made, by a dry run in the folder of the checkout."""
    if not (folder / "Snakefile").is_file():
        raise Mistake(f"cost: {folder.resolve()} has no Snakefile; run it in the folder of the checkout")
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "plan.json"
        command = ["snakemake", "-n", "--forceall", "--nolock", "--quiet", "all", "--cores", "1", "--config", f"scale={scale}"]
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=os.environ | {PLAN: str(file)}, capture_output=True, text=True, check=False
        )
        if not file.is_file():
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["nothing was said"]
            ours = [line.removeprefix("onestep: ") for line in said if line.startswith("onestep: ")]
            raise Mistake(ours[0] if ours else f"cost: the dry run failed ({said[-1].strip()}); see snakemake -n --config scale={scale}")
        jobs: list[Job] = json.loads(file.read_text())
        return jobs


def past(results: Path) -> list[dict[str, Any]]:
    """What every scale's last run took."""
    runs = [_read(file) for file in sorted(results.glob("*/run.json"))]
    if not runs:
        raise Mistake(f"cost: no past run in {results}/ says how right the estimates are; make smoke is enough for a first forecast")
    return runs


def _telling(rule: str, scale: str, runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The run that says most of a rule: the scale's own, else that with the most work in it; None where jobs hardly did more than start."""
    known = [run for run in runs if run["rules"].get(rule, {}).get("ratio")]
    for run in known:
        if run["scale"] == scale:
            return run

    def work(run: Mapping[str, Any]) -> float:
        return float(run["rules"][rule]["estimated_seconds"])

    return max((run for run in known if work(run) >= TELLING * run["rules"][rule]["timed_jobs"]), key=work, default=None)


def _disk(jobs: Sequence[Job], seen: Sequence[Mapping[str, Any]]) -> list[float]:
    """Megabytes that each job of a rule writes: what it says, or what it wrote by the second in the run that did most of its work."""
    if all(job["disk_mb"] is not None for job in jobs):
        return [float(job["disk_mb"]) for job in jobs]
    most = max(seen, key=lambda one: float(one["estimated_seconds"]), default=None)
    rate = most["bytes"] / max(most["estimated_seconds"], 1.0) / 1e6 if most else 0.0
    return [rate * job["seconds"] for job in jobs]


def forecast(jobs: Sequence[Job], scale: str, runs: Sequence[Mapping[str, Any]]) -> list[Forecast]:
    """What jobs will take, rule by rule: their own estimates, times how far off those were."""
    found = []
    for rule, group in _by_rule(jobs).items():
        telling = _telling(rule, scale, runs)
        ratio = telling["rules"][rule]["ratio"] if telling else 1.0
        seconds = [ratio * job["seconds"] for job in group]
        seen = [run["rules"][rule] for run in runs if rule in run["rules"]]
        used = _largest(one["peak_megabytes"] / one["asked_megabytes"] for one in seen if one["peak_megabytes"])
        sizes = _disk(group, seen)
        temporary = all(job["temporary"] for job in group)
        found.append(
            Forecast(
                rule=rule,
                jobs=len(group),
                seconds=sum(seconds),
                longest=max(seconds),
                gpu_seconds=sum(each for each, job in zip(seconds, group, strict=True) if job["gpu"]),
                megabytes=max(job["mem_mb"] for job in group) * (used or 1.0),
                disk=max(sizes) if temporary else sum(sizes),
                temporary=temporary,
                known_from=telling["scale"] if telling else "",
            )
        )
    return found


def _time(seconds: float) -> str:
    """A time for people, as `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _volume(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def table(found: Sequence[Forecast], scale: str, cores: int) -> str:
    """A forecast as a table, the longest first, its sum below."""
    rows: list[tuple[str, ...]] = [("rule", "jobs", "time", "longest job", "memory", "disk", "by")]
    for one in sorted(found, key=lambda one: -one.seconds):
        times, sizes = [_time(one.seconds), _time(one.longest)], [_volume(one.megabytes), _volume(one.disk)]
        rows.append((one.rule, f"{one.jobs:,}", *times, *sizes, one.known_from or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    seconds = sum(one.seconds for one in found)
    wall = max(seconds / cores, max(one.longest for one in found))
    kept = sum(one.disk for one in found if not one.temporary)
    passing = cores * max((one.disk for one in found if one.temporary), default=0.0)
    unknown = [one for one in found if not one.known_from]
    jobs, gpu = sum(one.jobs for one in found), sum(one.gpu_seconds for one in found) / 3600
    said = [
        "",
        f"scale {scale}: {jobs:,} jobs, {_time(seconds)} one after the other, about {_time(wall)} on {cores} cores",
        f"memory: {_volume(max(one.megabytes for one in found))} for the largest job",
        f"disk: about {_volume(kept)}, and {_volume(passing)} more on the way",
        f"GPU: {gpu:.1f} hours",
    ]
    if unknown:
        share = sum(one.seconds for one in unknown) / max(seconds, 1e-9)
        said.append(f"by `-`, {share:.0%} of the time, are the rules' own estimates: no past run had jobs of theirs that last")
    return "\n".join([*lines, *said])
