"""The cache that checkouts and people share: what a result's key is made of, and results that are taken from it."""

import json
import sys
from pathlib import Path

import pytest

from onestep.provenance import data_digest

from ..checkout import Checkout, Done, one_line

pytestmark = pytest.mark.workflow

# Snakemake asks the cache for every job of a dry run; this writes down under which key.
KEYS = """
import atexit, json, sys
import snakemake.cli
from snakemake.caching.hash import ProvenanceHashMap

known, keys = ProvenanceHashMap.get_provenance_hash, {}

async def noted(self, job):
    keys[str(job.output[0])] = key = await known(self, job)
    return key

ProvenanceHashMap.get_provenance_hash = noted
atexit.register(lambda: json.dump(keys, open("keys.json", "w")))
snakemake.cli.main(sys.argv[1:])
"""
SAMPLE = "results/smoke/records/singlestep/sample/depth-1/width-10/from-0.parquet"
ATTACK = "results/smoke/records/lazy/attack/corrected/width-100/run-0.parquet"
IMAGES = "results/data/mnist-0-1/images.safetensors"
PACKAGE = "workflow/src/onestep"


def keys(checkout: Checkout) -> dict[str, str]:
    """The key of every result of the smoke scale that can be shared, by its file."""
    done = checkout.run(
        sys.executable, "-c", KEYS, "-n", "--quiet", "all", "--cache", "--config", "scale=smoke",
        SNAKEMAKE_OUTPUT_CACHE=str(checkout.folder / "empty"),
    )  # fmt: skip
    assert done.code == 0, done.text
    found: dict[str, str] = json.loads((checkout.folder / "keys.json").read_text())
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("keyed"))


@pytest.fixture(scope="module")
def known(checkout: Checkout) -> dict[str, str]:
    return keys(checkout)


def test_data_trained_weights_and_every_record_file_can_be_shared_each_under_a_key_of_its_own(known: dict[str, str]) -> None:
    assert {IMAGES, "results/smoke/models/lazy/corrected/width-100/run-0", SAMPLE, ATTACK} <= known.keys()
    kinds = {tuple(Path(name).parts[3:5]) for name in known if "/records/" in name}
    assert {("guarantees", "attack"), ("guarantees", "sample"), ("lazy", "adversarial"), ("multilayer", "flip")} <= kinds
    assert len(set(known.values())) == len(known) > 90


def test_another_checkout_has_the_same_keys_whatever_its_comments(known: dict[str, str], tmp_path: Path) -> None:
    other = Checkout(tmp_path)
    other.edit("envs/requirements.lock", lambda text: f"# A comment.\n{text}")
    other.edit(f"{PACKAGE}/attacks/ray.py", lambda text: f"# A comment.\n\n{text}")
    assert keys(other) == known


def test_an_edited_module_changes_the_keys_of_what_can_see_it(checkout: Checkout, known: dict[str, str]) -> None:
    undo = checkout.edit(f"{PACKAGE}/training/near_init.py", lambda text: text.replace("BLOCK = 128", "BLOCK = 64"))
    try:
        edited = keys(checkout)
    finally:
        undo()
    changed = {name for name in known if edited[name] != known[name]}
    assert ATTACK in changed
    assert not {SAMPLE, IMAGES} & changed


def test_another_version_in_the_lock_changes_every_key(checkout: Checkout, known: dict[str, str]) -> None:
    undo = checkout.edit("envs/requirements.lock", lambda text: text.replace("torch==2.", "torch==3.", 1))
    try:
        edited = keys(checkout)
    finally:
        undo()
    assert edited.keys() == known.keys()
    assert not set(edited.values()) & set(known.values())


def test_two_runs_at_once_fill_the_cache_and_a_third_computes_nothing(tmp_path: Path) -> None:
    """All three with data, weights (which are not kept), attacks on them and a sample."""
    cache, environment = tmp_path / "cache", {"SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    command = ("snakemake", "--cores", "1", SAMPLE, ATTACK, "--cache", "--config", "scale=smoke")
    first, second, third = (Checkout(tmp_path / name) for name in ("first", "second", "third"))
    running = [checkout.start(*command, **environment) for checkout in (first, second)]
    for process in running:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    assert all((checkout.folder / "results/data/mnist-0-1/prepare.log").stat().st_size for checkout in (first, second))
    entries = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    done = third.run(*command, **environment)
    assert done.code == 0, done.text
    assert not any(log.stat().st_size for log in third.folder.glob("results/**/*.log"))
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == entries
    assert len(list(cache.glob("*/side-*/c0-*.safetensors"))) > 4
    for checkout in (first, second, third):
        assert not (checkout.folder / "results/smoke/models").exists()
    for file in (SAMPLE, ATTACK):
        assert (third.folder / file).is_symlink()
        assert len({data_digest(checkout.folder / file) for checkout in (first, second, third)}) == 1


def cached(checkout: Checkout, **environment: str) -> Done:
    return checkout.run("snakemake", "--cores", "1", SAMPLE, "--cache", "--config", "scale=smoke", **environment)


def test_a_cache_that_cannot_be_written_is_told_in_one_line(checkout: Checkout) -> None:
    """Not even root can write to /sys."""
    one_line(cached(checkout, SNAKEMAKE_OUTPUT_CACHE="/sys"), "$SNAKEMAKE_OUTPUT_CACHE: /sys/", "cannot be written to")


def test_a_cache_without_a_place_is_told_in_one_line(checkout: Checkout) -> None:
    one_line(cached(checkout, SNAKEMAKE_OUTPUT_CACHE=""), "--cache: $SNAKEMAKE_OUTPUT_CACHE is not set")
