"""The command line: what the workflow's rules run and what a person can run by hand. It alone knows every paper."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from onestep import memory
from onestep.errors import Mistake

# torch reads these once, at import: a job of this workflow is one thread, and two beside each other are slower than one each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"onestep: {message}; see {self.prog} --help\n")


SMOOTH = ("tanh", "softplus", "gelu")
SINGLESTEP_EXPERIMENTS = ("sample", "universal", "fixed", "variants", "hessian", "bracket", "limit")


def _whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{value} is out of range, {low} or more" + ("" if high is None else f" and at most {high}"))
        return value

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is out of range, above 0 and finite")
    return value


def _probability(text: str) -> float:
    value = _positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range, above 0 and below 1")
    return value


def _device(name: str) -> str:
    """The device to compute on; `auto` is the first GPU where there is one."""
    import torch

    torch.set_num_threads(1)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if re.fullmatch(r"cuda(:\d+)?", name):
        wanted = int(name.partition(":")[2] or 0)
        if wanted >= torch.cuda.device_count():
            raise Mistake(f"--device {name}: this machine has {torch.cuda.device_count()} such GPUs; use --device auto or cpu")
    elif name != "cpu":
        raise Mistake(f"--device {name}: no such device; use auto, cpu, cuda or cuda:N")
    return name


def _out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=what)


def _networks(parser: argparse.ArgumentParser) -> None:
    """How many networks, which of them, and what they are drawn from."""
    parser.add_argument("--networks", type=_whole_number(1), required=True, help="networks for each dimension")
    parser.add_argument("--first-network", type=_whole_number(0), default=0, help="index of the first network (default 0)")
    parser.add_argument("--seed", type=_whole_number(0), required=True, help="root of all random streams")


def _sampling(parser: argparse.ArgumentParser) -> None:
    """Options of every command that samples random networks."""
    parser.add_argument("--width", type=_whole_number(1), required=True, help="width k of every hidden layer")
    parser.add_argument("--input-dim", type=_whole_number(1), required=True, nargs="+", help="input dimensions d")
    _networks(parser)
    parser.add_argument("--inputs", type=_whole_number(1), required=True, help="inputs for each network")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    _out(parser, "the record file (.parquet)")


def _singlestep(commands: Any) -> None:
    paper = commands.add_parser("singlestep", help="random ReLU networks, one gradient step")
    verbs = paper.add_subparsers(required=True, metavar="VERB")

    def cap(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cap", type=_positive, default=20.0, help="steps are searched below this (default 20)")

    verb = verbs.add_parser("sample", help="the smallest step along the gradient that changes the sign")
    verb.add_argument("--depth", type=_whole_number(0, 12), required=True, help="number of hidden layers L; 0 is a linear function")
    verb.add_argument(
        "--matrices", choices=("auto", "dense", "matrix-free"), default="auto", help="auto (default): held, or never formed where cheaper"
    )
    _sampling(verb)
    cap(verb)

    def sample(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        device = _device(o.device)
        experiment.sample(o.depth, o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.seed, o.cap, device, o.out, o.matrices)

    verb.set_defaults(run=sample)

    verb = verbs.add_parser("universal", help="one direction for all inputs of a two-layer network")
    _sampling(verb)
    verb.add_argument("--reach", type=_positive, default=4.0, help="length of the one perturbation tried on all inputs (default 4)")
    cap(verb)

    def universal(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        device = _device(o.device)
        experiment.universal(o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.reach, o.seed, o.cap, device, o.out)

    verb.set_defaults(run=universal)

    verb = verbs.add_parser("fixed", help="the theorems' own step c / ||grad f||^2")
    _sampling(verb)
    verb.add_argument("--coefficients", type=_positive, required=True, nargs="+", help="the values of c")
    verb.add_argument("--activation", choices=("relu", *SMOOTH), default="relu", help="default relu")

    def fixed(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        device = _device(o.device)
        experiment.fixed(o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.coefficients, o.seed, device, o.out, o.activation)

    verb.set_defaults(run=fixed)

    verb = verbs.add_parser("variants", help="the smallest step of two-layer networks that differ from those of `sample` in one thing")
    verb.add_argument("--variant", choices=("gaussian-output", "bias", *SMOOTH), required=True, help="in what they differ")
    _sampling(verb)
    cap(verb)

    def variants(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        device = _device(o.device)
        experiment.variants(o.variant, o.width, o.input_dim, o.first_network, o.networks, o.inputs, o.seed, o.cap, device, o.out)

    verb.set_defaults(run=variants)

    verb = verbs.add_parser("hessian", help="the norm of the Hessian of two-layer networks with a smooth activation")
    verb.add_argument("--activation", choices=SMOOTH, required=True, help="the activation")
    verb.add_argument("--input-dim", type=_whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--ratio", type=_whole_number(1), required=True, nargs="+", help="widths k, as multiples of d")
    _networks(verb)
    verb.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    _out(verb, "the record file (.parquet)")

    def hessian(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        experiment.hessian(o.activation, o.ratio, o.input_dim, o.first_network, o.networks, o.seed, _device(o.device), o.out)

    verb.set_defaults(run=hessian)

    verb = verbs.add_parser("bracket", help="the single step, the smallest perturbation found, and a certified bound below all of them")
    verb.add_argument("--width", type=_whole_number(1), required=True, help="width k of the hidden layer")
    verb.add_argument("--input-dim", type=_whole_number(1), required=True, nargs="+", help="input dimensions d")
    _networks(verb)
    cap(verb)
    _out(verb, "the record file (.parquet)")

    def bracket(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        _device("cpu")
        experiment.bracket(o.width, o.input_dim, o.first_network, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=bracket)

    verb = verbs.add_parser("limit", help="the smallest step of two-layer networks of infinite width")
    verb.add_argument("--input-dim", type=_whole_number(2), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--networks", type=_whole_number(1), required=True, help="networks for each dimension, one input each")
    verb.add_argument("--seed", type=_whole_number(0), required=True, help="root of all random streams")
    cap(verb)
    _out(verb, "the record file (.parquet)")

    def limit(o: argparse.Namespace) -> None:
        from onestep.singlestep import experiment

        experiment.limit(o.input_dim, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=limit)

    def evidence(parser: argparse.ArgumentParser) -> None:
        for name in SINGLESTEP_EXPERIMENTS:
            parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar="FILE", help=f"record files of `{name}`")
        parser.add_argument("--seed", type=_whole_number(0), required=True, help="root of the bootstrap's random streams")

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb)
    verb.add_argument("--gammas", type=_probability, nargs="+", required=True, help="probabilities of failure at which bounds are checked")
    verb.add_argument("--constant", type=_positive, default=1.0, help="C4 of Theorem 2's step (default 1)")
    verb.add_argument("--scale", choices=("smoke", "laptop", "paper"), required=True, help="smoke is too small to judge")
    verb.add_argument("--tables", type=Path, required=True, metavar="DIR", help="where the tables go")
    _out(verb, "the claims (.json)")

    def claims(o: argparse.Namespace) -> None:
        from onestep.singlestep import claims

        files = {name: getattr(o, name) for name in SINGLESTEP_EXPERIMENTS}
        claims.assess(files, o.gammas, o.constant, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figures go (.pdf and .svg)")

    def figures(o: argparse.Namespace) -> None:
        from onestep.singlestep import figures

        figures.draw({name: getattr(o, name) for name in SINGLESTEP_EXPERIMENTS}, o.seed, o.out)

    verb.set_defaults(run=figures)


def _multilayer(commands: Any) -> None:
    paper = commands.add_parser("multilayer", help="deep random ReLU networks of any profile of widths")
    verbs = paper.add_subparsers(required=True, metavar="VERB")

    def sampling(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--networks", type=_whole_number(1), required=True, help="networks in each cell, one input each")
        parser.add_argument("--first-network", type=_whole_number(0), default=0, help="index of the first network (default 0)")
        parser.add_argument("--seed", type=_whole_number(0), required=True, help="root of all random streams")
        _out(parser, "the record file (.parquet)")

    def shape(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--profile", choices=("equal", "growing", "shrinking", "bottleneck"), default="equal", help="default equal")
        parser.add_argument("--depth", type=_whole_number(1, 50), required=True, nargs="+", help="numbers of hidden layers L")
        parser.add_argument(
            "--width", type=_whole_number(1), required=True, nargs="+", help="base widths k; the input dimension is the same"
        )
        parser.add_argument("--bottleneck", type=_whole_number(1), nargs="+", default=[], help="widths b of the narrow layer")
        parser.add_argument("--ratio", type=_positive, default=4.0, help="by how much widths grow or shrink in all (default 4)")

    def cap(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--cap", type=_positive, default=20.0, help="perturbations are searched below this length (default 20)")

    verb = verbs.add_parser("flip", help="the first sign change along the gradient, and where the value is the opposite one")
    shape(verb)
    sampling(verb)
    cap(verb)

    def flip(o: argparse.Namespace) -> None:
        from onestep.multilayer import experiment

        _device("cpu")
        experiment.flip(o.profile, o.depth, o.width, o.bottleneck, o.ratio, o.first_network, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=flip)

    for name, what in (
        ("layers", "norms and small pre-activations of each layer, and the image of a ball there"),
        ("smoothness", "how much the gradient changes in a ball, and through which layers"),
    ):
        verb = verbs.add_parser(name, help=what)
        shape(verb)
        sampling(verb)
        verb.add_argument("--steps", type=_whole_number(1), default=20, help="of the ascent that looks for the worst point (default 20)")
        cap(verb)

        def ball(o: argparse.Namespace, name: str = name) -> None:
            from onestep.multilayer import experiment

            _device("cpu")
            run = {"layers": experiment.layers, "smoothness": experiment.smoothness}[name]
            run(o.profile, o.depth, o.width, o.bottleneck, o.ratio, o.first_network, o.networks, o.steps, o.seed, o.cap, o.out)

        verb.set_defaults(run=ball)

    verb = verbs.add_parser("collapse", help="how the values of all inputs of the sphere approach each other with depth")
    verb.add_argument("--width", type=_whole_number(1), required=True, help="width k of every hidden layer")
    verb.add_argument("--input-dim", type=_whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--depth", type=_whole_number(1), required=True, nargs="+", help="after how many layers to look")
    verb.add_argument("--inputs", type=_whole_number(2), required=True, help="inputs for each network, in opposite pairs")
    sampling(verb)

    def collapse(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        _device("cpu")
        depth.collapse(o.width, o.input_dim, sorted(o.depth), o.first_network, o.networks, o.inputs, o.seed, o.out)

    verb.set_defaults(run=collapse)

    verb = verbs.add_parser("scan", help="single steps in networks of up to thousands of layers")
    verb.add_argument("--depth", type=_whole_number(1), required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--width", type=_whole_number(1), required=True, help="width k of every hidden layer")
    verb.add_argument("--input-dim", type=_whole_number(1), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--points", type=_whole_number(2), default=12, help="lengths at which the ray is looked at (default 12)")
    sampling(verb)
    cap(verb)

    def scan(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        _device("cpu")
        depth.scan(o.depth, o.width, o.input_dim, o.first_network, o.networks, o.points, o.seed, o.cap, o.out)

    verb.set_defaults(run=scan)

    verb = verbs.add_parser("limit", help="single steps in deep networks of infinite width")
    verb.add_argument("--depth", type=_whole_number(1), required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--input-dim", type=_whole_number(2), required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--networks", type=_whole_number(1), required=True, help="networks in each cell, one input each")
    verb.add_argument("--seed", type=_whole_number(0), required=True, help="root of all random streams")
    _out(verb, "the record file (.parquet)")
    cap(verb)

    def limit(o: argparse.Namespace) -> None:
        from onestep.multilayer import depth

        depth.limit(o.depth, o.input_dim, o.networks, o.seed, o.cap, o.out)

    verb.set_defaults(run=limit)

    def evidence(parser: argparse.ArgumentParser) -> None:
        for name in ("flip", "layers", "smoothness", "collapse", "scan", "limit"):
            parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, metavar="FILE", help=f"record files of `{name}`")
        parser.add_argument("--deltas", type=_probability, nargs="+", required=True, help="probabilities of failure of the theorems")
        parser.add_argument("--constant", type=_positive, default=3.0, help="c3 of Theorem 1.1 (default 3)")
        parser.add_argument("--seed", type=_whole_number(0), required=True, help="root of the bootstrap's random streams")

    verb = verbs.add_parser("claims", help="judge the paper's claims, and write the tables that they rest on")
    evidence(verb)
    verb.add_argument("--scale", choices=("smoke", "laptop", "paper"), required=True, help="smoke is too small to judge")
    verb.add_argument("--tables", type=Path, required=True, metavar="DIR", help="where the tables go")
    _out(verb, "the claims (.json)")

    def claims(o: argparse.Namespace) -> None:
        from onestep.multilayer import claims

        files = (o.flip, o.layers, o.smoothness, o.collapse, o.scan, o.limit)
        claims.assess(*files, o.deltas, o.constant, o.scale, o.seed, o.tables, o.out)

    verb.set_defaults(run=claims)

    verb = verbs.add_parser("figures", help="draw the paper's figures")
    evidence(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figures go (.pdf and .svg)")

    def figures(o: argparse.Namespace) -> None:
        from onestep.multilayer import figures

        files = (o.flip, o.layers, o.smoothness, o.collapse, o.scan, o.limit)
        figures.draw(*files, o.deltas, o.constant, o.seed, o.out)

    verb.set_defaults(run=figures)


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
    verb.add_argument("--side", type=_whole_number(1), help="resize to side x side; left out, the images stay as they are")
    verb.add_argument("--method", choices=("area", "bilinear"), default="area", help="how to resize (default area)")
    verb.add_argument("--unit-norm", action="store_true", help="divide each resized image by its length")
    _out(verb, "the arrays (.safetensors)")

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
    _out(verb, "the figure (.pdf, with .svg beside it)")

    def report(o: argparse.Namespace) -> None:
        from onestep import data_report

        data_report.draw(o.datasets, o.out, o.table)

    verb.set_defaults(run=report)


def _benchmarks(commands: Any) -> None:
    benchmarks = commands.add_parser("benchmarks", help="what never forming a network's matrices saves")
    verbs = benchmarks.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("matrix-free", help="time and memory beside dense torch; measure when nothing else is at work")
    layers, count = _whole_number(1, 12), _whole_number(1)
    verb.add_argument("--depths", type=layers, required=True, nargs="+", help="numbers of hidden layers L")
    verb.add_argument("--widths", type=count, required=True, nargs="+", help="widths k of every hidden layer")
    verb.add_argument("--input-dim", type=count, required=True, nargs="+", help="input dimensions d")
    verb.add_argument("--batch", type=_whole_number(2), default=16, help="networks worked on at a time in batches (default 16)")
    verb.add_argument("--layer-width", type=count, default=1000, help="width of the first layer measured alone (default 1000)")
    verb.add_argument("--layer-dims", type=count, nargs="+", default=[10, 100, 1000], help="its input dimensions (default 10 100 1000)")
    verb.add_argument("--choice-depths", type=layers, nargs="+", default=[1, 3], help="depths at which the choice is checked (default 1 3)")
    verb.add_argument("--choice-widths", type=count, nargs="+", default=[100, 1000], help="widths for that (default 100 1000)")
    verb.add_argument("--choice-dims", type=count, nargs="+", default=[100], help="input dimensions for that (default 100)")
    verb.add_argument("--memory-gb", type=_positive, default=2.0, help="what dense weights may take; more is not measured (default 2)")
    verb.add_argument("--seconds", type=_positive, default=0.3, help="how long each is measured, three times at least (default 0.3)")
    verb.add_argument("--seed", type=_whole_number(0), required=True, help="root of all random streams")
    _out(verb, "the record file (.parquet)")

    def measure(o: argparse.Namespace) -> None:
        from onestep.benchmarks import matrix_free

        grid = (o.depths, o.widths, o.input_dim, o.batch, o.layer_width, o.layer_dims)
        matrix_free.run(*grid, o.choice_depths, o.choice_widths, o.choice_dims, o.memory_gb, o.seconds, o.seed, o.out)

    verb.set_defaults(run=measure)

    verb = verbs.add_parser("figures", help="draw the figure, and write the tables")
    verb.add_argument("--records", type=Path, required=True, metavar="FILE", help="what `benchmarks matrix-free` made")
    verb.add_argument("--tables", type=Path, required=True, metavar="DIR", help="where the tables go")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the figure goes (.pdf and .svg)")

    def figures(o: argparse.Namespace) -> None:
        from onestep.benchmarks import figures

        figures.draw(o.records, o.tables, o.out)

    verb.set_defaults(run=figures)


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

    verb = commands.add_parser("notebook", help="execute a notebook and write it as a page")
    verb.add_argument("--notebook", type=Path, required=True, metavar="FILE", help="one of workflow/notebooks/")
    verb.add_argument("--results", type=Path, required=True, metavar="DIR", help="the folder of a scale")
    verb.add_argument("--inputs", type=Path, nargs="+", default=[], metavar="FILE", help="what it reads, for its certificate")
    _out(verb, "the page (.html)")

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
    _out(verb, "the paper (.pdf)")

    def typeset(o: argparse.Namespace) -> None:
        from onestep.paper import typeset

        typeset(o.source, o.ledger, o.tables, o.figures, o.datasets, o.records, o.out)

    verb.set_defaults(run=typeset)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="onestep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _data(commands)
    _singlestep(commands)
    _multilayer(commands)
    _benchmarks(commands)
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
    print(f"onestep: {mistake}", file=sys.stderr)
    return 2
