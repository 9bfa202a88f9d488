"""The commands of `lazy`."""

import argparse
from pathlib import Path
from typing import Any

from onestep.devices import chosen_device
from onestep.errors import Mistake
from onestep.options import device, drawing, evidence, judging, not_negative, out, positive, probability, record_files, whole_number

EXPERIMENTS = ("attack", "bracket", "journey", "adversarial", "check", "ball")
_SEED = "root of all random streams, for the certificate"


def _radius(text: str) -> float:
    """A C0: above 0, or inf for a training that no ball ends."""
    return float("inf") if text == "inf" else positive(text)


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, metavar="FILE", help="what `data prepare` made (default results/data/<dataset>/images.safetensors)"
    )


def _network(parser: argparse.ArgumentParser, several: bool) -> None:
    """Which images, and networks of which width."""
    parser.add_argument("--dataset", required=True, help="name of the prepared data set, as mnist-0-1")
    sides = "images are resized to side x side" + ("; one network each" if several else "")
    parser.add_argument("--side", type=whole_number(1), nargs="+" if several else None, required=True, help=sides)
    parser.add_argument("--width", type=whole_number(1), required=True, help="width m")
    parser.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    _images(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    """Which run, and how it trains."""
    parser.add_argument(
        "--run", dest="index", type=whole_number(0), default=0, help="index of the run: its starting weights, its order of the images"
    )
    parser.add_argument("--norm", choices=("unit", "pixels"), default="unit", help="images of length 1 (default), or of pixels in [0, 1]")
    parser.add_argument(
        "--bias", choices=("none", "torch", "normal", "zero"), default="none", help="how hidden biases start (default none: without)"
    )
    parser.add_argument("--protocol", choices=("corrected", "as_published"), default="corrected", help="the text's, or the authors' code's")


def _models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="what `lazy train` made")


def _training(verbs: Any) -> None:
    """Training near the start, and what is measured of the networks that it makes."""
    verb = verbs.add_parser("train", help="train networks by SGD until they leave a ball around their start, for several radii at once")
    _network(verb, several=True)
    verb.add_argument(
        "--c0", type=_radius, nargs="+", required=True, help="radii C0 / sqrt(m) of the balls, ascending; inf: none, until all is learned"
    )
    _run(verb)
    verb.add_argument("--lr", type=positive, default=0.1, help="learning rate (default 0.1)")
    verb.add_argument("--epochs", type=whole_number(1), default=100, help="at most (default 100)")
    verb.add_argument(
        "--learned", type=positive, default=0.01, help="mean loss of an epoch below which a training without a ball ends (default 0.01)"
    )
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the models go, one file for each side and C0")

    def training(o: argparse.Namespace) -> None:
        from onestep.lazy.models import train
        from onestep.lazy.starts import Setting

        how = (o.width, o.index, o.seed, o.norm == "unit", o.bias, o.protocol, o.lr, o.epochs, o.learned)
        train([Setting(o.dataset, side, *how) for side in o.side], o.c0, _file(o.images, o.dataset), o.out)

    verb.set_defaults(run=training)

    verb = verbs.add_parser("attack", help="the smallest step along the gradient that flips each test image, for every model of a folder")
    _models(verb)
    verb.add_argument("--test-images", type=whole_number(1), help="how many test images, drawn by the run's own stream (default all)")
    _images(verb)
    out(verb, "the record file (.parquet)")

    def attack(o: argparse.Namespace) -> None:
        from onestep.lazy import experiment

        experiment.attack(o.models, o.images, o.test_images, o.out)

    verb.set_defaults(run=attack)

    verb = verbs.add_parser("bracket", help="the step beside the smallest perturbation found and a certified bound, for every model")
    _models(verb)
    verb.add_argument("--test-images", type=whole_number(1), required=True, help="how many test images, drawn by the run's own stream")
    _images(verb)
    out(verb, "the record file (.parquet)")

    def bracket(o: argparse.Namespace) -> None:
        from onestep.lazy import experiment

        experiment.bracket(o.models, o.images, o.test_images, o.out)

    verb.set_defaults(run=bracket)

    verb = verbs.add_parser("journey", help="how far the trainings without a ball of a folder went, and what changed on their way")
    _models(verb)
    _images(verb)
    out(verb, "the record file (.parquet)")

    def journey(o: argparse.Namespace) -> None:
        from onestep.lazy import experiment

        experiment.journey(o.models, o.images, o.out)

    verb.set_defaults(run=journey)


