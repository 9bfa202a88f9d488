"""The commands of the benchmarks."""

import argparse
from pathlib import Path
from typing import Any

from onestep.options import out, positive, whole_number


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    benchmarks = commands.add_parser("benchmarks", help="what the fast parts save, beside plain implementations")
    verbs = benchmarks.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("matrix-free", help="time and memory beside dense torch; measure when nothing else is at work")
    layers, count = whole_number(1, 12), whole_number(1)
    verb.add_argument("--depths", type=layers, required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--widths", type=count, required=True, nargs="+", help="widths k of every hidden layer")
    verb.add_argument("--input-dim", type=count, required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--batch", type=whole_number(2), default=16, help="networks worked on at a time in batches (default 16)")
    verb.add_argument("--layer-width", type=count, default=1000, help="width of the first layer measured alone (default 1000)")
    verb.add_argument("--layer-dims", type=count, nargs="+", default=[10, 100, 1000], help="its input dimensions (default 10 100 1000)")
    verb.add_argument("--choice-depths", type=layers, nargs="+", default=[1, 3], help="depths at which the choice is checked (default 1 3)")
    verb.add_argument("--choice-widths", type=count, nargs="+", default=[100, 1000], help="widths for that (default 100 1000)")
    verb.add_argument("--choice-dims", type=count, nargs="+", default=[100], help="input dimensions for that (default 100)")
    verb.add_argument("--memory-gb", type=positive, default=2.0, help="what dense weights may take; more is not measured (default 2)")
    verb.add_argument("--seconds", type=positive, default=0.3, help="how long each is measured, three times at least (default 0.3)")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    out(verb, "the record file (.parquet)")

    def measure(o: argparse.Namespace) -> None:
        from onestep.benchmarks import matrix_free

        grid = (o.depths, o.widths, o.input_dim, o.batch, o.layer_width, o.layer_dims)
        matrix_free.run(*grid, o.choice_depths, o.choice_widths, o.choice_dims, o.memory_gb, o.seconds, o.seed, o.out)

    verb.set_defaults(run=measure)

    verb = verbs.add_parser(
        "near-init", help="training near initialisation and exact steps, beside a plain implementation of the same text"
    )
    verb.add_argument("--images", type=Path, required=True, metavar="FILE", help="what `data prepare` made")
    verb.add_argument("--side", type=count, required=True, help="images are resized to side x side")
    verb.add_argument("--width", type=count, required=True, help="width m")
    verb.add_argument("--c0", type=positive, required=True, nargs="+", help="radii C0 / sqrt(m) of the balls, ascending")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    verb.add_argument("--table", type=Path, required=True, metavar="FILE", help="where the table goes (.csv)")
    out(verb, "the record file (.parquet)")

    def trainings(o: argparse.Namespace) -> None:
        from onestep.benchmarks import near_init

        near_init.run(o.images, o.side, o.width, o.c0, o.seed, o.out, o.table)

    verb.set_defaults(run=trainings)

    verb = verbs.add_parser("minimal", help="the smallest distances found, beside Foolbox's attacks on the same networks and images")
    verb.add_argument("--side", type=count, required=True, nargs="+", help="sides of the images")
    verb.add_argument("--networks", type=count, required=True, help="random residual networks of each side")
    verb.add_argument("--inputs", type=count, required=True, help="images for each network, attacked together")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    verb.add_argument("--table", type=Path, required=True, metavar="FILE", help="where the table goes (.csv)")
    out(verb, "the record file (.parquet)")

    def distances(o: argparse.Namespace) -> None:
        from onestep.benchmarks import minimal

        minimal.run(o.side, o.networks, o.inputs, o.seed, o.out, o.table)

    verb.set_defaults(run=distances)

    verb = verbs.add_parser("figures", help="draw the figure, and write the tables")
    verb.add_argument("--records", type=Path, required=True, metavar="FILE", help="what `benchmarks matrix-free` made")
    verb.add_argument("--tables", type=Path, required=True, metavar="DIR", help="where the tables go")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figure goes (.pdf and .svg)")

    def figures(o: argparse.Namespace) -> None:
        from onestep.benchmarks import figures

        figures.draw(o.records, o.tables, o.out)

    verb.set_defaults(run=figures)
