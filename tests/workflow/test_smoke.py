"""One whole run: it survives a kill, ends in a paper, is not made twice, and every artifact says where it came from."""

import json
import re
from pathlib import Path

import pytest

from onestep.records import read

from ..checkout import NOTHING, Checkout, Smoke

pytestmark = pytest.mark.workflow


def test_a_run_that_was_killed_goes_on_and_keeps_what_was_finished(smoke: Smoke) -> None:
    assert smoke.resumed.code == 0, smoke.resumed.text
    # Made again are only jobs, one a core, of which Snakemake had not yet noted that they were through.
    assert smoke.made_again <= 2 < smoke.killed_after


def test_a_person_sees_what_runs_how_far_it_is_and_how_long_it_takes(smoke: Smoke) -> None:
    assert "Sampling 40 networks of depth 1 and width 100 at 10 100 input dimensions." in smoke.resumed.text
    assert re.search(r"\d+ of \d+ steps \(\d+%\) done", smoke.resumed.text)
    assert re.search(r"About \d+ (s|min) to go \(\d+% of the work done, [\d.]+ min so far\)\.", smoke.resumed.text)


def test_everything_that_is_promised_is_there(smoke: Smoke) -> None:
    results = smoke.checkout.folder / "results"
    for name in (
        "paper.pdf",
        "report.html",
        "claims.json",
        "notebooks/singlestep.html",
        "notebooks/multilayer.html",
        "notebooks/lazy.html",
        "notebooks/guarantees.html",
    ):
        copy, original = results / name, results / "smoke" / name
        assert copy.read_bytes() == original.read_bytes()
    for paper in ("singlestep", "multilayer", "lazy", "guarantees"):
        for kind in ("records/{}/**/*.parquet", "figures/{}/*.svg", "tables/{}/*.csv", "claims/{}.json"):
            assert list((results / "smoke").glob(kind.format(paper))), (paper, kind)
    assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")
    ledger = json.loads((results / "claims.json").read_text())
    assert {claim["paper"] for claim in ledger["claims"]} == {"singlestep", "multilayer", "lazy", "guarantees"}
    assert {claim["verdict"] for claim in ledger["claims"]} == {"not measured"}  # smoke is too small to judge


def test_every_artifact_gives_its_certificate(smoke: Smoke) -> None:
    results = smoke.checkout.folder / "results"
    kinds = [
        "records/**/*.parquet",
        "figures/**/*.svg",
        "tables/**/*.csv",
        "notebooks/*.html",
        "paper.pdf",
        "claims.json",
        "claims.html",
        "report.html",
    ]
    for kind in [*(f"smoke/{kind}" for kind in kinds), "data/*/*.safetensors", "paper.pdf", "report.html"]:
        files = sorted(results.glob(kind))
        assert files, kind
        shown = smoke.checkout.run("onestep", "provenance", str(files[0]))
        assert shown.code == 0, shown.text
        assert {"command", "parameters", "seed", "inputs", "code", "git", "versions", "wall_seconds"} <= json.loads(shown.text).keys()
    printed = smoke.checkout.run("onestep", "claims")
    assert "singlestep.fig1.two-layer" in printed.text


def test_what_each_job_took_stands_beside_what_it_had_asked_for(smoke: Smoke) -> None:
    """Also of those that the run before the kill had finished, and of weights that are not kept."""
    results = smoke.checkout.folder / "results"
    assert (results / "run.json").read_bytes() == (results / "smoke/run.json").read_bytes()
    account = json.loads((results / "run.json").read_text())
    jobs = {job["output"][0]: job for job in account["jobs"]}
    records = [str(file.relative_to(smoke.checkout.folder)) for file in results.glob("smoke/records/**/*.parquet")]
    assert records
    for name in records:
        assert jobs[name]["seconds"] > 0, name
        assert jobs[name]["peak_megabytes"] > 50, name
        assert jobs[name]["machine"], name
        assert jobs[name]["asked"]["seconds"] > 0, name
    for rule in ("prepare", "lazy_train", "lazy_figures", "claims", "typeset", "html"):
        assert account["rules"][rule]["seconds"] > 0, rule
    assert account["total"]["timed_jobs"] == account["total"]["jobs"] == len(jobs)


def test_a_larger_scale_is_forecast_from_the_smallest(smoke: Smoke) -> None:
    done = smoke.checkout.run("onestep", "cost", "--scale", "laptop", "--cores", "2")
    assert done.code == 0, done.text
    assert re.search(r"^lazy_adversarial +\d+ ", done.text, re.MULTILINE)
    assert re.search(r"^scale laptop: \d+ jobs, .* one after the other, about .* on 2 cores$", done.text, re.MULTILINE)


def test_the_paper_and_figures_carry_no_time_and_no_commit(smoke: Smoke) -> None:
    results = smoke.checkout.folder / "results/smoke"
    commit = json.loads((results / "paper.pdf.json").read_text())["git"]["commit"]
    for file in [results / "paper.pdf", *results.glob("figures/**/*.svg"), *results.glob("tables/**/*.csv")]:
        content = file.read_bytes()
        assert commit is None or commit.encode() not in content
        assert b"CreationDate" not in content
        assert b"<dc:date>" not in content


def test_a_second_run_does_nothing_within_ten_seconds(smoke: Smoke) -> None:
    again = smoke.checkout.snakemake()
    assert again.code == 0
    assert NOTHING in again.text
    assert again.seconds < 10


def test_records_are_the_same_on_one_core_and_with_the_work_split_otherwise(smoke: Smoke, tmp_path: Path) -> None:
    other = Checkout(tmp_path)
    other.edit("config.yaml", lambda text: text.replace("networks_per_job: 1000", "networks_per_job: 25"))
    done = other.run("snakemake", "--cores", "1", "singlestep_claims", "--config", "scale=smoke")
    assert done.code == 0, done.text
    both = (smoke.checkout.folder, tmp_path)
    for experiment in ("sample", "universal", "fixed", "variants"):
        files = [sorted(folder.glob(f"results/smoke/records/singlestep/{experiment}/**/*.parquet")) for folder in both]
        assert any(file.stem == "from-25" for file in files[1])
        whole, split = (read(part) for part in files)
        names = ("depth", "width", "input_dim", "activation", "variant", "network", "input", "hidden_scale", "coefficient")
        key = [name for name in names if name in whole]
        whole, split = (frame.sort_values(key, ignore_index=True) for frame in (whole, split))
        for column in whole.columns:
            if whole[column].dtype.kind in "if":
                assert whole[column].to_numpy().tobytes() == split[column].to_numpy().tobytes(), (experiment, column)
            else:
                assert whole[column].equals(split[column]), (experiment, column)
    ledgers = [json.loads((folder / "results/smoke/claims/singlestep.json").read_text())["claims"] for folder in both]
    measured = [[(claim["id"], claim["measured"], claim["interval"]) for claim in ledger] for ledger in ledgers]
    assert measured[0] == measured[1]
