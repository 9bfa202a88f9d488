"""The claims of `singlestep`, each with its rule, judged from the records. The rules were written before the first laptop run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep import claims, records
from onestep.claims import Claim, Range, Verdict, judge, judge_all
from onestep.provenance import certificate, write_certificate, write_text
from onestep.singlestep.summary import KEY, Cells, by_network, log_slopes, summarise, threshold, weighted_medians
from onestep.statistics.intervals import LEVEL, exact_share, percentile_interval, resampling_weights
from onestep.statistics.slopes import slopes
from onestep.theory import bounds, laws

Array = NDArray[np.float64]
FIXED_STEP_CONSTANT = 1.0
"""C4 of Theorem 2, which the paper leaves open: the step sqrt(log(1/gamma)) / ||grad f||^2."""


class _Judge:
    """Collects claims that share a paper, a scale and the kind of data."""

    def __init__(self, scale: str) -> None:
        self.scale = scale
        self.claims: list[Claim] = []

    def add(
        self,
        name: str,
        statement: str,
        published: str,
        rule: str,
        *,
        measured: float,
        interval: Range,
        verdict: Verdict,
        rows: pd.DataFrame,
        figure: str,
        files: Sequence[Path],
    ) -> None:
        """Adds a claim; `rows` are the records that it rests on. A value that is not finite is left out of the ledger."""
        finite = bool(np.isfinite([measured, *interval]).all())
        if self.scale == "smoke" or not finite:
            verdict = "not measured"
        networks = rows[[column for column in KEY[:3] if column in rows]].assign(network=rows["network"]).drop_duplicates()
        self.claims.append(
            Claim(
                id=f"singlestep.{name}",
                paper="singlestep",
                statement=statement,
                published=published,
                measured=measured if np.isfinite(measured) else None,
                interval=interval if finite else None,
                verdict=verdict,
                rule=rule,
                networks=len(networks),
                samples=len(rows),
                scale=self.scale,
                data="random inputs (no data set)",
                figure=f"results/{self.scale}/figures/singlestep/{figure}.pdf",
                records=[str(file) for file in files],
            )
        )


def _beyond_fifty(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Cells or rows that claim 1 speaks of; at smoke scale, whose grid has none, the largest cell stands in."""
    wide = (frame["width"] > 50) & (frame["input_dim"] > 50)
    return wide if wide.any() else (frame["width"] == frame["width"].max()) & (frame["input_dim"] == frame["input_dim"].max())


def _first_inputs(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["input"] == 0]


def _pair(key: Any) -> tuple[int, int]:
    """The two coordinates by which a frame was grouped."""
    return int(key[0]), int(key[1])


def _mean(values: Array, seed: int, *name: str | int, level: float = LEVEL) -> tuple[float, Range]:
    """Mean over networks [N] and its interval."""
    weights = resampling_weights(len(values), seed, "singlestep", *name)
    means = weights @ values / weights.sum(1)
    return float(means[0]), percentile_interval(means[1:], level)


def _corrected(parts: int) -> float:
    """The level of each of several intervals that hold together at 95% (Bonferroni)."""
    return 1 - (1 - LEVEL) / parts


def _claim_1(judge_: _Judge, two_layer: pd.DataFrame, files: Sequence[Path]) -> None:
    rows = _first_inputs(two_layer[_beyond_fifty(two_layer)])
    counts = rows.groupby(["width", "input_dim"])["status"].agg(lambda status: (status == "switched").sum())
    sizes = rows.groupby(["width", "input_dim"]).size()
    intervals = [exact_share(k, n, _corrected(len(counts))) for k, n in zip(counts, sizes, strict=True)]
    verdict, worst = judge_all(intervals, (0.995, 1.0))
    judge_.add(
        "fig1.two-layer",
        "For one hidden layer and d, k > 50 a single gradient step flips every sample.",
        "100%",
        "share switched >= 99.5% in every cell; exact binomial over networks, one input each, corrected for the number of cells",
        measured=float(counts.iloc[worst] / sizes.iloc[worst]),
        interval=intervals[worst],
        verdict=verdict,
        rows=rows,
        figure="switched",
        files=files,
    )


