"""The commands of `multilayer`."""

import argparse
from typing import Any

from onestep.options import drawing, evidence, judging, out, positive, probability, record_files, whole_number

EXPERIMENTS = ("flip", "layers", "smoothness", "collapse", "scan", "limit")


def add(commands: Any) -> None:
    """Adds the paper's commands to the parser."""
    paper = commands.add_parser("multilayer", help="deep random ReLU networks of any profile of widths")
    verbs = paper.add_subparsers(required=True, metavar="VERB")

    def sampling(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--networks", type=whole_number(1), required=True, help="networks in each cell, one input each")
        parser.add_argument("--first-network", type=whole_number(0), default=0, help="index of the first network (default 0)")
        parser.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
        out(parser, "the record file (.parquet)")

    def shape(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--profile", choices=("equal", "growing", "shrinking", "bottleneck"), default="equal", help="default equal")
        parser.add_argument("--depth", type=whole_number(1, 50), required=True, nargs="+", help="numbers of hidden layers L")
        parser.add_argument(
            "--width", type=whole_number(1), required=True, nargs="+", help="base widths k; the input dimension is the same"
        )
        parser.add_argument("--bottleneck", type=whole_number(1), nargs="+", default=[], help="widths b of the narrow layer")
        parser.add_argument("--ratio", type=positive, default=4.0, help="by how much widths grow or shrink in all (default 4)")

    def cap(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cap", type=positive, default=20.0, help="perturbations are searched below this length (default 20)")

    verb = verbs.add_parser("flip", help="the first sign change along the gradient, and where the value is the opposite one")
    shape(verb)
    sampling(verb)
    cap(verb)

    def flip(o: argparse.Namespace) -> None:
        from onestep.multilayer import experiment

        experiment.flip(o.profile, o.depth, o.width, o.bottleneck, o.ratio, o.first_network, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=flip)

    for name, what in (
        ("layers", "norms and small pre-activations of each layer, and the image of a ball there"),
        ("smoothness", "how much the gradient changes in a ball, and through which layers"),
    ):
        verb = verbs.add_parser(name, help=what)
        shape(verb)
        sampling(verb)
        verb.add_argument("--steps", type=whole_number(1), default=20, help="of the ascent that looks for the worst point (default 20)")
        cap(verb)

        def ball(o: argparse.Namespace, name: str = name) -> None:
            from onestep.multilayer import experiment

            run = {"layers": experiment.layers, "smoothness": experiment.smoothness}[name]
            run(o.profile, o.depth, o.width, o.bottleneck, o.ratio, o.first_network, o.networks, o.steps, o.seed, o.cap, o.out)

        verb.set_defaults(run=ball)

    verb = verbs.add_parser("collapse", help="how the values of all inputs of the sphere approach each other with depth")
    verb.add_argument("--width", type=whole_number(1), required=True, help="width k of every hidden layer")
    verb.add_argument("--input-dim", type=whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--depth", type=whole_number(1), required=True, nargs="+", help="after how many layers to look")
    verb.add_argument("--inputs", type=whole_number(2), required=True, help="inputs for each network, in opposite pairs")
    sampling(verb)

    def collapse(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        depth.collapse(o.width, o.input_dim, sorted(o.depth), o.first_network, o.networks, o.inputs, o.seed, o.out)

    verb.set_defaults(run=collapse)

    verb = verbs.add_parser("scan", help="single steps in networks of up to thousands of layers")
    verb.add_argument("--depth", type=whole_number(1), required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--width", type=whole_number(1), required=True, help="width k of every hidden layer")
    verb.add_argument("--input-dim", type=whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--points", type=whole_number(2), default=12, help="lengths at which the ray is looked at (default 12)")
    sampling(verb)
    cap(verb)

    def scan(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        depth.scan(o.depth, o.width, o.input_dim, o.first_network, o.networks, o.points, o.seed, o.cap, o.out)

    verb.set_defaults(run=scan)

    verb = verbs.add_parser("limit", help="single steps in deep networks of infinite width")
    verb.add_argument("--depth", type=whole_number(1), required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--input-dim", type=whole_number(2), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--networks", type=whole_number(1), required=True, help="networks in each cell, one input each")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    out(verb, "the record file (.parquet)")
    cap(verb)

    def limit(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        depth.limit(o.depth, o.input_dim, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=limit)

    def theorems(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--deltas", type=probability, nargs="+", required=True, help="probabilities of failure of the theorems")
        parser.add_argument("--constant", type=positive, default=3.0, help="c3 of Theorem 1.1 (default 3)")

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb, EXPERIMENTS)
    theorems(verb)
    judging(verb)

    def claims(o: argparse.Namespace) -> None:
        from onestep.multilayer import claims

        claims.assess(record_files(o, EXPERIMENTS), o.deltas, o.constant, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb, EXPERIMENTS)
    theorems(verb)
    drawing(verb)

    def figures(o: argparse.Namespace) -> None:
        from onestep.multilayer import figures

        figures.draw(record_files(o, EXPERIMENTS), o.deltas, o.constant, o.seed, o.out)

    verb.set_defaults(run=figures)
