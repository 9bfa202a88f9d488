"""The claims of `lazy`, each with its rule, judged from the records. The rules were written before the first laptop run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from onestep import claims, records
from onestep.claims import Judge, Part
from onestep.lazy import summary
from onestep.lazy.summary import CELL, LARGE
from onestep.provenance import certificate
from onestep.statistics.intervals import corrected, t_interval

NORMS = {"unit": "normalised images, no bias", "pixels": "pixels in [0, 1], with a bias"}
EXPONENTS = {"gradient": ("The gradient's norm grows like sqrt(d)", 0.5), "step": ("The step falls like 1/d", -1.0)} | {
    "perturbation": ("The relative perturbation falls like 1/sqrt(d)", -0.5)
}
WORDS = {"gradient": "the gradient's norm", "step": "the step", "perturbation": "the relative perturbation"}
FEWEST_RUNS = 10


def _parts(table: pd.DataFrame, column: str) -> list[Part]:
    """Estimates and intervals of a table's rows."""
    return [(estimate, (low, high)) for estimate, low, high in table[[column, "low", "high"]].to_numpy(float).tolist()]


def _errors(judge: Judge, table: pd.DataFrame, rows: pd.DataFrame, norm: str, files: Sequence[Path]) -> None:
    whole = table[table["images"] == table["images"].max()]
    share = float((whole["errors"] / whole["images"]).max()) if len(whole) >= FEWEST_RUNS else np.nan
    judge.add(
        f"claim1.error.{norm}",
        f"Every trained network has a test error below 1% ({NORMS[norm]}).",
        "below 1%",
        f"the largest test error of all trained networks (every C0, m, d and run with all test images, at least {FEWEST_RUNS} of them)"
        " below 1%; a statement about these networks, so that it has no interval",
        parts=[(share, (share, share))],
        holds=(0.0, float(np.nextafter(0.01, 0))),
        rows=rows,
        figure=f"dimension_{norm}",
        files=files,
    )


def _scaling(judge: Judge, table: pd.DataFrame, rows: pd.DataFrame, norm: str, files: Sequence[Path]) -> None:
    first = summary.exponents(table)
    told = first[(first["dimensions"] != "all") & (first["runs"] > 1)]
    level = corrected(int((told["quantity"] == "step").sum()))
    fitted = summary.exponents(table, level)
    for quantity, (statement, exponent) in EXPONENTS.items():
        chosen = fitted[(fitted["dimensions"] != "all") & (fitted["runs"] > 1) & (fitted["quantity"] == quantity)]
        judge.add(
            f"claim2.{quantity}.{norm}",
            f"{statement}, at every C0 and width ({NORMS[norm]}).",
            f"exponent {exponent:g}",
            f"slope of the log mean over correctly classified test images on log d, d >= {LARGE}, within 0.1 of {exponent:g} at every C0"
            " and width with more than one run; t intervals over runs, corrected for their number",
            parts=_parts(chosen, "slope"),
            holds=(exponent - 0.1, exponent + 0.1),
            rows=rows[rows["input_dim"] >= LARGE],
            figure=f"dimension_{norm}",
            files=files,
        )


def _growth(judge: Judge, table: pd.DataFrame, rows: pd.DataFrame, norm: str, files: Sequence[Path]) -> pd.DataFrame:
    """Judges what grows with C0, and returns the table of differences."""
    runs = table.groupby("width")["run"].nunique()
    several = table[table["width"].isin(runs[runs > 1].index) & (table.groupby("width")["c0"].transform("nunique") > 1)]
    widest = several[several["width"] == several["width"].max()]
    made = []
    for quantity, words in WORDS.items():
        level = corrected(widest["input_dim"].nunique())
        differences = summary.growth(widest, quantity, level)
        made.append(summary.growth(table, quantity))
        judge.add(
            f"claim3.{quantity}.{norm}",
            f"As C0 grows, {words} grows ({NORMS[norm]}).",
            "increases with C0",
            "difference of the log means at the largest and the smallest C0 above 0 at every d, run by run, at the largest width that has"
            " several; t intervals over runs, corrected for the number of dimensions",
            parts=_parts(differences, "difference"),
            holds=(float(np.nextafter(0, 1)), np.inf),
            rows=rows[rows["width"] == widest["width"].max()],
            figure=f"radius_{norm}",
            files=files,
        )
    return pd.concat(made)


def _histograms(judge: Judge, table: pd.DataFrame, rows: pd.DataFrame, norm: str, protocol: str, files: Sequence[Path]) -> None:
    first = table[(table["c0"] == table["c0"].min()) & (table["input_dim"] == table["input_dim"].max())]
    runs = first.groupby("width")["run"].nunique()
    chosen = first[first["width"] == runs[runs > 1].index.max()] if (runs > 1).any() else first.iloc[:0]
    suffix = f"{norm}.{protocol}"
    rows = rows.merge(chosen[[*CELL, "run"]])
    words = f"{NORMS[norm]}; {'as the text says' if protocol == 'corrected' else 'as the code of the authors does it'}"
    for name, statement, published, values, holds in (
        ("step", "The step is concentrated near 0.045", "near 0.045", chosen["step"], (0.04, 0.05)),
        (
            "skewness",
            "The steps' histogram is roughly Gaussian: its skewness is small",
            "roughly Gaussian",
            chosen["skewness"],
            (-0.5, 0.5),
        ),
    ):
        judge.add(
            f"claim4.{name}.{suffix}",
            f"Figure 7: {statement} at the largest d and the smallest C0 ({words}).",
            published,
            f"mean over runs within {holds[0]:g} .. {holds[1]:g}, at the largest width with more than one run; t interval over runs",
            parts=[t_interval(values.to_numpy())] if len(chosen) > 1 else [],
            holds=holds,
            rows=rows,
            figure="histograms",
            files=files,
        )


def assess(files: Mapping[str, Sequence[Path]], scale: str, seed: int, tables: Path, out: Path) -> None:
    """Judges every claim and writes them, with the tables that they rest on; `files`: the record files of each experiment by its name."""
    everything = records.read(files["attack"])
    table = summary.models(everything)
    judge = Judge("lazy", scale, CELL, f"test images of {everything['data'].iloc[0]}")
    rows = everything.assign(network=everything["run"])
    differences = []
    for norm in NORMS:
        lazy = (table["protocol"] == "corrected") & (table["norm"] == norm) & np.isfinite(table["c0"])
        chosen = (rows["protocol"] == "corrected") & (rows["norm"] == norm) & np.isfinite(rows["c0"])
        _errors(judge, table[lazy], rows[chosen], norm, files["attack"])
        _scaling(judge, table[lazy], rows[chosen], norm, files["attack"])
        differences.append(_growth(judge, table[lazy], rows[chosen], norm, files["attack"]))
        for protocol in ("corrected", "as_published"):
            here = (table["protocol"] == protocol) & (table["norm"] == norm) & np.isfinite(table["c0"])
            _histograms(judge, table[here], rows[(rows["protocol"] == protocol) & (rows["norm"] == norm)], norm, protocol, files["attack"])
    made = {"models": table, "cells": summary.cells(table), "exponents": summary.exponents(table), "growth": pd.concat(differences)}
    inputs = [file for paths in files.values() for file in paths]
    born = certificate(parameters={"scale": scale}, modules=[__name__], inputs=inputs, seed=seed)
    for name, frame in made.items():
        records.write_table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
