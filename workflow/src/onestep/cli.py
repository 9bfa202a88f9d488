"""The command line: what the workflow's rules run and what a person can run by hand. It alone knows every paper."""

import argparse
import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from onestep import memory
from onestep.benchmarks import commands as benchmarks
from onestep.errors import Mistake
from onestep.guarantees import commands as guarantees
from onestep.lazy import commands as lazy
from onestep.multilayer import commands as multilayer
from onestep.options import out, whole_number
from onestep.singlestep import commands as singlestep

# torch and NumPy read these once, at import (Snakemake sets them to a rule's threads): a job of this workflow computes in one thread, and
# two beside each other are slower than one each.
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"onestep: {message}; see {self.prog} --help\n")


def _data(commands: Any) -> None:
    data = commands.add_parser("data", help="images: two classes of them, and a report on what they are")
    verbs = data.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("prepare", help="two classes of images in one file")
    verb.add_argument("--dataset", required=True, help="the name of the result")
    verb.add_argument("--images", required=True, choices=("mnist", "cifar10"), help="where the classes are taken from")
    verb.add_argument("--negative", required=True, nargs="+", metavar="CLASS", help="classes that get the label -1")
    verb.add_argument("--positive", required=True, nargs="+", metavar="CLASS", help="classes that get the label +1")
    verb.add_argument(
        "--source", default="auto", choices=("auto", "root", "root-jpeg", "download", "embedded"), help="where the images come from"
    )
    verb.add_argument("--root", metavar="DIR", help="folder of that source (default: $ONESTEP_DATA)")
    verb.add_argument("--side", type=whole_number(1), help="resize to side x side; left out, the images stay as they are")
    verb.add_argument("--method", choices=("area", "bilinear"), default="area", help="how to resize (default area)")
    verb.add_argument("--unit-norm", action="store_true", help="divide each resized image by its length")
    out(verb, "the arrays (.safetensors)")

    def prepare(o: argparse.Namespace) -> None:
        from onestep.data.prepare import prepare
        from onestep.data.sources import resolve, root_of

        source = resolve("auto", o.root)[o.images] if o.source == "auto" else o.source
        root = root_of(source, o.root)
        prepare(o.dataset, o.images, o.negative, o.positive, source, root, o.out, o.side, o.method, o.unit_norm)

    verb.set_defaults(run=prepare)
    verb = verbs.add_parser("report", help="draw what the images are")
    verb.add_argument("--datasets", type=Path, required=True, nargs="+", metavar="FILE", help="what `data prepare` made")
    verb.add_argument("--table", type=Path, required=True, metavar="FILE", help="the numbers of images (.csv)")
    out(verb, "the figure (.pdf, with .svg beside it)")

    def report(o: argparse.Namespace) -> None:
        from onestep import data_report

        data_report.draw(o.datasets, o.out, o.table)

    verb.set_defaults(run=report)


