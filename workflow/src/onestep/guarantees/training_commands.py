"""The command that trains the networks of `guarantees`."""

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

from onestep.devices import chosen_device
from onestep.errors import Mistake
from onestep.options import device, not_negative, out, positive, probability, whole_number


def _share(text: str) -> float:
    """A share above 0 and at most 1: 0.5 or 1/2."""
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or a fraction") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range, above 0 and at most 1")
    return value


def _least(text: str) -> float:
    """0, or a share above it and below 1."""
    return 0.0 if text in ("0", "0.0") else probability(text)


def training(verbs: Any) -> None:
    """Training on two classes of images."""
    verb = verbs.add_parser("train", help="train a residual network on two classes of images")
    verb.add_argument("--dataset", required=True, help="name of the prepared data set, as mnist-odd-even")
    verb.add_argument(
        "--images", type=Path, metavar="FILE", help="what `data prepare` made (default results/data/<dataset>/images.safetensors)"
    )
    verb.add_argument("--network", type=whole_number(0), required=True, help="index of the network: its start, its images and their order")
    verb.add_argument("--width", type=_share, default=1.0, help="share of the published filters, as 1/2 (default 1)")
    verb.add_argument("--images-used", type=whole_number(2), help="training images, drawn by the network's own stream (default all)")
    verb.add_argument("--test-images", type=whole_number(2), help="likewise, for the test accuracy (default all)")
    verb.add_argument("--epochs", type=whole_number(1), required=True, help="at most; published: 15 for MNIST, 25 for CIFAR-10")
    verb.add_argument("--until", type=_share, help="share of the training images on the right side at which to end (default: not before)")
    verb.add_argument("--lr", type=positive, default=1e-4, help="learning rate (default 1e-4)")
    verb.add_argument("--batch", type=whole_number(1), default=32, help="images at a step (default 32)")
    verb.add_argument("--penalty", type=not_negative, default=1e-4, help="on the sum of the squares of all kernels (default 1e-4)")
    verb.add_argument("--least", type=_least, default=0.53, help="share right after an epoch, below which another is drawn (default 0.53)")
    verb.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")
    device(verb)
    out(verb, "the network (.safetensors)")

    def run(o: argparse.Namespace) -> None:
        from onestep.guarantees.models import Setting, train
        from onestep.training.standard import How

        file = o.images or Path("results/data") / o.dataset / "images.safetensors"
        if not file.is_file():
            raise Mistake(f"{file}: no such images; prepare them with `snakemake --cores 1 {file}` or name a file with --images")
        how = How(o.epochs, o.until, o.lr, o.batch, o.penalty, o.least)
        train(Setting(o.dataset, o.network, o.seed, how, o.width, o.images_used, o.test_images), file, o.out, chosen_device(o.device))

    verb.set_defaults(run=run)
