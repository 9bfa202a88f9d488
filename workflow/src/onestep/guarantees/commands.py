"""The commands of `guarantees`."""

import argparse
from pathlib import Path
from typing import Any

from onestep.devices import chosen_device
from onestep.guarantees.training_commands import training
from onestep.options import device, drawing, evidence, judging, out, positive, probability, record_files, whole_number

EXPERIMENTS = ("sample", "search", "rays", "law", "kernels", "attack", "examples")
ARCHITECTURES = ("resnet", "lenet", "convolutional", "fully-connected", "periodic", "periodic-pooled")
NORMS = ("l1", "l2", "linf")
EFFORTS = ("fast", "thorough")


def _cell(parser: argparse.ArgumentParser) -> None:
    """Which random networks and inputs."""
    parser.add_argument("--architecture", choices=ARCHITECTURES, required=True, help="the networks")
    parser.add_argument("--side", type=whole_number(1), required=True, help="images have side x side pixels of 3 channels")
    parser.add_argument("--networks", type=whole_number(1), required=True, help="how many networks")
    parser.add_argument("--first-network", type=whole_number(0), default=0, help="index of the first network (default 0)")
    parser.add_argument("--inputs", type=whole_number(1), required=True, help="inputs for each network")
    parser.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    out(parser, "the record file (.parquet)")


def _attack(parser: argparse.ArgumentParser, default: str) -> None:
    """In which norms, how, and where."""
    parser.add_argument("--norm", choices=NORMS, nargs="+", required=True, help="norms of the perturbations")
    parser.add_argument("--effort", choices=EFFORTS, default=default, help=f"how long the search goes on (default {default})")
    device(parser)


def _setting(o: argparse.Namespace) -> Any:
    from onestep.guarantees.experiment import Setting

    return Setting(o.architecture, o.side, range(o.first_network, o.first_network + o.networks), o.inputs, o.seed)


def _random(verbs: Any) -> None:
    """Experiments on random networks."""
    for name, words in (
        ("sample", "the smallest perturbations of random images that change the class of random networks"),
        ("search", "the same, and a second search of another kind from where the first one ended"),
    ):
        verb = verbs.add_parser(name, help=words)
        _cell(verb)
        _attack(verb, "fast")

        def attack(o: argparse.Namespace, name: str = name) -> None:
            if name == "sample":
                from onestep.guarantees.experiment import sample as run
            else:
                from onestep.guarantees.second import search as run
            run(_setting(o), o.norm, o.effort, chosen_device(o.device), o.out)

        verb.set_defaults(run=attack)

    verb = verbs.add_parser("rays", help="the first sign change of random networks along a random direction")
    _cell(verb)
    verb.add_argument("--cap", type=positive, default=1.0, help="how far it is looked for, in units of ||x|| (default 1)")
    device(verb)

    def rays(o: argparse.Namespace) -> None:
        from onestep.guarantees.rays import rays

        rays(_setting(o), o.cap, chosen_device(o.device), o.out)

    verb.set_defaults(run=rays)

    verb = verbs.add_parser("law", help="the first-order law of the distances, drawn from the kernel of infinitely wide networks")
    _cell(verb)
    verb.add_argument("--norm", choices=NORMS, nargs="+", required=True, help="norms of the perturbations")

    def law(o: argparse.Namespace) -> None:
        from onestep.guarantees.kernels import law

        law(_setting(o), o.norm, o.out)

    verb.set_defaults(run=law)

    verb = verbs.add_parser("kernels", help="Theorem 2 on the kernels themselves: a certificate, and a search against it")
    verb.add_argument("--architecture", choices=ARCHITECTURES, required=True, help="the networks")
    verb.add_argument("--side", type=whole_number(1), nargs="+", required=True, help="images have side x side pixels of 3 channels")
    verb.add_argument("--steps", type=whole_number(1), default=60, help="steps of the ascents (default 60)")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    out(verb, "the record file (.parquet)")

    def kernels(o: argparse.Namespace) -> None:
        from onestep.guarantees.kernels import kernels

        kernels(o.architecture, o.side, o.steps, o.seed, o.out)

    verb.set_defaults(run=kernels)


def _trained(verbs: Any) -> None:
    """Experiments on trained networks."""
    verb = verbs.add_parser("attack", help="the smallest l1 perturbations of images, for trained networks and the same ones before")
    verb.add_argument("--models", type=Path, nargs="+", required=True, metavar="FILE", help="what `guarantees train` made")
    verb.add_argument("--images", type=Path, required=True, metavar="FILE", help="the images that they were trained on")
    verb.add_argument("--inputs", type=whole_number(1), required=True, help="images of each kind (random, training, test) for each network")
    verb.add_argument("--effort", choices=EFFORTS, default="fast", help="how long the search goes on (default fast)")
    device(verb)
    out(verb, "the record file (.parquet)")

    def attack(o: argparse.Namespace) -> None:
        from onestep.guarantees import trained

        trained.attack(o.models, o.images, o.inputs, o.effort, chosen_device(o.device), o.out)

    verb.set_defaults(run=attack)

    verb = verbs.add_parser("examples", help="the smallest perturbations of a few test images themselves, in the three norms")
    verb.add_argument("--model", type=Path, required=True, metavar="FILE", help="what `guarantees train` made")
    verb.add_argument("--images", type=Path, required=True, metavar="FILE", help="the images that it was trained on")
    verb.add_argument("--inputs", type=whole_number(1), required=True, help="how many test images")
    device(verb)
    out(verb, "the record file (.parquet)")

    def examples(o: argparse.Namespace) -> None:
        from onestep.guarantees import trained

        trained.examples(o.model, o.images, o.inputs, chosen_device(o.device), o.out)

    verb.set_defaults(run=examples)


def _results(verbs: Any) -> None:
    """Claims and figures."""
    published = "the authors' own medians of Figure 1 (.csv)"
    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb, EXPERIMENTS)
    verb.add_argument("--published", type=Path, required=True, metavar="FILE", help=published)
    verb.add_argument("--deltas", type=probability, nargs="+", required=True, help="probabilities of failure at which theorems are checked")
    judging(verb)

    def claims(o: argparse.Namespace) -> None:
        from onestep.guarantees import claims

        claims.assess(record_files(o, EXPERIMENTS), o.published, o.deltas, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb, EXPERIMENTS)
    verb.add_argument("--published", type=Path, required=True, metavar="FILE", help=published)
    drawing(verb)

    def figures(o: argparse.Namespace) -> None:
        from onestep.guarantees import figures

        figures.draw(record_files(o, EXPERIMENTS), o.published, o.seed, o.out)

    verb.set_defaults(run=figures)


def add(commands: Any) -> None:
    """Adds the paper's commands to the parser."""
    paper = commands.add_parser("guarantees", help="minimal l1, l2 and l-infinity distances of random and trained image networks")
    verbs = paper.add_subparsers(required=True, metavar="VERB")
    _random(verbs)
    training(verbs)
    _trained(verbs)
    _results(verbs)