def _adversarial(verbs: Any) -> None:
    """Adversarial training, and what no training in the ball can change."""
    for name, words in (
        ("adversarial", "train against an attack, in balls around the start, and attack the test images"),
        ("check", "one of these trainings, drawn, against the attack in training and against the published one of 100 steps"),
    ):
        verb = verbs.add_parser(name, help=words)
        _network(verb, several=False)
        _run(verb)
        verb.add_argument("--budget", type=not_negative, nargs="+", required=True, help="lengths ||delta|| of the perturbations")
        verb.add_argument("--radius", type=not_negative, nargs="+", required=True, help="radii V of the balls")
        verb.add_argument("--lr", type=positive, default=0.01, help="learning rate, for the summed loss (default 0.01)")
        verb.add_argument("--epochs", type=whole_number(1), default=30, help="at most (default 30)")
        verb.add_argument(
            "--patience", type=whole_number(1), default=1, help="epochs without a gain of robust training accuracy that end it (default 1)"
        )
        verb.add_argument("--training-steps", type=whole_number(1), default=100, help="steps of the attack in training (default 100)")
        verb.add_argument("--test-steps", type=whole_number(1), default=100, help="steps of the attack on test images (default 100)")
        if name == "adversarial":
            verb.add_argument(
                "--checked", type=whole_number(0), default=0, help="on so many cells, drawn, 100 steps are run beside them (default 0)"
            )
        device(verb)
        out(verb, "the record file (.parquet)")

        def run(o: argparse.Namespace) -> None:
            from onestep.lazy import adversarial
            from onestep.lazy.starts import Setting

            setting = Setting(o.dataset, o.side, o.width, o.index, o.seed, o.norm == "unit", o.bias, o.protocol)
            attacks = adversarial.Attacks(o.lr, o.epochs, o.patience, o.training_steps, o.test_steps)
            images, on = _file(o.images, o.dataset), chosen_device(o.device)
            if "checked" in o:
                adversarial.robust(setting, attacks, o.budget, o.radius, o.checked, images, o.out, on)
            else:
                adversarial.check(setting, attacks, o.budget, o.radius, images, o.out, on)

        verb.set_defaults(run=run)

    verb = verbs.add_parser(
        "ball", help="what is certain of every network of a ball at once: extremes of f, and a step that flips them all"
    )
    _network(verb, several=True)
    verb.add_argument("--c0", type=positive, nargs="+", required=True, help="radii C0 / sqrt(m) of the balls")
    verb.add_argument("--networks", type=whole_number(1), required=True, help="starts, for each side")
    verb.add_argument("--inputs", type=whole_number(1), required=True, help="test images for each start")
    out(verb, "the record file (.parquet)")

    def ball(o: argparse.Namespace) -> None:
        from onestep.lazy.ball import ball
        from onestep.lazy.starts import Setting

        settings = [Setting(o.dataset, side, o.width, 0, o.seed) for side in o.side]
        ball(settings, o.c0, range(o.networks), o.inputs, _file(o.images, o.dataset), o.out)

    verb.set_defaults(run=ball)


def add(commands: Any) -> None:
    """Adds the paper's commands to the parser."""
    paper = commands.add_parser("lazy", help="two-layer networks trained near their initialisation")
    verbs = paper.add_subparsers(required=True, metavar="VERB")
    _training(verbs)
    _adversarial(verbs)

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb, EXPERIMENTS, _SEED)
    verb.add_argument("--gammas", type=probability, nargs="+", required=True, help="probabilities of failure at which lemmas are checked")
    judging(verb)

    def claims(o: argparse.Namespace) -> None:
        from onestep.lazy import claims

        claims.assess(record_files(o, EXPERIMENTS), o.gammas, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb, EXPERIMENTS, _SEED)
    drawing(verb)

    def figures(o: argparse.Namespace) -> None:
        from onestep.lazy import figures

        figures.draw(record_files(o, EXPERIMENTS), o.seed, o.out)

    verb.set_defaults(run=figures)


def _file(given: Path | None, dataset: str) -> Path:
    """The prepared images: the file given, or where the workflow puts them."""
    file = given or Path("results/data") / dataset / "images.safetensors"
    if not file.is_file():
        raise Mistake(f"{file}: no such images; prepare them with `snakemake --cores 1 {file}` or name a file with --images")
    return file
