"""Kills runs with kill -9, the whole process tree, at random moments, and compares what they leave and end in with an undisturbed run.

`make chaos` kills whole smoke runs 20 times; by hand: python -m tests.chaos --kills 5 --each 2 --seed 1 --targets singlestep
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from onestep.provenance import file_digest

from .checkout import Checkout, kill

SAME = {".parquet", ".safetensors", ".csv", ".svg", ".pdf", ".checkpoint"}
"""What holds data, and what a killed process may leave behind; all else (logs, certificates, times) differs between any two runs."""


def made(checkout: Checkout) -> dict[str, str]:
    """Digests of what a run made, temporary files and checkpoints that were forgotten included."""
    results = checkout.folder / "results"
    return {
        str(file.relative_to(results)): file_digest(file)
        for file in sorted(results.glob("smoke/**/*"))
        if file.suffix in SAME and "benchmarks" not in file.parts
    }


def verdict(differs: list[str], checkout: Checkout, fine: str) -> str:
    """In words; what differs outlasts this, to be looked at."""
    if not differs:
        return fine
    kept = Path(tempfile.mkdtemp(prefix="chaos-failed-"))
    shutil.copytree(checkout.folder / "results", kept, dirs_exist_ok=True)
    return f"{len(differs)} differ, as {differs[0]} (kept in {kept})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how often runs are killed (default 20)")
    parser.add_argument("--each", type=int, default=4, help="how often the same run is, before it may end (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--targets", default="", help="what is made, as `singlestep` (default: everything)")
    options = parser.parse_args()
    command = ("make", "smoke", f"TARGETS={options.targets}")
    moments = random.Random(options.seed)
    kills = whole = runs = identical = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        prepared = Checkout(folder / "prepared")
        done = prepared.run("make", "smoke", "TARGETS=data")
        if done.code == 0:
            undisturbed = Checkout(folder / "undisturbed", of=prepared)
            done = undisturbed.run(*command)
        if done.code:
            print(done.text, "chaos: the run fails undisturbed", sep="\n", file=sys.stderr)
            return 2
        expected = made(undisturbed)
        print(f"undisturbed: {done.seconds:.0f} s, {len(expected)} files", flush=True)
        while kills < options.kills:
            checkout, runs = Checkout(folder / "killed", of=prepared), runs + 1
            several = min(options.each, options.kills - kills)
            # Such that all fit into a run; after the last it goes on to its end, as it does if it is over before.
            for moment in [*(moments.uniform(0, 2 / (options.each + 1)) * done.seconds for _ in range(several)), None]:
                process, started = checkout.start(*command), time.monotonic()
                try:
                    text, _ = process.communicate(timeout=moment)
                    break
                except subprocess.TimeoutExpired:
                    processes, found = kill(process), made(checkout)
                differs = sorted(file for file in expected.keys() & found.keys() if found[file] != expected[file])
                kills, whole = kills + 1, whole + (not differs)
                what = f"{processes} processes after {moment:.1f} s, {len(found)} files there"
                print(f"kill {kills}: {what}: {verdict(differs, checkout, 'whole')}", flush=True)
            found, lasted = made(checkout), time.monotonic() - started
            differs = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
            identical += not differs and process.returncode == 0
            failed = f", failed\n{text}" if process.returncode else ""
            print(f"run {runs}: ended {lasted:.0f} s after its last start: {verdict(differs, checkout, 'identical')}{failed}", flush=True)
            shutil.rmtree(checkout.folder)
    print(f"{whole} of {kills} kills left whole files, {identical} of {runs} runs ended identical")
    return int(whole < kills or identical < runs)


if __name__ == "__main__":
    sys.exit(main())
