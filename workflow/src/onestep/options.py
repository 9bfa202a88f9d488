"""Options that commands have in common, and what their values may be."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers from low to high."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{value} is out of range, {low} or more" + ("" if high is None else f" and at most {high}"))
        return value

    return parse


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is out of range, above 0 and finite")
    return value


def not_negative(text: str) -> float:
    """0, or a number above it."""
    return 0.0 if text in ("0", "0.0") else positive(text)


def probability(text: str) -> float:
    """A number between 0 and 1."""
    value = positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range, above 0 and below 1")
    return value


def out(parser: argparse.ArgumentParser, what: str) -> None:
    """Where the result goes."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=what)


def device(parser: argparse.ArgumentParser) -> None:
    """Where it is computed, as `onestep.devices` understands it."""
    parser.add_argument("--device", default="auto", help="auto (default): a free GPU, or the CPU where there is none; cpu, cuda or cuda:N")


def networks(parser: argparse.ArgumentParser) -> None:
    """How many networks, which of them, and what they are drawn from."""
    parser.add_argument("--networks", type=whole_number(1), required=True, help="networks for each dimension")
    parser.add_argument("--first-network", type=whole_number(0), default=0, help="index of the first network (default 0)")
    parser.add_argument("--seed", type=whole_number(0), required=True, help="root of all random streams")


def sampling(parser: argparse.ArgumentParser) -> None:
    """Options of commands that sample networks of one width."""
    parser.add_argument("--width", type=whole_number(1), required=True, help="width k of every hidden layer")
    parser.add_argument("--input-dim", type=whole_number(1), required=True, nargs="+", help="input dimensions d")
    networks(parser)
    parser.add_argument("--inputs", type=whole_number(1), required=True, help="inputs for each network")
    device(parser)
    out(parser, "the record file (.parquet)")


def evidence(parser: argparse.ArgumentParser, experiments: Sequence[str], seed: str = "root of the bootstrap's random streams") -> None:
    """What a paper's claims and figures rest on: the record files of each experiment; `seed`: what it is for."""
    for name in experiments:
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar="FILE", help=f"record files of `{name}`")
    parser.add_argument("--seed", type=whole_number(0), required=True, help=seed)


def record_files(options: argparse.Namespace, experiments: Sequence[str]) -> dict[str, list[Path]]:
    """The record files that `evidence` asks for, by experiment."""
    return {name: getattr(options, name) for name in experiments}


def judging(parser: argparse.ArgumentParser) -> None:
    """At which scale a paper's claims are judged, and where they and their tables go."""
    parser.add_argument("--scale", choices=("smoke", "laptop", "paper"), required=True, help="smoke is too small to judge")
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="where the tables go")
    out(parser, "the claims (.json)")


def drawing(parser: argparse.ArgumentParser) -> None:
    """Where a paper's figures go."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figures go (.pdf and .svg)")
