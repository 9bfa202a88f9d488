"""What runs took, and what others will: ratios of measured to estimated time, from the run that says most."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onestep import cost, records
from onestep.errors import Mistake
from onestep.provenance import certificate, read_certificate


def job(rule: str, output: str, seconds: float, **other: Any) -> cost.Job:
    asked = {"mem_mb": 1000, "disk_mb": None, "threads": 1, "gpu": 0, "temporary": False}
    return {"rule": rule, "output": [output], "seconds": seconds} | asked | other


def took(*args: Any, noted: float | None = None, cached: bool = False, benchmark: str | None = None, **other: Any) -> cost.Job:
    return job(*args, **other) | {"noted_seconds": noted, "cached": cached, "benchmark": benchmark}


def run(tmp_path: Path, scale: str, *jobs: cost.Job) -> dict[str, Any]:
    cost.write(jobs, scale, "snakemake", tmp_path / scale / "run.json")
    content: dict[str, Any] = json.loads((tmp_path / scale / "run.json").read_text())
    return content


def test_time_and_memory_come_from_the_certificate_and_the_benchmark_file(tmp_path: Path) -> None:
    record, tsv = tmp_path / "a.parquet", tmp_path / "b.tsv"
    born = certificate(parameters={}, modules=["onestep.cost"]) | {"wall_seconds": 12.5, "peak_megabytes": 321.0, "device": "cuda:0"}
    records.write(record, pd.DataFrame({"x": [1]}), {"x": "a number"}, born)
    tsv.write_text("s\th:m:s\tmax_rss\n7.25\t0:00:07\t99.5\n")
    found = run(tmp_path, "smoke", took("a", str(record), 10.0), took("b", str(tmp_path / "b"), 5.0, benchmark=str(tsv)))
    first, second = found["jobs"]
    assert (first["seconds"], first["peak_megabytes"], first["device"]) == (12.5, 321.0, "cuda:0")
    assert first["machine"]
    assert first["bytes"] == record.stat().st_size
    assert (second["seconds"], second["peak_megabytes"]) == (7.25, 99.5)
    assert found["rules"]["a"]["ratio"] == 1.25
    assert found["rules"]["a"]["gpu_seconds"] == 12.5
    assert found["total"]["seconds"] == pytest.approx(19.8, abs=0.06)
    assert read_certificate(tmp_path / "smoke/run.json")["command"] == "snakemake"


def test_what_came_from_the_cache_says_nothing_of_its_rule(tmp_path: Path) -> None:
    found = run(tmp_path, "smoke", took("train", "a", 10.0, noted=0.05, cached=True), took("train", "b", 10.0, noted=20.0, cached=True))
    assert found["rules"]["train"] | {"jobs": 2, "timed_jobs": 1, "seconds": 20.0, "ratio": 2.0} == found["rules"]["train"]


def test_a_run_of_a_part_keeps_what_is_known_of_the_rest(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    run(tmp_path, "smoke", took("a", str(tmp_path / "kept"), 1.0, noted=1.0), took("a", str(tmp_path / "removed"), 1.0, noted=1.0))
    found = run(tmp_path, "smoke", took("b", "new", 1.0, noted=2.0))
    assert [job["output"][0] for job in found["jobs"]] == [str(tmp_path / "kept"), "new"]


def forecast(runs: list[dict[str, Any]], *jobs: cost.Job) -> cost.Forecast:
    (found,) = cost.forecast(jobs, "paper", runs)
    return found


def test_an_estimate_is_corrected_by_the_run_that_did_most_of_the_rules_work(tmp_path: Path) -> None:
    small = run(tmp_path, "smoke", took("a", "x", 6.0, noted=60.0))
    large = run(tmp_path, "laptop", took("a", "y", 100.0, noted=150.0))
    found = forecast([small, large], job("a", "z", 1000.0), job("a", "w", 500.0))
    assert (found.seconds, found.longest, found.known_from) == (2250.0, 1500.0, "laptop")


def test_a_scales_own_run_says_most_of_it(tmp_path: Path) -> None:
    own = run(tmp_path, "paper", took("a", "x", 3.0, noted=6.0))
    other = run(tmp_path, "laptop", took("a", "y", 100.0, noted=150.0))
    assert forecast([own, other], job("a", "z", 3.0)).seconds == 6.0


def test_jobs_that_hardly_do_more_than_start_correct_nothing(tmp_path: Path) -> None:
    smoke = run(tmp_path, "smoke", took("a", "x", 2.0, noted=8.0))
    found = forecast([smoke], job("a", "z", 1000.0))
    assert (found.seconds, found.known_from) == (1000.0, "")


def test_gpu_hours_are_those_of_the_jobs_that_ask_for_one(tmp_path: Path) -> None:
    assert forecast([], job("a", "z", 10.0, gpu=1), job("a", "y", 5.0)).gpu_seconds == 10.0


def test_memory_goes_with_what_is_asked_for_and_disk_with_the_work_where_no_rule_says_better(tmp_path: Path) -> None:
    born = certificate(parameters={}, modules=["onestep.cost"]) | {"wall_seconds": 10.0, "peak_megabytes": 500.0}
    record = tmp_path / "a.parquet"
    records.write(record, pd.DataFrame({"x": range(10**5)}), {"x": "a number"}, born)
    runs = [run(tmp_path, "laptop", took("a", str(record), 10.0))]
    found = forecast(runs, job("a", "z", 40.0, mem_mb=3000))
    assert found.megabytes == 1500.0
    assert found.disk == pytest.approx(4 * record.stat().st_size / 1e6)
    assert forecast(runs, job("a", "z", 40.0, disk_mb=7), job("a", "y", 1.0, disk_mb=5)).disk == 12.0


def test_the_table_has_the_sum_and_says_what_nothing_is_known_of(tmp_path: Path) -> None:
    runs = [run(tmp_path, "laptop", took("long", "x", 100.0, noted=150.0))]
    found = cost.forecast([job("long", "z", 4000.0), job("new", "y", 2000.0, temporary=True, disk_mb=1500)], "paper", runs)
    said = cost.table(found, "paper", 2)
    assert "scale paper: 2 jobs, 2 h 13 min one after the other, about 1 h 40 min on 2 cores" in said
    assert "3.0 GB more on the way" in said
    assert "by `-`, 25% of the time" in said


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_a_broken_account_is_a_one_line_mistake(tmp_path: Path, content: str) -> None:
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke/run.json").write_text(content)
    with pytest.raises(Mistake, match="not what a run took"):
        cost.past(tmp_path)


def test_without_a_past_run_there_is_no_forecast(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no past run"):
        cost.past(tmp_path)


def test_outside_a_checkout_there_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no Snakefile"):
        cost.plan("smoke", tmp_path)
