"""A full disk: a run says so in one line, loses nothing that was finished, and goes on when there is room again."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from onestep.provenance import data_digest

from ..checkout import Checkout, Smoke

pytestmark = pytest.mark.workflow

# In a mount namespace of its own a small disk is seen by nobody else, and is gone with the last process.
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
TARGETS = [
    f"results/smoke/records/singlestep/sample/depth-{depth}/width-{width}/from-0.parquet" for depth in (1, 2, 6) for width in (10, 100)
]
# $1: the small disk, $2: the checkout, $3: kilobytes that are free beside it, $4: where its story goes; then what is made.
SCRIPT = """
set -u
disk=$1 checkout=$2 free=$3 story=$4; shift 4
mount -t tmpfs -o size=1g tmpfs "$disk" && cp -a "$checkout/." "$disk/" && cd "$disk" || exit 1
mount -o remount,size=$(( $(df -Pk . | awk 'NR == 2 { print $3 }') + free ))k "$disk"
make smoke TARGETS="$*" > "$story/full.txt" 2>&1; echo $? >> "$story/codes"
find results -name '*.parquet' -printf '%p %T@\\n' > "$story/finished"
mount -o remount,size=1g "$disk"
make smoke TARGETS="$*" > "$story/resumed.txt" 2>&1; echo $? >> "$story/codes"
find results -name '*.parquet' -printf '%p %T@\\n' > "$story/after"
cp -r results "$story/"
"""


@dataclass(frozen=True)
class Story:
    """What was seen of a run on a full disk, and of the next."""

    codes: list[str]
    full: str
    resumed: str
    finished: set[str]
    after: set[str]
    results: Path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    disk, told = (tmp_path_factory.mktemp(name) for name in ("disk", "story"))
    allowed = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True, text=True)
    if allowed.returncode:
        pytest.skip(f"no small disk can be mounted here ({allowed.stderr.strip()})")
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    package = {"PYTHONPATH": str(disk / "workflow/src")}
    checkout.run(*NAMESPACE, "bash", "-c", SCRIPT, "-", str(disk), str(checkout.folder), "70", str(told), *TARGETS, **package)

    def files(name: str) -> set[str]:
        return set((told / name).read_text().splitlines())

    texts = [(told / name).read_text() for name in ("full.txt", "resumed.txt")]
    return Story((told / "codes").read_text().split(), *texts, files("finished"), files("after"), told / "results")


def test_a_full_disk_stops_the_run_with_one_line(story: Story) -> None:
    assert story.codes[0] == "2"
    assert re.search(r"^onestep: .*(is full|No space left on device).*free", story.full, re.MULTILINE), story.full


def test_what_was_finished_is_kept_and_nothing_half_written_is_there(story: Story) -> None:
    assert 0 < len(story.finished) < len(TARGETS)
    assert not any("/." in name for name in story.finished)
    # Of a job that was through Snakemake may not have been able to note it: one a core.
    assert len(story.finished - story.after) <= 2


def test_with_room_again_it_ends_with_the_same_records(story: Story, smoke: Smoke) -> None:
    assert story.codes[1] == "0", story.resumed
    for name in TARGETS:
        assert data_digest(story.results.parent / name) == data_digest(smoke.checkout.folder / name)
