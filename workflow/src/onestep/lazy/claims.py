"""The claims of `lazy`, each with its rule, judged from the records.

The rules were written before the first laptop run, but for those of claims 5 and 6 on networks, and of the robust error: see the paper.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from onestep import claims, records
from onestep.claims import Judge, Part
from onestep.lazy import summary
from onestep.lazy.experiment import REACH
from onestep.lazy.summary import CELL, LARGE
from onestep.provenance import certificate
from onestep.statistics.intervals import LEVEL, corrected, share, t_interval

NORMS = {"unit": "normalised images, no bias", "pixels": "pixels in [0, 1], with a bias"}
EXPONENTS = {"gradient": ("The gradient's norm grows like sqrt(d)", 0.5), "step": ("The step falls like 1/d", -1.0)} | {
    "perturbation": ("The relative perturbation falls like 1/sqrt(d)", -0.5)
}
WORDS = {"gradient": "the gradient's norm", "step": "the step", "perturbation": "the relative perturbation"}
FEWEST_RUNS = 10
BALL = ["c0", "width", "input_dim"]
JUST = (30, 40)
"""Just above 25 / sqrt(m), with the room that the rules leave to it."""


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


def _adversarial(judge: Judge, table: pd.DataFrame, contours: pd.DataFrame, rows: pd.DataFrame, files: Sequence[Path]) -> None:
    """Claims 5 and 6, on Figure 4."""
    text = contours[contours["protocol"] == "corrected"]
    rows = rows[rows["protocol"] == "corrected"].assign(network=rows["run"])

    def networks(panel: str, level: float) -> pd.DataFrame:
        """The crossings of a level, of the sizes at which every run has one: a row for each network, which is a start of its own."""
        chosen = text[(text["panel"] == panel) & (text["level"] == level)]
        return chosen[chosen.groupby("size")["crossing"].transform(lambda values: values.notna().all())]

    def exponent(crossings: pd.DataFrame) -> list[Part]:
        if len(crossings) < 3 or crossings["size"].nunique() < 2:
            return []
        fit = stats.linregress(np.log(crossings["size"]), np.log(crossings["crossing"]))
        reach = float(stats.t.ppf(0.5 + LEVEL / 2, len(crossings) - 2) * fit.stderr)
        return [(float(fit.slope), (float(fit.slope) - reach, float(fit.slope) + reach))]

    def add(name: str, panel: str, statement: str, published: str, rule: str, parts: list[Part], holds: tuple[float, float]) -> None:
        own = rows[rows["panel"] == panel]
        judge.add(name, statement, published, rule, parts=parts, holds=holds, rows=own, figure="robust", files=files)

    gone = networks("budgets", 0.01)
    over = "t interval over networks, each its own start, of the sizes at which every run has that length"
    add(
        "claim5.radius",
        "budgets",
        "Figure 4, left: the robust accuracy drops to 0 about a perturbation of 5 / sqrt(d).",
        "5 / sqrt(d)",
        f"the length at which the robust accuracy falls to 1%, times sqrt(d), within 4.5 .. 6; {over}",
        [t_interval(gone["scaled"].to_numpy())],
        (4.5, 6.0),
    )
    add(
        "claim5.exponent",
        "budgets",
        "Figure 4, left: the length at which it drops follows 1 / sqrt(d).",
        "exponent -0.5",
        f"slope of the log of that length on log d within 0.1 of -0.5; {over}",
        exponent(gone),
        (-0.6, -0.4),
    )
    learned = table[(table["protocol"] == "corrected") & (table["robust"] >= 0.5)]
    error = float((1 - learned["clean"]).max()) if len(learned) else np.nan
    judge.add(
        "claim5.clean",
        "Projected adversarial training does not hurt the test accuracy.",
        "does not hurt",
        "the largest test error without attack, of all networks of Figure 4 that keep at least half of their robust accuracy, below 1%; a"
        " statement about these networks, so that it has no interval",
        parts=[(error, (error, error))],
        holds=(0.0, float(np.nextafter(0.01, 0))),
        rows=rows,
        figure="robust",
        files=files,
    )
    add(
        "claim6.exponent",
        "radii",
        "Figure 4, right: the deviation V at which training becomes robust is of the order 1 / sqrt(m).",
        "exponent -0.5",
        "slope of the log of the V at which the robust accuracy reaches 90% on log m within 0.05 of -0.5; t interval over networks, each"
        " its own start, of the widths at which every run reaches it",
        exponent(networks("radii", 0.9)),
        (-0.55, -0.45),
    )
    scaled = table["radius"] * table["width"] ** 0.5
    just = table[(table["panel"] == "radii") & (table["protocol"] == "corrected") & (scaled > JUST[0] - 0.01) & (scaled < JUST[1])]
    add(
        "claim6.radius",
        "radii",
        "Figure 4, right: just above 25 / sqrt(m) training makes networks that are completely robust.",
        "25 / sqrt(m)",
        f"mean robust accuracy of the networks in balls of {JUST[0]} .. {JUST[1]} / sqrt(m) at least 99%; t interval over networks, each"
        " its own start",
        [t_interval(just["robust"].to_numpy())],
        (0.99, np.inf),
    )


def _lemmas(judge: Judge, rows: pd.DataFrame, gammas: Sequence[float], files: Sequence[Path]) -> None:
    """Claim 7 where something is certain of every network of the ball: Lemmas 4.1 and 4.3 and the robust error."""
    first = rows[rows["input"] == rows.groupby([*BALL, "network"])["input"].transform("min")]
    cells = [(name, cell) for name, cell in first.groupby(BALL)]
    told = [gamma for gamma in gammas if len(cells) and min(len(cell) for _, cell in cells) >= 4 / gamma]
    log = {gamma: math.log(1 / gamma) for gamma in told}
    level = corrected(len(cells) * len(told))

    def bound(name: str, statement: str, published: str, broken: Callable[[pd.DataFrame, float], Any]) -> None:
        judge.add(
            f"claim7.{name}",
            statement,
            published,
            "share of starts with a network in the ball that breaks the bound, over gamma, at most 1 at every C0, m, d and gamma for which"
            " there are 4 / gamma starts, one image each; exact binomial intervals, corrected for their number; the extremes are known in"
            " closed form for all networks of the ball",
            parts=[share(broken(cell, gamma), level, gamma) for _, cell in cells for gamma in told],
            holds=(0.0, 1.0),
            rows=first,
            figure="collapse",
            files=files,
        )

    bound(
        "value",
        "Lemma 4.1: |f(x; W)| <= 2 sqrt(log(2 / gamma)) + C0 for all W of the ball, with probability 1 - gamma.",
        "1 - gamma",
        lambda cell, gamma: np.maximum(cell["highest"], -cell["lowest"]) > 2 * math.sqrt(log[gamma] + math.log(2)) + cell["c0"],
    )
    bound(
        "neurons",
        "Lemma 4.3: at most C0 sqrt(m) + sqrt(m log(1 / gamma) / 2) neurons change sign in the ball, with probability 1 - gamma.",
        "1 - gamma",
        lambda cell, gamma: cell["changeable"] > cell["c0"] * cell["width"] ** 0.5 + (cell["width"] * log[gamma] / 2) ** 0.5,
    )
    table = summary.ball(rows)
    chosen = table[(table["width"] == table["width"].max()) & (table["c0"] == table["c0"].min()) & (table["input_dim"] >= LARGE)]
    line = chosen[np.isfinite(chosen[["flipped", "flipped_low", "flipped_high"]]).all(axis=1)]
    parts: list[Part] = []
    if len(line) > 2:
        # The slope is linear in the logarithms: it lies between those with every length at the worse end of its interval.
        x = np.log(line["input_dim"].to_numpy(float))
        weight = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        middle, low, high = np.log(line[["flipped", "flipped_low", "flipped_high"]].to_numpy()).T
        ends = [float(weight @ np.where(weight > 0, one, other)) - 0.5 for one, other in ((low, high), (high, low))]
        parts.append((float(weight @ middle) - 0.5, (ends[0], ends[1])))
    judge.add(
        "claim7.robust_error",
        "Corollary 3.2: every network of the ball has a robust error of at least 0.9 at a length of order 1 / sqrt(d).",
        "exponent at most -0.5",
        f"slope on log d of the log of the length within which 90% of test images are flipped for certain in all networks of the ball at"
        f" most -0.45, at the smallest C0 and the largest width, over those d >= {LARGE} at which there is such a length (three at least);"
        " between the ends of those lengths' exact intervals",
        parts=parts,
        holds=(-np.inf, -0.45),
        rows=rows.merge(line[BALL]),
        figure="collapse",
        files=files,
    )


def _gradients(judge: Judge, rows: pd.DataFrame, brackets: pd.DataFrame, files: Sequence[Path], bracket_files: Sequence[Path]) -> None:
    """Claim 7 where trained networks can refute and never confirm: Lemmas 4.2 and 4.4."""
    lowest = float((rows["gradient_norm"] / rows["input_dim"] ** 0.5).min())
    judge.add(
        "claim7.gradient",
        "Lemma 4.2: the gradient's norm is at least sqrt(d) / 4 for all W of the ball.",
        ">= sqrt(d) / 4",
        "the smallest norm over sqrt(d) of all trained networks and test images at least 1/4; they are a few of the ball's networks and can"
        " refute it alone",
        parts=[(lowest, (lowest, lowest))],
        holds=(0.25, np.inf),
        rows=rows,
        figure="dimension_unit",
        files=files,
        searched=True,
    )
    table = summary.bracket(brackets)
    held = table[np.isfinite(table["c0"]) & (table["norm"] == "unit")]
    slope = [
        float(np.polyfit(np.log(line["input_dim"]), np.log(line["change"]), 1)[0])
        for _, line in held.groupby(["c0", "width"])
        if len(line) > 1 and (line["change"] > 0).all()
    ]
    judge.add(
        "claim7.change",
        "Lemma 4.4: along perturbations of length O(1 / sqrt(d)) the gradient changes by o(sqrt(d)).",
        "relative change vanishes",
        f"slope on log d of the log of the median relative change of the gradient {REACH:g} / sqrt(d) down the gradient below 0 at every"
        " C0; trained networks can refute it alone",
        parts=[(value, (value, value)) for value in slope],
        holds=(-np.inf, float(np.nextafter(0, -1))),
        rows=brackets[np.isfinite(brackets["c0"]) & (brackets["norm"] == "unit")].assign(network=brackets["run"]),
        figure="bracket",
        files=bracket_files,
        searched=True,
    )


def assess(files: Mapping[str, Sequence[Path]], gammas: Sequence[float], scale: str, seed: int, tables: Path, out: Path) -> None:
    """Judges every claim and writes them, with the tables that they rest on; `files`: the record files of each experiment by its name."""
    everything = records.read(files["attack"])
    table = summary.models(everything)
    judge = Judge("lazy", scale, [*CELL, "budget", "radius"], f"test images of {everything['data'].iloc[0]}")
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
    unit = rows[(rows["protocol"] == "corrected") & (rows["norm"] == "unit") & np.isfinite(rows["c0"])]
    attacked, brackets, balls = (records.read(files[name]) for name in ("adversarial", "bracket", "ball"))
    robust = summary.robust(attacked)
    contours = summary.contours(robust)
    _adversarial(judge, robust, contours, attacked, files["adversarial"])
    _lemmas(judge, balls, gammas, files["ball"])
    _gradients(judge, unit, brackets, files["attack"], files["bracket"])
    made = {
        "models": table,
        "cells": summary.cells(table),
        "exponents": summary.exponents(table),
        "growth": pd.concat(differences),
        "protocols": summary.protocols(table),
        "robust": robust,
        "contours": contours,
        "checks": summary.checks(robust, summary.robust(records.read(files["check"]))),
        "ball": summary.ball(balls),
        "bracket": summary.bracket(brackets),
    }
    inputs = [file for paths in files.values() for file in paths]
    born = certificate(parameters={"scale": scale}, modules=[__name__], inputs=inputs, seed=seed)
    for name, frame in made.items():
        records.write_table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