def _common(commands: Any) -> None:
    verb = commands.add_parser("provenance", help="print an artifact's birth certificate")
    verb.add_argument("file", type=Path)

    def provenance(o: argparse.Namespace) -> None:
        import json

        from onestep.provenance import read_certificate

        print(json.dumps(read_certificate(o.file), indent=2))

    verb.set_defaults(run=provenance)

    verb = commands.add_parser("certify", help="write the birth certificate of a file that another program made")
    verb.add_argument("file", type=Path)
    verb.add_argument("--inputs", type=Path, nargs="+", default=[], metavar="FILE", help="what it was made from")

    def certify(o: argparse.Namespace) -> None:
        from onestep.provenance import certificate, write_certificate

        write_certificate(o.file, certificate(parameters={}, modules=["onestep.provenance"], inputs=o.inputs))

    verb.set_defaults(run=certify)

    verb = commands.add_parser("claims", help="print the ledger of claims as a table")
    verb.add_argument("ledger", type=Path, nargs="?", default=Path("results/claims.json"), help="default results/claims.json")
    verb.add_argument("--collect", type=Path, nargs="+", metavar="FILE", help="instead make the ledger --out of these papers' claims")
    verb.add_argument("--out", type=Path, metavar="FILE", help="the ledger to make (.json)")
    verb.add_argument("--table", type=Path, metavar="FILE", help="the same as a page (.html)")

    def claims(o: argparse.Namespace) -> None:
        from onestep import claims

        given = [option is not None for option in (o.collect, o.out, o.table)]
        if any(given) != all(given):
            raise Mistake("claims: --collect, --out and --table go together; give all of them or none")
        if o.collect is None:
            print(claims.table(claims.read(o.ledger)))
        else:
            claims.collect(o.collect, o.out, o.table)

    verb.set_defaults(run=claims)

    verb = commands.add_parser("cost", help="forecast time, memory, disk and GPU hours of a scale, from what past runs took")
    verb.add_argument("--scale", choices=("smoke", "laptop", "paper"), required=True)
    verb.add_argument("--cores", type=whole_number(1), default=os.cpu_count() or 1, help="of the machine (default: this one's)")
    verb.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where past runs are (default results)")

    def cost(o: argparse.Namespace) -> None:
        from onestep import cost

        runs = cost.past(o.results)
        found = cost.forecast(cost.plan(o.scale, Path()), o.scale, runs)
        print(cost.table(found, o.scale, o.cores))

    verb.set_defaults(run=cost)

    verb = commands.add_parser("notebook", help="execute a notebook and write it as a page")
    verb.add_argument("--notebook", type=Path, required=True, metavar="FILE", help="one of workflow/notebooks/")
    verb.add_argument("--results", type=Path, required=True, metavar="DIR", help="the folder of a scale")
    verb.add_argument("--inputs", type=Path, nargs="+", default=[], metavar="FILE", help="what it reads, for its certificate")
    out(verb, "the page (.html)")

    def notebook(o: argparse.Namespace) -> None:
        from onestep.notebook import render

        render(o.notebook, o.results, o.inputs, o.out)

    verb.set_defaults(run=notebook)


def _schema(commands: Any) -> None:
    verb = commands.add_parser("schema", help="print the configuration's schema (workflow/schemas/config.schema.yaml)")

    def schema(o: argparse.Namespace) -> None:
        from onestep.config import schema

        print(schema(), end="")

    verb.set_defaults(run=schema)


def _paper(commands: Any) -> None:
    verb = commands.add_parser("paper", help="typeset the paper from the files of a run")
    verb.add_argument("--source", type=Path, required=True, metavar="FILE", help="report/paper.typ")
    verb.add_argument("--ledger", type=Path, required=True, metavar="FILE", help="the claims.json of all papers")
    for name, what in (("tables", ".csv"), ("figures", ".svg"), ("datasets", ".safetensors"), ("records", ".parquet")):
        verb.add_argument(f"--{name}", type=Path, required=True, nargs="+", metavar="FILE", help=f"{name} of the run ({what})")
    out(verb, "the paper (.pdf)")

    def typeset(o: argparse.Namespace) -> None:
        from onestep.paper import typeset

        typeset(o.source, o.ledger, o.tables, o.figures, o.datasets, o.records, o.out)

    verb.set_defaults(run=typeset)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="onestep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _data(commands)
    for paper in (singlestep, multilayer, lazy, guarantees, benchmarks):
        paper.add(commands)
    _common(commands)
    _paper(commands)
    _schema(commands)
    return parser


def main() -> None:
    """Runs one command; a mistake is one line on stderr and exit status 2."""
    options = _parser().parse_args()
    memory.keep_freed()
    try:
        options.run(options)
    except Mistake as mistake:
        sys.exit(_say(mistake))
    except (MemoryError, RuntimeError) as error:
        # torch tells of memory that it cannot have by a RuntimeError, on the CPU and on a GPU.
        if isinstance(error, RuntimeError) and not re.search("allocate|out of memory", str(error)):
            raise
        reason = (str(error).splitlines() or ["an allocation failed"])[0]
        sys.exit(_say(Mistake(f"not enough memory ({reason}); ask for a smaller width or dimension")))
    except BrokenPipeError:
        sys.exit(1)


def _say(mistake: Mistake) -> int:
    # A log on a full disk takes not even this line.
    with contextlib.suppress(OSError):
        print(f"onestep: {mistake}", file=sys.stderr)
    return 2
