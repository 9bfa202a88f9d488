"""The claims of `singlestep`, each with its rule, judged from the records. The rules were written before the first laptop run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep import claims, records
from onestep.claims import Claim, Range, judge_all
from onestep.provenance import certificate, write_certificate, write_text
from onestep.singlestep.summary import KEY, Cells, by_network, log_slopes, summarise, threshold, weighted_medians
from onestep.statistics.intervals import LEVEL, exact_share, percentile_interval, resampling_weights
from onestep.statistics.slopes import slopes
from onestep.theory import bounds, laws

Array = NDArray[np.float64]


Part = tuple[float, Range]
"""An estimate and its interval."""


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
        parts: Sequence[Part],
        holds: Range,
        rows: pd.DataFrame,
        figure: str,
        files: Sequence[Path],
        supremum: bool = False,
    ) -> None:
        """Adds a claim about all of `parts`, of which the ledger shows the one that decides; `rows` are the records it rests on.

        Without a part, or with one that has no interval, the claim is not measured.
        """
        verdict, decides = judge_all([interval for _, interval in parts], holds) if parts else ("not measured", 0)
        measured, interval = parts[decides] if parts else (np.nan, (np.nan, np.nan))
        finite = bool(np.isfinite([measured, *interval]).all())
        if self.scale == "smoke" or not finite:
            verdict = "not measured"
        elif supremum and verdict == "holds":
            verdict = "not contradicted"  # a search can refute a supremum and never confirm it
        networks = rows[[column for column in KEY[:3] if column in rows]].assign(network=rows["network"]).drop_duplicates()
        self.claims.append(
            Claim(
                id=f"singlestep.{name}",
                paper="singlestep",
                statement=statement,
                published=published,
                measured=measured if np.isfinite(measured) else None,
                interval=interval if finite and not supremum else None,
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
    """Cells or rows that claim 1 speaks of."""
    return (frame["width"] > 50) & (frame["input_dim"] > 50)


def _first_inputs(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["input"] == 0]


def _mean(values: Array, seed: int, *name: str | int, level: float = LEVEL) -> tuple[float, Range]:
    """Mean over networks [N] and its interval."""
    weights = resampling_weights(len(values), seed, "singlestep", *name)
    means = weights @ values / weights.sum(1)
    return float(means[0]), percentile_interval(means[1:], level)


def _corrected(parts: int) -> float:
    """The level of each of several intervals that hold together at 95% (Bonferroni)."""
    return 1 - (1 - LEVEL) / parts


def _share(cell: pd.DataFrame, counted: "pd.Series[bool]", parts: int, unit: float = 1.0) -> Part:
    """The share of a cell's rows (independent networks) that are counted, over `unit`, and its exact corrected interval."""
    low, high = exact_share(int(counted.sum()), len(cell), _corrected(parts))
    return float(counted.mean()) / unit, (low / unit, high / unit)