def _claim_2(judge_: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    for axis, other, name in (("input_dim", "width", "d"), ("width", "input_dim", "k")):
        depths = sorted(he.table["depth"].unique())
        widest = he.where(he.table[other] == he.table[other].max())
        grid = np.array(sorted(he.table[axis].unique()), dtype=float)
        reached = []
        for depth in depths:
            line = widest.where(widest.table["depth"] == depth)
            reached.append(threshold(line.share, grid))
        fitted = slopes(np.log(np.stack(reached, axis=1)), np.array(depths, dtype=float))[:, 0]
        interval = percentile_interval(fitted[1:])
        judge_.add(
            f"fig1.threshold-{name}",
            f"The {'dimension d' if name == 'd' else 'width k'} from which on (nearly) all samples switch grows with the depth L.",
            "grows with L",
            f"slope of log {name}99 on L above 0; {name}99 is where the share reaches 99% for good, at the largest"
            f" {'k' if name == 'd' else 'd'}, clipped to the grid",
            measured=float(fitted[0]),
            interval=interval,
            verdict=judge(interval, (np.nextafter(0, 1), np.inf)),
            rows=samples[samples[other] == samples[other].max()],
            figure="switched",
            files=files,
        )


def _claim_3(judge_: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> pd.DataFrame:
    """Judges flatness in d and k, and returns the table of all slopes."""
    table = []
    for quantity, figure, label in (("step", "step", "The smallest step"), ("gradient", "gradient", "The gradient's norm")):
        for axis, name in (("input_dim", "d"), ("width", "k")):
            intervals: dict[int, tuple[float, Range]] = {}
            depths = sorted(he.table["depth"].unique())
            deep = max(1, sum(depth > 1 for depth in depths))
            for depth in depths:
                for region in ("all", "d, k >= 50"):
                    keep = (he.table["depth"] == depth) & ((region == "all") | ((he.table["input_dim"] >= 50) & (he.table["width"] >= 50)))
                    cells = he.where(keep)
                    values = cells.step if quantity == "step" else cells.gradient
                    fitted = log_slopes(cells, values).get(axis)
                    if fitted is None:
                        continue
                    interval = percentile_interval(fitted[1:], LEVEL if depth == 1 else _corrected(deep))
                    if region == "all":
                        intervals[depth] = (float(fitted[0]), interval)
                    row = {"quantity": quantity, "axis": name, "depth": depth, "cells": region, "slope": fitted[0]}
                    table.append(row | {"low": interval[0], "high": interval[1]})
            for group, suffix in (([1], "two-layer"), ([depth for depth in depths if depth > 1], "deeper")):
                chosen = [depth for depth in group if depth in intervals]
                if not chosen:
                    continue
                verdict, worst = judge_all([intervals[depth][1] for depth in chosen], (-0.05, 0.05))
                judge_.add(
                    f"fig{'2a' if quantity == 'step' else '2b'}.{quantity}-in-{name}.{suffix}",
                    f"{label} is about constant in {name}" + (", for deeper networks too." if suffix == "deeper" else "."),
                    "about constant",
                    f"slope of log mean on log {name} (joint fit on log d, log k over all cells) within +-0.05"
                    + (
                        ", for every depth; intervals corrected for their number, the deciding depth is shown" if suffix == "deeper" else ""
                    ),
                    measured=intervals[chosen[worst]][0],
                    interval=intervals[chosen[worst]][1],
                    verdict=verdict,
                    rows=samples[samples["depth"].isin(chosen)],
                    figure=figure,
                    files=files,
                )
    return pd.DataFrame(table)


def _proposition_3(judge_: _Judge, two_layer: pd.DataFrame, gammas: Sequence[float], files: Sequence[Path]) -> pd.DataFrame:
    """Judges the explicit bounds, and returns the table of violations by cell and gamma."""
    rows = _first_inputs(two_layer)
    table = []
    for key, cell in rows.groupby(["width", "input_dim"]):
        width, dim = _pair(key)
        for gamma in gammas:
            value_limit = float(bounds.value_bound(gamma, width))
            gradient_limit = float(bounds.gradient_bound(gamma, width, dim))
            table.append(("value", width, dim, gamma, value_limit, int((cell["value"].abs() > value_limit).sum()), len(cell)))
            table.append(("gradient", width, dim, gamma, gradient_limit, int((cell["gradient_norm"] < gradient_limit).sum()), len(cell)))
    violations = pd.DataFrame(table, columns=["bound", "width", "input_dim", "gamma", "limit", "violations", "networks"])
    statements = {
        "value": "Proposition 3: |f(x)| exceeds its explicit bound with probability at most gamma.",
        "gradient": "Proposition 3: the gradient's norm is below its explicit bound with probability at most gamma.",
    }
    for bound, statement in statements.items():
        telling = violations[
            (violations["bound"] == bound) & (violations["limit"] > 0) & (violations["networks"] >= 4 / violations["gamma"])
        ]
        parts = [exact_share(k, n, _corrected(len(telling))) for k, n in zip(telling["violations"], telling["networks"], strict=True)]
        scaled = [(low / gamma, high / gamma) for (low, high), gamma in zip(parts, telling["gamma"], strict=True)]
        if scaled:
            verdict, worst = judge_all(scaled, (0.0, 1.0))
            ratio = telling["violations"].iloc[worst] / telling["networks"].iloc[worst] / telling["gamma"].iloc[worst]
        else:
            verdict, worst, ratio, scaled = "not measured", 0, np.nan, [(np.nan, np.nan)]
        judge_.add(
            f"prop3.{bound}",
            statement,
            "share <= gamma",
            "share of violations over gamma at most 1 at every gamma and in every cell where the bound says something;"
            " exact binomial, one input a network, >= 4/gamma networks, corrected for their number",
            measured=float(ratio),
            interval=scaled[worst],
            verdict=verdict,
            rows=rows,
            figure="bounds",
            files=files,
        )
    return violations


def _perturbation(judge_: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    shallow = he.where(he.table["depth"] == 1)
    relative = shallow.perturbation / np.sqrt(shallow.table["input_dim"].to_numpy(float))
    fitted = log_slopes(shallow, relative).get("input_dim", np.full(2, np.nan))
    interval = percentile_interval(fitted[1:])
    judge_.add(
        "thm2.perturbation",
        "Theorem 2: the perturbation's norm is about ||x|| / sqrt(d).",
        "exponent -0.5 in d",
        "slope of log mean ||delta|| / ||x|| on log d (joint fit on log d, log k, one hidden layer) within 0.1 of -0.5",
        measured=float(fitted[0]),
        interval=interval,
        verdict=judge(interval, (-0.6, -0.4)),
        rows=samples[samples["depth"] == 1],
        figure="law",
        files=files,
    )


def _fixed_step(judge_: _Judge, fixed: pd.DataFrame, files: Sequence[Path]) -> None:
    largest = fixed[(fixed["width"] == fixed["width"].max()) & (fixed["input_dim"] == fixed["input_dim"].max())]
    rows = _first_inputs(largest)
    intervals, ratios = [], []
    usable = [
        c for c in sorted(rows["coefficient"].unique()) if (rows["coefficient"] == c).sum() * np.exp(-((c / FIXED_STEP_CONSTANT) ** 2)) >= 4
    ]
    for c in usable:
        cell = rows[rows["coefficient"] == c]
        gamma = np.exp(-((c / FIXED_STEP_CONSTANT) ** 2))
        unflipped = int((cell["status"] != "switched").sum())
        low, high = exact_share(unflipped, len(cell), _corrected(len(usable)))
        intervals.append((low / gamma, high / gamma))
        ratios.append(unflipped / len(cell) / gamma)
    verdict, worst = judge_all(intervals, (0.0, 1.0)) if intervals else ("not measured", 0)
    judge_.add(
        "thm2.fixed-step",
        "Theorem 2: the step sqrt(log(1/gamma)) / ||grad f||^2 flips the sign with probability at least 1 - gamma.",
        "share not flipped <= gamma, some constant C4",
        "share not flipped over gamma at most 1 for C4 = 1 in the largest cell, at every step c = sqrt(log(1/gamma)) of the grid with"
        " >= 4/gamma networks; exact binomial, one input a network, corrected for their number",
        measured=ratios[worst] if ratios else np.nan,
        interval=intervals[worst] if intervals else (np.nan, np.nan),
        verdict=verdict,
        rows=rows[rows["coefficient"].isin(usable)],
        figure="fixed_step",
        files=files,
    )


def _proposition_4(judge_: _Judge, fixed: pd.DataFrame, files: Sequence[Path]) -> None:
    covered = fixed[(fixed["radius"] >= 1) & (fixed["radius"] <= np.sqrt(fixed["input_dim"]) / 2) & (fixed["width"] >= 52**2)]
    change = covered[["gradient_change", "random_gradient_change"]].max(axis=1)
    ratio = (
        float((change / bounds.gradient_change_bound(covered["radius"], covered["width"], covered["input_dim"])).max())
        if len(covered)
        else np.nan
    )
    judge_.add(
        "prop4.gradient-change",
        "Proposition 4: in a ball of radius R the gradient changes by no more than its explicit bound (it asks for k >= 52^2).",
        "supremum below the bound",
        "a supremum: fails if a change found along the gradient or a random direction exceeds the bound, else not contradicted;"
        " not measured while no sampled width meets the proposition's condition",
        measured=ratio,
        interval=(ratio, ratio),
        verdict="fails" if ratio > 1 else "not contradicted",
        rows=covered if len(covered) else fixed.iloc[:0],
        figure="fixed_step",
        files=files,
    )


def _universal(judge_: _Judge, universal: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    rows = universal[_beyond_fifty(universal)].sort_values(["width", "input_dim", "network", "input"], kind="stable")
    cells = list(rows.groupby(["width", "input_dim"]))
    shares, ratios = [], []
    for key, cell in cells:
        width, dim = _pair(key)
        first = _first_inputs(cell)
        flipped = int((first["status"] == "switched").sum())
        shares.append((flipped / len(first), exact_share(flipped, len(first), _corrected(len(cells)))))
        ratio = by_network(cell, (cell["universal_norm"] / cell["gradient_norm"]).to_numpy()).mean(1)
        ratios.append(_mean(ratio, seed, "universal", width, dim, level=_corrected(len(cells))))
    for part, parts, holds, statement, published, rule in (
        (
            "share",
            shares,
            (0.99, 1.0),
            "One fixed direction, +-(sum a_l w_l), flips all inputs of a two-layer network.",
            "flips (no figure)",
            "share flipped by one of the two signs >= 99% in every cell with d, k > 50; exact binomial, one input a network, corrected",
        ),
        (
            "length",
            ratios,
            (laws.UNIVERSAL_LENGTH_RATIO * 0.95, laws.UNIVERSAL_LENGTH_RATIO * 1.05),
            "The universal direction is sqrt 2 times as long as the gradient.",
            "sqrt 2 (this project's law)",
            "mean ratio within 5% of sqrt 2 in every cell with d, k > 50; networks resampled, corrected for the number of cells",
        ),
    ):
        verdict, worst = judge_all([interval for _, interval in parts], holds)
        judge_.add(
            f"universal.{part}",
            statement,
            published,
            rule,
            measured=parts[worst][0],
            interval=parts[worst][1],
            verdict=verdict,
            rows=rows,
            figure="universal",
            files=files,
        )


def _laws(
    judge_: _Judge, samples: pd.DataFrame, fixed: pd.DataFrame, seed: int, files: Sequence[Path], fixed_files: Sequence[Path]
) -> None:
    largest = samples[(samples["width"] == samples["width"].max()) & (samples["input_dim"] == samples["input_dim"].max())]
    depths = list(largest.sort_values(["depth", "network", "input"]).groupby("depth"))
    medians = []
    for depth, cell in depths:
        values = by_network(cell, cell["perturbation_norm"].fillna(np.inf).to_numpy())
        replicates = weighted_medians(resampling_weights(len(values), seed, "singlestep", "law", int(depth)), values)
        medians.append((float(replicates[0]), percentile_interval(replicates[1:], _corrected(len(depths)))))
    verdict, worst = judge_all([interval for _, interval in medians], (0.8 * laws.HALF_NORMAL_MEDIAN, 1.2 * laws.HALF_NORMAL_MEDIAN))
    judge_.add(
        "law.half-normal",
        "sqrt(d) ||delta|| / ||x|| follows |N(0, 1)| at every depth: its median is 0.674.",
        "0.674 (this project's law)",
        "median within 20% of the half-normal's in the largest cell at every depth; networks resampled, corrected for the number of depths",
        measured=medians[worst][0],
        interval=medians[worst][1],
        verdict=verdict,
        rows=largest,
        figure="law",
        files=files,
    )
    # The law counts neurons as if they did not know of the step; at a width that is not large against d each neuron's own part in
    # the gradient, 2 d / k of the rest, makes it switch more often.
    width = fixed["width"].max()
    dim = min(fixed["input_dim"].unique(), key=lambda d: abs(np.log(10 * d / width)))
    coefficient = min(fixed["coefficient"].unique(), key=lambda c: abs(c - 1))
    chosen = (fixed["width"] == width) & (fixed["input_dim"] == dim) & (fixed["coefficient"] == coefficient) & (fixed["status"] != "dead")
    rows = fixed[chosen].sort_values(["network", "input"])
    predicted = laws.gradient_change(rows["radius"].to_numpy(), rows["input_dim"].to_numpy())
    ratio = (rows["gradient_change"] / rows["gradient_norm"]).to_numpy() / predicted
    per_network = rows.assign(ratio=ratio).groupby("network")["ratio"].mean().to_numpy()
    measured, interval = _mean(per_network, seed, "gradient-change")
    judge_.add(
        "law.gradient-change",
        "Over a step of length R along it the gradient changes by sqrt(2 R / (pi sqrt d)) of its length.",
        "ratio 1 (this project's law)",
        "mean ratio of the measured change to the law within 20% of 1, at the step c nearest to 1, the largest k and the d nearest"
        " to k / 10 (the law is for k >> d); networks resampled",
        measured=measured,
        interval=interval,
        verdict=judge(interval, (0.8, 1.2)),
        rows=rows,
        figure="fixed_step",
        files=fixed_files,
    )


def _table(path: Path, frame: pd.DataFrame, born: dict[str, Any]) -> None:
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_certificate(path, born)


def assess(
    sample_files: Sequence[Path],
    universal_files: Sequence[Path],
    fixed_files: Sequence[Path],
    gammas: Sequence[float],
    scale: str,
    seed: int,
    tables: Path,
    out: Path,
) -> None:
    """Judges every claim and writes them, with the tables that they rest on: cells, slopes, bounds, exceptions."""
    samples, universal, fixed = records.read(sample_files), records.read(universal_files), records.read(fixed_files)
    cells = summarise(samples, seed)
    he = cells.where(cells.table["hidden_scale"] == "he")
    samples = samples[samples["hidden_scale"] == "he"]
    two_layer = samples[samples["depth"] == 1]
    judge_ = _Judge(scale)
    _claim_1(judge_, two_layer, sample_files)
    _claim_2(judge_, he, samples, sample_files)
    slope_table = _claim_3(judge_, he, samples, sample_files)
    violations = _proposition_3(judge_, two_layer, gammas, sample_files)
    _perturbation(judge_, he, samples, sample_files)
    _fixed_step(judge_, fixed, fixed_files)
    _proposition_4(judge_, fixed, fixed_files)
    _universal(judge_, universal, seed, universal_files)
    _laws(judge_, samples, fixed, seed, sample_files, fixed_files)

    exceptions = two_layer[_beyond_fifty(two_layer) & (two_layer["status"] != "switched")]
    parameters = {"gammas": list(gammas), "scale": scale}
    born = certificate(parameters=parameters, modules=[__name__], inputs=[*sample_files, *universal_files, *fixed_files], seed=seed)
    for name, frame in (("cells", cells.table), ("slopes", slope_table), ("bounds", violations), ("exceptions", exceptions)):
        _table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge_.claims, born)
