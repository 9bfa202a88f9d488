"""Kills runs with kill -9, the whole process tree, at random moments, and compares what they end in with an undisturbed run.

`make chaos` kills 20 whole smoke runs; by hand: python -m tests.chaos --kills 5 --seed 1 --targets singlestep
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from onestep.provenance import file_digest

from .checkout import Checkout, kill

SAME = {".parquet", ".safetensors", ".csv", ".svg", ".pdf", ".checkpoint"}
"""What holds data, and what a killed process may leave behind; all else (logs, certificates, times) differs between any two runs."""


def made(folder: Path) -> dict[str, str]:
    """Digests of what a run made, temporary files and checkpoints that were forgotten included."""
    results = folder / "results"
    return {
        str(file.relative_to(results)): file_digest(file)
        for file in sorted(results.glob("smoke/**/*"))
        if file.suffix in SAME and "benchmarks" not in file.parts
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="runs that are killed, once each (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--targets", default="", help="what is made, as `singlestep` (default: everything)")
    options = parser.parse_args()
    command = ("make", "smoke", f"TARGETS={options.targets}")
    moments, kills, same = random.Random(options.seed), 0, 0
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
        expected, lasts = made(undisturbed.folder), done.seconds
        print(f"undisturbed: {lasts:.0f} s, {len(expected)} files", flush=True)
        while kills < options.kills:
            checkout = Checkout(folder / "killed", of=prepared)
            moment = moments.uniform(0, lasts)
            process = checkout.start(*command)
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                kills += 1
                processes, kept = kill(process), len(made(checkout.folder))
                again = checkout.run(*command)
                found = made(checkout.folder)
                differs = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
                same += not differs and again.code == 0
                verdict = f"{len(differs)} differ, as {differs[0]}" if differs else "identical"
                if again.code:
                    verdict = f"the second start failed\n{again.text}"
                what = f"killed {processes} processes after {moment:.1f} s with {kept} files made, then {again.seconds:.0f} s"
                print(f"{kills}: {what}: {verdict}", flush=True)
            else:
                lasts = moment  # it was over before
            shutil.rmtree(checkout.folder)
    print(f"{same} of {kills} identical")
    return int(same < kills)


if __name__ == "__main__":
    sys.exit(main())