def _cells(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each (width, input dimension), sorted by network and input."""
    ordered = rows.sort_values(["width", "input_dim", "network", "input"], kind="stable")
    return [cell for _, cell in ordered.groupby(["width", "input_dim"])]


def _claim_1(judge: _Judge, two_layer: pd.DataFrame, files: Sequence[Path]) -> None:
    rows = _first_inputs(two_layer[_beyond_fifty(two_layer)])
    cells = _cells(rows)
    judge.add(
        "fig1.two-layer",
        "For one hidden layer and d, k > 50 a single gradient step flips every sample.",
        "100%",
        "share switched >= 99.5% in every cell; exact binomial over networks, one input each, corrected for the number of cells",
        parts=[_share(cell, cell["status"] == "switched", len(cells)) for cell in cells],
        holds=(0.995, 1.0),
        rows=rows,
        figure="switched",
        files=files,
    )


def _claim_2(judge: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    depths = sorted(he.table["depth"].unique())
    for axis, other, name, noun in (("input_dim", "width", "d", "dimension d"), ("width", "input_dim", "k", "width k")):
        widest = he.where(he.table[other] == he.table[other].max())
        grid = np.array(sorted(he.table[axis].unique()), dtype=float)
        parts = []
        if len(depths) > 1 and len(grid) > 1:
            reached = [threshold(widest.where(widest.table["depth"] == depth).share, grid) for depth in depths]
            fitted = slopes(np.log(np.stack(reached, axis=1)), np.array(depths, dtype=float))[:, 0]
            parts.append((float(fitted[0]), percentile_interval(fitted[1:])))
        judge.add(
            f"fig1.threshold-{name}",
            f"The {noun} from which on (nearly) all samples switch grows with the depth L.",
            "grows with L",
            f"slope of log {name}99 on L above 0; {name}99 is where the share reaches 99% for good, at the largest"
            f" {'k' if name == 'd' else 'd'}, clipped to the grid",
            parts=parts,
            holds=(np.nextafter(0, 1), np.inf),
            rows=samples[samples[other] == samples[other].max()],
            figure="switched",
            files=files,
        )


def _claim_3(judge: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> pd.DataFrame:
    """Judges flatness in d and k, and returns the table of all slopes."""
    depths = sorted(int(depth) for depth in he.table["depth"].unique())
    groups = (("two-layer", [1]), ("deeper", [depth for depth in depths if depth > 1]))
    wide = (he.table["input_dim"] >= 50) & (he.table["width"] >= 50)
    table = []
    for quantity, label in (("step", "The smallest step"), ("gradient", "The gradient's norm")):
        for suffix, group in groups:
            found: dict[str, list[Part]] = {"input_dim": [], "width": []}
            for depth in group:
                for region, inside in (("all", wide | True), ("d, k >= 50", wide)):
                    cells = he.where((he.table["depth"] == depth) & inside)
                    for axis, fitted in log_slopes(cells, cells.step if quantity == "step" else cells.gradient).items():
                        low, high = percentile_interval(fitted[1:], _corrected(len(group)))
                        name = {"input_dim": "d", "width": "k"}[axis]
                        table.append((quantity, name, depth, region, float(fitted[0]), low, high))
                        if region == "all":
                            found[axis].append((float(fitted[0]), (low, high)))
            if not group:
                continue
            for axis, name in (("input_dim", "d"), ("width", "k")):
                judge.add(
                    f"fig{'2a' if quantity == 'step' else '2b'}.{quantity}-in-{name}.{suffix}",
                    f"{label} is about constant in {name}" + (", for deeper networks too." if suffix == "deeper" else "."),
                    "about constant",
                    f"slope of log mean on log {name} (joint fit on log d, log k over all cells) within +-0.05"
                    + (
                        "" if suffix == "two-layer" else ", at every depth; intervals corrected for their number, the deciding one is shown"
                    ),
                    parts=found[axis],
                    holds=(-0.05, 0.05),
                    rows=samples[samples["depth"].isin(group)],
                    figure=quantity,
                    files=files,
                )
    return pd.DataFrame(table, columns=["quantity", "axis", "depth", "cells", "slope", "low", "high"])


def _proposition_3(judge: _Judge, two_layer: pd.DataFrame, gammas: Sequence[float], files: Sequence[Path]) -> pd.DataFrame:
    """Judges the explicit bounds, and returns the table of violations by cell and gamma."""
    rows = _first_inputs(two_layer)
    cells = _cells(rows)
    table = []
    for bound, statement in (
        ("value", "Proposition 3: |f(x)| exceeds its explicit bound with probability at most gamma."),
        ("gradient", "Proposition 3: the gradient's norm is below its explicit bound with probability at most gamma."),
    ):
        telling, used = [], []
        for cell in cells:
            width, dim = int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0])
            for gamma in gammas:
                if bound == "value":
                    limit = float(bounds.value_bound(gamma, width))
                    violated = cell["value"].abs() > limit
                else:
                    limit = float(bounds.gradient_bound(gamma, width, dim))
                    violated = cell["gradient_norm"] < limit
                table.append((bound, width, dim, gamma, limit, int(violated.sum()), len(cell)))
                if limit > 0 and len(cell) >= 4 / gamma:
                    telling.append((cell, violated, gamma))
                    used.append((width, dim))
        judge.add(
            f"prop3.{bound}",
            statement,
            "share <= gamma",
            "share of violations over gamma at most 1 at every gamma and in every cell where the bound says something;"
            " exact binomial, one input a network, >= 4/gamma networks, corrected for their number",
            parts=[_share(cell, violated, len(telling), gamma) for cell, violated, gamma in telling],
            holds=(0.0, 1.0),
            rows=rows[[pair in used for pair in zip(rows["width"], rows["input_dim"], strict=True)]],
            figure="bounds",
            files=files,
        )
    return pd.DataFrame(table, columns=["bound", "width", "input_dim", "gamma", "limit", "violations", "networks"])


def _perturbation(judge: _Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    shallow = he.where(he.table["depth"] == 1)
    relative = shallow.perturbation / np.sqrt(shallow.table["input_dim"].to_numpy(float))
    fitted = log_slopes(shallow, relative).get("input_dim")
    judge.add(
        "thm2.perturbation",
        "Theorem 2: the perturbation's norm is about ||x|| / sqrt(d).",
        "exponent -0.5 in d",
        "slope of log mean ||delta|| / ||x|| on log d (joint fit on log d, log k, one hidden layer) within 0.1 of -0.5",
        parts=[] if fitted is None else [(float(fitted[0]), percentile_interval(fitted[1:]))],
        holds=(-0.6, -0.4),
        rows=samples[samples["depth"] == 1],
        figure="law",
        files=files,
    )


def _fixed_step(judge: _Judge, fixed: pd.DataFrame, constant: float, files: Sequence[Path]) -> None:
    largest = _first_inputs(fixed[(fixed["width"] == fixed["width"].max()) & (fixed["input_dim"] == fixed["input_dim"].max())])
    gammas = {c: float(np.exp(-((c / constant) ** 2))) for c in largest["coefficient"].unique()}
    cells = {c: cell for c, cell in largest.groupby("coefficient") if len(cell) * gammas[c] >= 4}
    judge.add(
        "thm2.fixed-step",
        f"Theorem 2 with C4 = {constant:g}: the step C4 sqrt(log(1/gamma)) / ||grad f||^2 flips the sign with probability >= 1 - gamma.",
        "share not flipped <= gamma, some constant C4",
        "share not flipped over gamma at most 1 in the largest cell, at every step c = C4 sqrt(log(1/gamma)) of the grid with >= 4/gamma"
        " networks; exact binomial, one input a network, corrected for their number (no sampled width meets the theorem's"
        " log^6(d) log(1/gamma) <= k: this asks for more than it promises)",
        parts=[_share(cell, cell["status"] != "switched", len(cells), gammas[c]) for c, cell in cells.items()],
        holds=(0.0, 1.0),
        rows=largest[largest["coefficient"].isin(list(cells))],
        figure="fixed_step",
        files=files,
    )


def _proposition_4(judge: _Judge, fixed: pd.DataFrame, files: Sequence[Path]) -> None:
    covered = fixed[(fixed["radius"] >= 1) & (fixed["radius"] <= np.sqrt(fixed["input_dim"]) / 2) & (fixed["width"] >= 52**2)]
    change = covered[["gradient_change", "random_gradient_change"]].max(axis=1)
    limit = bounds.gradient_change_bound(covered["radius"], covered["width"], covered["input_dim"])
    ratio = float((change / limit).max()) if len(covered) else np.nan
    judge.add(
        "prop4.gradient-change",
        "Proposition 4: in a ball of radius R the gradient changes by no more than its explicit bound (for k >= 52^2).",
        "supremum below the bound",
        "a supremum: fails if the largest change found along the gradient or a random direction exceeds the bound (ratio above 1), else"
        " not contradicted",
        parts=[(ratio, (ratio, ratio))] if len(covered) else [],
        holds=(0.0, 1.0),
        rows=covered,
        figure="fixed_step",
        files=files,
        supremum=True,
    )


def _universal(judge: _Judge, universal: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    rows = universal[_beyond_fifty(universal)]
    first, cells = _first_inputs(rows), _cells(rows)
    judge.add(
        "universal.share",
        "One fixed direction, +-(sum a_l w_l), flips all inputs of a two-layer network by some step below the cap.",
        "flips (no figure)",
        "share flipped along one of the two signs >= 99% in every cell with d, k > 50; exact binomial, one input a network, corrected",
        parts=[_share(cell, cell["status"] == "switched", len(cells)) for cell in _cells(first)],
        holds=(0.99, 1.0),
        rows=first,
        figure="universal",
        files=files,
    )
    largest = first[(first["width"] == first["width"].max()) & (first["input_dim"] == first["input_dim"].max())]
    judge.add(
        "universal.perturbation",
        "One fixed perturbation, of either sign and the length of a few ||x|| / sqrt(d), flips all inputs of a two-layer network.",
        "flips (no figure)",
        "share flipped by the perturbation of the configured length (universal_reach) >= 99% in the largest cell; exact binomial,"
        " one input a network",
        parts=[_share(largest, largest["fixed_value"] * np.sign(largest["value"]) < 0, 1)] if len(largest) else [],
        holds=(0.99, 1.0),
        rows=largest,
        figure="universal",
        files=files,
    )
    lengths = []
    for cell in cells:
        ratio = by_network(cell, cell["universal_norm"] / cell["gradient_norm"]).mean(1)
        name = ("universal", int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0]))
        lengths.append(_mean(ratio, seed, *name, level=_corrected(len(cells))))
    judge.add(
        "universal.length",
        "The universal direction is sqrt 2 times as long as the gradient.",
        "sqrt 2 (this project's law)",
        "mean ratio within 5% of sqrt 2 in every cell with d, k > 50; networks resampled, corrected for the number of cells",
        parts=lengths,
        holds=(laws.UNIVERSAL_LENGTH_RATIO * 0.95, laws.UNIVERSAL_LENGTH_RATIO * 1.05),
        rows=rows,
        figure="universal",
        files=files,
    )


def _half_normal(judge: _Judge, samples: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    largest = samples[(samples["width"] == samples["width"].max()) & (samples["input_dim"] == samples["input_dim"].max())]
    depths = list(largest.sort_values(["depth", "network", "input"]).groupby("depth"))
    medians = []
    for depth, cell in depths:
        values = by_network(cell, cell["perturbation_norm"].fillna(np.inf))
        replicates = weighted_medians(resampling_weights(len(values), seed, "singlestep", "law", int(str(depth))), values)
        medians.append((float(replicates[0]), percentile_interval(replicates[1:], _corrected(len(depths)))))
    judge.add(
        "law.half-normal",
        "sqrt(d) ||delta|| / ||x|| follows |N(0, 1)| at every depth: its median is 0.674.",
        "0.674 (this project's law)",
        "median within 20% of the half-normal's in the largest cell at every depth; networks resampled, corrected for the number of depths",
        parts=medians,
        holds=(0.8 * laws.HALF_NORMAL_MEDIAN, 1.2 * laws.HALF_NORMAL_MEDIAN),
        rows=largest,
        figure="law",
        files=files,
    )


def _gradient_law(judge: _Judge, fixed: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    # The law counts neurons as if they did not know of the step; at a width that is not large against d each neuron's own part in
    # the gradient, 2 d / k of the rest, makes it switch more often. A dead network has no gradient to change.
    coefficient = min(fixed["coefficient"].unique(), key=lambda c: abs(c - 1))
    rows = fixed[(fixed["coefficient"] == coefficient) & (fixed["width"] >= 10 * fixed["input_dim"]) & (fixed["status"] != "dead")]
    cells = _cells(rows[rows["input_dim"] > 50])
    ratios = []
    for cell in cells:
        predicted = laws.gradient_change(cell["radius"], cell["input_dim"])
        ratio = by_network(cell, cell["gradient_change"] / cell["gradient_norm"] / predicted).mean(1)
        name = ("gradient-change", int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0]))
        ratios.append(_mean(ratio, seed, *name, level=_corrected(len(cells))))
    judge.add(
        "law.gradient-change",
        "Where k >= 10 d, over a step of length R along it the gradient changes by sqrt(2 R / (pi sqrt d)) of its length.",
        "ratio 1 (this project's law)",
        "mean ratio of the measured change to the law within 20% of 1 at the step c nearest to 1, in every cell with d > 50 and k >= 10 d;"
        " networks resampled, corrected for the number of cells",
        parts=ratios,
        holds=(0.8, 1.2),
        rows=rows[rows["input_dim"] > 50],
        figure="fixed_step",
        files=files,
    )


def _table(path: Path, frame: pd.DataFrame, born: dict[str, Any]) -> None:
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_certificate(path, born)


def assess(
    sample_files: Sequence[Path],
    universal_files: Sequence[Path],
    fixed_files: Sequence[Path],
    gammas: Sequence[float],
    fixed_step_constant: float,
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
    judge = _Judge(scale)
    _claim_1(judge, two_layer, sample_files)
    _claim_2(judge, he, samples, sample_files)
    slope_table = _claim_3(judge, he, samples, sample_files)
    violations = _proposition_3(judge, two_layer, gammas, sample_files)
    _perturbation(judge, he, samples, sample_files)
    _fixed_step(judge, fixed, fixed_step_constant, fixed_files)
    _proposition_4(judge, fixed, fixed_files)
    _universal(judge, universal, seed, universal_files)
    _half_normal(judge, samples, seed, sample_files)
    _gradient_law(judge, fixed, seed, fixed_files)

    exceptions = two_layer[_beyond_fifty(two_layer) & (two_layer["status"] != "switched")]
    parameters = {"gammas": list(gammas), "fixed_step_constant": fixed_step_constant, "scale": scale}
    born = certificate(parameters=parameters, modules=[__name__], inputs=[*sample_files, *universal_files, *fixed_files], seed=seed)
    for name, frame in (("cells", cells.table), ("slopes", slope_table), ("bounds", violations), ("exceptions", exceptions)):
        _table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
