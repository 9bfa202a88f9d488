"""The commands of `lazy`."""

import argparse
from pathlib import Path
from typing import Any

from onestep.errors import Mistake
from onestep.options import drawing, evidence, judging, out, positive, record_files, whole_number

EXPERIMENTS = ("attack",)
_SEED = "root of all random streams, for the certificate"


def _radius(text: str) -> float:
    """A C0: above 0, or inf for a training that no ball ends."""
    return float("inf") if text == "inf" else positive(text)


def add(commands: Any) -> None:
    """Adds the paper's commands to the parser."""
    paper = commands.add_parser("lazy", help="two-layer networks trained near their initialisation")
    verbs = paper.add_subparsers(required=True, metavar="VERB")

    def images(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--images", type=Path, metavar="FILE", help="what `data prepare` made (default results/data/<dataset>/images.safetensors)"
        )

    verb = verbs.add_parser("train", help="train networks by SGD until they leave a ball around their start, for several radii at once")
    verb.add_argument("--dataset", required=True, help="name of the prepared data set, as mnist-0-1")
    verb.add_argument("--side", type=whole_number(1), nargs="+", required=True, help="images are resized to side x side; one network each")
    verb.add_argument("--width", type=whole_number(1), required=True, help="width m")
    verb.add_argument(
        "--c0", type=_radius, nargs="+", required=True, help="radii C0 / sqrt(m) of the balls, ascending; inf: none, until all is learned"
    )
    verb.add_argument(
        "--run", dest="index", type=whole_number(0), default=0, help="index of the run: its starting weights, its order of the images"
    )
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    verb.add_argument("--norm", choices=("unit", "pixels"), default="unit", help="images of length 1 (default), or of pixels in [0, 1]")
    verb.add_argument(
        "--bias", choices=("none", "torch", "normal", "zero"), default="none", help="how hidden biases start (default none: without)"
    )
    verb.add_argument("--protocol", choices=("corrected", "as_published"), default="corrected", help="the text's, or the authors' code's")
    verb.add_argument("--lr", type=positive, default=0.1, help="learning rate (default 0.1)")
    verb.add_argument("--epochs", type=whole_number(1), default=100, help="at most (default 100)")
    verb.add_argument(
        "--learned", type=positive, default=0.01, help="mean loss of an epoch below which a training without a ball ends (default 0.01)"
    )
    images(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the models go, one file for each side and C0")

    def training(o: argparse.Namespace) -> None:
        from onestep.lazy.models import Setting, train

        how = (o.width, o.index, o.seed, o.norm == "unit", o.bias, o.protocol, o.lr, o.epochs, o.learned)
        train([Setting(o.dataset, side, *how) for side in o.side], o.c0, _file(o.images, o.dataset), o.out)

    verb.set_defaults(run=training)

    verb = verbs.add_parser("attack", help="the smallest step along the gradient that flips each test image, for every model of a folder")
    verb.add_argument("--models", type=Path, required=True, metavar="DIR", help="what `lazy train` made")
    verb.add_argument("--test-images", type=whole_number(1), help="how many test images, drawn by the run's own stream (default all)")
    images(verb)
    out(verb, "the record file (.parquet)")

    def attack(o: argparse.Namespace) -> None:
        from onestep.lazy import experiment

        experiment.attack(o.models, o.images, o.test_images, o.out)

    verb.set_defaults(run=attack)

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb, EXPERIMENTS, _SEED)
    judging(verb)

    def claims(o: argparse.Namespace) -> None:
        from onestep.lazy import claims

        claims.assess(record_files(o, EXPERIMENTS), o.scale, o.seed, o.tables, o.out)

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
