"""The commands of `singlestep`."""

import argparse
from typing import Any

from onestep.devices import chosen_device
from onestep.options import (
    device,
    drawing,
    evidence,
    judging,
    networks,
    out,
    positive,
    probability,
    record_files,
    sampling,
    whole_number,
)

SMOOTH = ("tanh", "softplus", "gelu")
EXPERIMENTS = ("sample", "universal", "fixed", "variants", "hessian", "bracket", "limit")


def add(commands: Any) -> None:
    """Adds the paper's commands to the parser."""
    paper = commands.add_parser("singlestep", help="random ReLU networks, one gradient step")
    verbs = paper.add_subparsers(required=True, metavar="VERB")

    def cap(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cap", type=positive, default=20.0, help="steps are searched below this (default 20)")

    verb = verbs.add_parser("sample", help="the smallest step along the gradient that changes the sign")
    verb.add_argument("--depth", type=whole_number(0, 12), required=True, help="number of hidden layers L; 0 is a linear function")
    verb.add_argument(
        "--matrices", choices=("auto", "dense", "matrix-free"), default="auto", help="auto (default): held, or never formed where cheaper"
    )
    sampling(verb)
    cap(verb)

    def sample(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        on = chosen_device(o.device)
        experiment.sample(o.depth, o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.seed, o.cap, on, o.out, o.matrices)

    verb.set_defaults(run=sample)

    verb = verbs.add_parser("universal", help="one direction for all inputs of a two-layer network")
    sampling(verb)
    verb.add_argument("--reach", type=positive, default=4.0, help="length of the one perturbation tried on all inputs (default 4)")
    cap(verb)

    def universal(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        on = chosen_device(o.device)
        experiment.universal(o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.reach, o.seed, o.cap, on, o.out)

    verb.set_defaults(run=universal)

    verb = verbs.add_parser("fixed", help="the theorems' own step c / ||grad f||^2")
    sampling(verb)
    verb.add_argument("--coefficients", type=positive, required=True, nargs="+", help="the values of c")
    verb.add_argument("--activation", choices=("relu", *SMOOTH), default="relu", help="default relu")

    def fixed(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        on = chosen_device(o.device)
        experiment.fixed(o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.coefficients, o.seed, on, o.out, o.activation)

    verb.set_defaults(run=fixed)

    verb = verbs.add_parser("variants", help="the smallest step of two-layer networks that differ from those of `sample` in one thing")
    verb.add_argument("--variant", choices=("gaussian-output", "bias", *SMOOTH), required=True, help="in what they differ")
    sampling(verb)
    cap(verb)

    def variants(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        on = chosen_device(o.device)
        experiment.variants(o.variant, o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.seed, o.cap, on, o.out)

    verb.set_defaults(run=variants)

    verb = verbs.add_parser("hessian", help="the norm of the Hessian of two-layer networks with a smooth activation")
    verb.add_argument("--activation", choices=SMOOTH, required=True, help="the activation")
    verb.add_argument("--input-dim", type=whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--ratio", type=whole_number(1), required=True, nargs="+", help="widths k, as multiples of d")
    networks(verb)
    device(verb)
    out(verb, "the record file (.parquet)")

    def hessian(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        experiment.hessian(o.activation, o.ratio, o.input_dim, o.first_network, o.networks, o.seed, chosen_device(o.device), o.out)

    verb.set_defaults(run=hessian)

    verb = verbs.add_parser("bracket", help="the single step, the smallest perturbation found, and a certified bound below all of them")
    verb.add_argument("--width", type=whole_number(1), required=True, help="width k of the hidden layer")
    verb.add_argument("--input-dim", type=whole_number(1), required=True, nargs="+", help="input dimensions d")
    networks(verb)
    cap(verb)
    out(verb, "the record file (.parquet)")

    def bracket(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        experiment.bracket(o.width, o.input_dim, o.first_network, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=bracket)

    verb = verbs.add_parser("limit", help="the smallest step of two-layer networks of infinite width")
    verb.add_argument("--input-dim", type=whole_number(2), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--networks", type=whole_number(1), required=True, help="networks for each dimension, one input each")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    cap(verb)
    out(verb, "the record file (.parquet)")

    def limit(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        experiment.limit(o.input_dim, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=limit)

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb, EXPERIMENTS)
    verb.add_argument("--gammas", type=probability, nargs="+", required=True, help="probabilities of failure at which bounds are checked")
    verb.add_argument("--constant", type=positive, default=1.0, help="C3 of Theorem 1's step and C4 of Theorem 2's (default 1)")
    judging(verb)

    def claims(o: argparse.Namespace) -> None:
        from onestep.singlestep import claims

        claims.assess(record_files(o, EXPERIMENTS), o.gammas, o.constant, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb, EXPERIMENTS)
    drawing(verb)

    def figures(o: argparse.Namespace) -> None:
        from onestep.singlestep import figures

        figures.draw(record_files(o, EXPERIMENTS), o.seed, o.out)

    verb.set_defaults(run=figures)
