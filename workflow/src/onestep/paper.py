"""The typeset paper: gathers what the run is made of and hands it, with the run's own files, to the typesetter.

Nothing is measured or judged here. `report/paper.typ` reads tables, figures and claims from the files of the run; what they do not say
themselves (which data, how many records, whose code) it finds in the facts that are gathered from certificates and records.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import typst

from onestep import claims
from onestep.attacks import ray
from onestep.data.prepare import read, title
from onestep.errors import Mistake
from onestep.networks.random_relu import NORM_SLACK
from onestep.provenance import certificate, file_digest, read_certificate, whole, write_certificate
from onestep.statistics.intervals import LEVEL, REPLICATES


def _tree(files: Iterable[Path]) -> dict[str, dict[str, Path]]:
    """Files by the folder they lie in (a paper's key) and their name."""
    tree: dict[str, dict[str, Path]] = {}
    for file in files:
        if not file.is_file():
            raise Mistake(f"{file}: no such file; run the rule that makes it")
        tree.setdefault(file.parent.name, {})[file.stem] = file
    return tree


def _material(source: Path) -> list[Path]:
    """The source with its bibliography and captions."""
    if not source.is_file():
        raise Mistake(f"{source}: no such file; name the paper's Typst source, report/paper.typ")
    return [source, *sorted(source.parent.glob("*.bib")), *sorted(source.parent.glob("captions/**/*.rst"))]


def _place(file: Path) -> tuple[str, str, str]:
    """Paper, experiment and job of a record file .../records/PAPER/EXPERIMENT/JOB.parquet; a job may be several folders deep."""
    folders = file.with_suffix("").parts
    inside = folders[len(folders) - folders[::-1].index("records") :] if "records" in folders else ()
    if len(inside) < 3:
        raise Mistake(f"{file}: not in a folder records/PAPER/EXPERIMENT; name the record files where the run put them")
    return inside[0], inside[1], ", ".join(inside[2:])


def _experiments(records: Sequence[Path], digests: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each paper and experiment: what was sampled, and each of its record files."""
    found: dict[str, dict[str, list[Path]]] = {}
    for file in records:
        paper, experiment, _ = _place(file)
        found.setdefault(paper, {}).setdefault(experiment, []).append(file)
    return {paper: {name: _experiment(files, digests) for name, files in experiments.items()} for paper, experiments in found.items()}


def _experiment(files: Sequence[Path], digests: Mapping[str, str]) -> dict[str, Any]:
    """The sizes of one experiment: a cell is what the columns before `network` agree on."""
    parts: list[pd.DataFrame] = []
    listed: list[dict[str, Any]] = []
    codes: set[str] = set()
    counted: dict[str, list[int | None]] = {"rays": [], "unresolved": []}
    held: dict[str, dict[str, Any]] = {}
    parameters: list[dict[str, Any]] = []
    for file in files:
        names = pq.read_schema(file).names
        network = "network" if "network" in names else "run"  # a trained network is a run
        if network not in names:
            raise Mistake(f"{file}: it has no column `network` or `run`; only record files of experiments belong here")
        coordinates = names[: names.index(network)]
        inputs = ["input"] if "input" in names else []
        part = pq.read_table(file, columns=[*coordinates, network, *inputs]).to_pandas().rename(columns={network: "network"})
        parts.append(part if inputs else part.assign(input=0))  # a network of infinite width has one input
        listed.append({"job": _place(file)[2], "rows": len(parts[-1]), "digest": digests[str(file)]})
        born = read_certificate(file)
        codes.add(born["code"])
        for name, counts in counted.items():
            counts.append(born.get(name))
        for cell in born.get("held", []):
            how = re.sub(r"^\d+ of \d+ matrices", "some matrices", cell["how"])
            group = held.setdefault(how, {"cells": set(), "widths": set(), "dims": set()})
            group["cells"].add((born["parameters"].get("variant"), *cell["widths"], cell["input_dim"]))
            group["widths"].update(cell["widths"] or [0])
            group["dims"].add(cell["input_dim"])
        parameters.append(born["parameters"])
    rows = pd.concat(parts, ignore_index=True)
    cells = rows.groupby(coordinates)[["network", "input"]].nunique() if coordinates else rows[["network", "input"]].nunique().to_frame().T
    return {
        "files": listed,
        "rows": len(rows),
        "cells": len(cells),
        "networks": [int(cells["network"].min()), int(cells["network"].max())],
        "inputs": [int(cells["input"].min()), int(cells["input"].max())],
        # JSON has no infinity: a training that no ball ends is none of the grid's radii.
        "grid": {name: [value for value in sorted(rows[name].unique().tolist()) if value != math.inf] for name in coordinates},
        "parameters": {name: value for name, value in parameters[0].items() if all(other.get(name) == value for other in parameters)},
        "code": sorted(codes),
        **{name: None if None in counts else sum(count for count in counts if count is not None) for name, counts in counted.items()},
        "held": [
            {"how": how, "cells": len(group["cells"]), "widths": sorted(group["widths"]), "dims": sorted(group["dims"])}
            for how, group in sorted(held.items())
        ],
    }


def _by_precision(values: Mapping[Any, float]) -> dict[str, float]:
    """What is said of a type of numbers, by its name, as `float32`."""
    return {str(dtype).removeprefix("torch."): value for dtype, value in values.items()}


def _one(values: Iterable[Any], what: str, where: Path) -> Any:
    """The value on which all agree."""
    different = sorted(set(values), key=str)
    if len(different) != 1:
        raise Mistake(f"{where}: {what} must be one for the whole paper, not {different or 'none'}; make its files anew from one run")
    return different[0]


def _facts(
    ledger: Path,
    tables: Sequence[Path],
    figures: Sequence[Path],
    datasets: Sequence[Path],
    records: Sequence[Path],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """What the paper says that is not in its tables and figures; nothing in it changes from one run to the next."""
    if not records:
        raise Mistake(f"{ledger}: no record files were given with it; name those that it was judged from")
    judged = claims.read(ledger)
    certificates = [read_certificate(file) for file in records]
    versions: dict[str, set[str]] = {}
    for born in certificates:
        for name, version in born["versions"].items():
            versions.setdefault(name, set()).add(version)
    verdicts = Counter(claim.verdict for claim in judged)
    information = [read(file)[1] for file in datasets]
    return {
        "scale": _one((claim.scale for claim in judged), "the scale", ledger),
        "seed": _one((born["seed"] for born in certificates), "the seed of the records", ledger),
        "data_used": sorted({claim.data for claim in judged}),
        "verdicts": {name: verdicts[name] for name in claims.VERDICTS},
        "experiments": _experiments(records, digests),
        "datasets": [
            {
                key: info[key]
                for key in ("dataset", "source", "stand_in", "description", "negative", "positive", "counts", "checksums", "digest")
            }
            | {"title": title(info)}
            for info in information
        ],
        "versions": {name: ", ".join(sorted(found)) for name, found in versions.items()},
        "codes": {
            "claims": read_certificate(ledger)["code"],
            **{f"tables of {file.parent.name}": read_certificate(file)["code"] for file in tables},
            **{f"figures of {file.parent.name}": read_certificate(file)["code"] for file in figures},
        },
        "method": {
            "level": LEVEL,
            "replicates": REPLICATES,
            "relative_error": _by_precision(ray.RELATIVE_ERROR),
            "margin": ray.MARGIN,
            "resolution": _by_precision(ray.RESOLUTION),
            "norm_slack": NORM_SLACK,
        },
    }


def _compile(source: Path, root: Path, facts: Mapping[str, Any], out: Path) -> None:
    """Typesets with the fonts that Typst brings along, so that the bytes are the same on every machine."""
    try:
        typst.compile(source, output=out, root=root, format="pdf", ignore_system_fonts=True, sys_inputs={"facts": json.dumps(facts)})
    except typst.TypstError as error:
        lines = str(getattr(error, "diagnostic", "")).splitlines()
        place = next((line.partition("─ ")[2].rpartition("/")[2].strip() for line in lines if "─ " in line), "")
        where = f" (at {place})" if place else ""
        raise Mistake(
            f"{source}: Typst stops: {' '.join(str(error).split())}{where}; mend the source or make the file that it misses"
        ) from None


def typeset(
    source: Path,
    ledger: Path,
    tables: Sequence[Path],
    figures: Sequence[Path],
    datasets: Sequence[Path],
    records: Sequence[Path],
    out: Path,
) -> None:
    """Typesets the paper from the files of one run.

    `ledger` is the claims.json of all papers; tables (.csv) and figures (.svg) lie in a folder with their paper's key, records below
    records/PAPER/EXPERIMENT; the bibliography and the captions lie beside `source`. The PDF is the same bytes for the same run: no
    times, no commit; those are in the certificate beside it.
    """
    material = _material(source)
    by_paper = {"tables": _tree(tables), "figures": _tree(figures)}
    inputs = [*material, ledger, *tables, *figures, *datasets, *records]
    digests = {str(path): file_digest(path) for path in inputs}
    facts = _facts(ledger, tables, figures, datasets, records, digests)
    # Typst reads files below one root only, and names them from there.
    root = Path(os.path.commonpath([path.resolve().parent for path in inputs]))

    def seen(path: Path) -> str:
        return f"/{path.resolve().relative_to(root).as_posix()}"

    for kind, tree in by_paper.items():
        facts[kind] = {paper: {name: seen(path) for name, path in files.items()} for paper, files in tree.items()}
    facts["claims"] = seen(ledger)
    with whole(out) as temporary:
        _compile(source.resolve(), root, facts, temporary)
    born = certificate(parameters={"scale": facts["scale"]}, modules=[__name__], seed=facts["seed"])
    write_certificate(out, born | {"inputs": digests})
