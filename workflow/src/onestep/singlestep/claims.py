"""The claims of `singlestep`, each with its rule, judged from the records. The rules were written before the first laptop run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep import claims, records
from onestep.claims import Judge, Part
from onestep.provenance import certificate
from onestep.singlestep import summary
from onestep.singlestep.summary import (
    ENOUGH,
    SMOOTH,
    VARIANT_KEY,
    Cells,
    Comparison,
    by_network,
    cell_columns,
    first_inputs,
    largest_cell,
    log_slopes,
    summarise,
    threshold,
    well_sampled,
)
from onestep.statistics.intervals import LEVEL, corrected, exact_quantile, percentile_interval, resampling_weights, share, share_difference
from onestep.statistics.slopes import slopes
from onestep.theory import bounds, laws

Array = NDArray[np.float64]
Files = Mapping[str, Sequence[Path]]

_CELLS = f"every cell with at least {ENOUGH} networks"
_HESSIAN_NETWORKS = 30
"""So many are enough for the mean of a norm, which varies by a few percent between networks."""


def _beyond_fifty(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Cells or rows that claim 1 speaks of."""
    return (frame["width"] > 50) & (frame["input_dim"] > 50)


def _mean(values: Array, seed: int, *name: str | int, level: float = LEVEL) -> Part:
    """Mean over networks [N] and its interval."""
    weights = resampling_weights(len(values), seed, "singlestep", *name)
    means = weights @ values / weights.sum(1)
    return float(means[0]), percentile_interval(means[1:], level)


def _cells(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each cell, sorted by network and input."""
    names = cell_columns(rows)
    ordered = rows.sort_values([*names, "network", "input"], kind="stable")
    return [cell for _, cell in ordered.groupby(names)]


# ---------------------------------------------------------------- Figures 1 and 2


def _switched(judge: Judge, rows: pd.DataFrame, name: str, statement: str, published: str, figure: str, files: Sequence[Path]) -> None:
    """Claim 1, for networks of one kind."""
    rows = first_inputs(rows[_beyond_fifty(rows)])
    cells = _cells(rows)
    judge.add(
        name,
        statement,
        published,
        f"share switched >= 99.5% in {_CELLS} and d, k > 50; exact binomial over networks, one input each, corrected for the number of"
        " cells",
        parts=[share(cell["status"] == "switched", corrected(len(cells))) for cell in cells],
        holds=(0.995, 1.0),
        rows=rows,
        figure=figure,
        files=files,
    )


def _claim_2(judge: Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
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
            f" {'k' if name == 'd' else 'd'} with at least {ENOUGH} networks, clipped to the grid",
            parts=parts,
            holds=(np.nextafter(0, 1), np.inf),
            rows=samples[samples[other] == he.table[other].max()],
            figure="switched",
            files=files,
        )


def _claim_3(judge: Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> pd.DataFrame:
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
                        low, high = percentile_interval(fitted[1:], corrected(len(group)))
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
                    f"slope of log mean on log {name} (joint fit on log d, log k over all cells with at least {ENOUGH} networks) within"
                    " +-0.05"
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


# ---------------------------------------------------------------- Propositions 1 to 4, Theorems 1 and 2


def _explicit_bounds(
    judge: Judge, rows: pd.DataFrame, proposition: int, gammas: Sequence[float], activations: pd.DataFrame, files: Sequence[Path]
) -> pd.DataFrame:
    """Judges Proposition 3 (relu) or 1 (smooth activations), and returns the table of violations by cell and gamma.

    Proposition 1 asks for a 1-Lipschitz activation: it speaks of psi / M, M = max |psi'|, and its bounds times M of psi.
    """
    rows = first_inputs(rows)
    cells = _cells(rows)
    scaled = "" if proposition == 3 else " (for psi / max |psi'|, which is 1-Lipschitz)"
    table = []
    for bound, statement in (
        ("value", "|f(x)| exceeds its explicit bound with probability at most gamma."),
        ("gradient", "the gradient's norm is below its explicit bound with probability at most gamma."),
    ):
        telling, used = [], []
        for cell in cells:
            width, dim, activation = int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0]), str(cell["activation"].iloc[0])
            slope, largest = activations["slope_squared"][activation], activations["lipschitz"][activation]
            for gamma in gammas:
                if bound == "value":
                    limit = float(
                        bounds.value_bound(gamma, width) if proposition == 3 else largest * bounds.smooth_value_bound(gamma, width)
                    )
                    violated = cell["value"].abs() > limit
                else:
                    smooth = largest * bounds.smooth_gradient_bound(gamma, width, dim, slope)
                    limit = float(bounds.gradient_bound(gamma, width, dim) if proposition == 3 else smooth)
                    violated = cell["gradient_norm"] < limit
                table.append((activation, bound, width, dim, gamma, limit, int(violated.sum()), len(cell)))
                if limit > 0 and len(cell) >= 4 / gamma:
                    telling.append((violated, gamma))
                    used.append((activation, width, dim))
        judge.add(
            f"prop{proposition}.{bound}",
            f"Proposition {proposition}: {statement}",
            "share <= gamma",
            f"share of violations over gamma at most 1 at every gamma and in {_CELLS} where the bound says something{scaled};"
            " exact binomial, one input a network, >= 4/gamma networks, corrected for their number",
            parts=[share(violated, corrected(len(telling)), gamma) for violated, gamma in telling],
            holds=(0.0, 1.0),
            rows=rows[[cell in set(used) for cell in zip(rows["activation"], rows["width"], rows["input_dim"], strict=True)]],
            figure="bounds",
            files=files,
        )
    return pd.DataFrame(table, columns=["activation", "bound", "width", "input_dim", "gamma", "limit", "violations", "networks"])


def _perturbation(judge: Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    shallow = he.where(he.table["depth"] == 1)
    relative = shallow.perturbation / np.sqrt(shallow.table["input_dim"].to_numpy(float))
    fitted = log_slopes(shallow, relative).get("input_dim")
    judge.add(
        "thm2.perturbation",
        "Theorem 2: the perturbation's norm is about ||x|| / sqrt(d).",
        "exponent -0.5 in d",
        f"slope of log mean ||delta|| / ||x|| on log d (joint fit on log d, log k, one hidden layer, all cells with at least {ENOUGH}"
        " networks) within 0.1 of -0.5",
        parts=[] if fitted is None else [(float(fitted[0]), percentile_interval(fitted[1:]))],
        holds=(-0.6, -0.4),
        rows=samples[samples["depth"] == 1],
        figure="law",
        files=files,
    )


def _fixed_step(judge: Judge, theorem: int, fixed: pd.DataFrame, constant: float, remark: str, files: Sequence[Path]) -> None:
    """The theorems' own step; each activation has its own constant in the theorem, and here the same."""
    largest = first_inputs(largest_cell(fixed))
    cells = [
        (cell, float(np.exp(-((cell["coefficient"].iloc[0] / constant) ** 2))))
        for _, cell in largest.groupby(["activation", "coefficient"])
    ]
    cells = [(cell, gamma) for cell, gamma in cells if len(cell) * gamma >= 4]
    name = {1: "C3", 2: "C4"}[theorem]
    judge.add(
        f"thm{theorem}.fixed-step",
        f"Theorem {theorem} with {name} = {constant:g}: the step {name} sqrt(log(1/gamma)) / ||grad f||^2 flips the sign with probability"
        " >= 1 - gamma" + ("." if theorem == 2 else f", for {', '.join(SMOOTH[:-1])} and {SMOOTH[-1]}."),
        f"share not flipped <= gamma, some constant {name}",
        f"share not flipped over gamma at most 1 in the largest cell with at least {ENOUGH} networks, at every step"
        f" c = {name} sqrt(log(1/gamma)) of the grid with >= 4/gamma networks; exact binomial, one input a network, corrected for their"
        f" number ({remark})",
        parts=[share(cell["status"] != "switched", corrected(len(cells)), gamma) for cell, gamma in cells],
        holds=(0.0, 1.0),
        rows=pd.concat([cell for cell, _ in cells]) if cells else largest.iloc[:0],
        figure="fixed_step",
        files=files,
    )


def _largest_change(rows: pd.DataFrame) -> "pd.Series[float]":
    """The largest change of the gradient found at a network's point: along the gradient, or in a random direction."""
    return rows[["gradient_change", "random_gradient_change"]].max(axis=1)


def _proposition_2(judge: Judge, smooth: pd.DataFrame, gammas: Sequence[float], activations: pd.DataFrame, files: Sequence[Path]) -> None:
    covered, gamma = first_inputs(smooth[smooth["radius"] >= 1]), max(gammas)
    curvature = covered["activation"].map(activations["curvature"] * activations["lipschitz"])  # max |psi''| of psi itself
    limit = bounds.smooth_change_bound(covered["radius"], covered["width"], covered["input_dim"], gamma, curvature)
    ratio = _largest_change(covered) / limit
    largest = float(ratio.max()) if len(covered) else np.nan
    parts = [(largest, (largest, largest))] if len(covered) else []
    if largest > 1:
        by_cell = [cell for _, cell in ratio.groupby([covered[name] for name in (*cell_columns(covered), "coefficient")])]
        parts = [share(cell > 1, corrected(len(by_cell)), gamma) for cell in by_cell]
    judge.add(
        "prop2.gradient-change",
        "Proposition 2: in a ball of radius R >= 1 the gradient changes by no more than its explicit bound (smooth activations).",
        "supremum below the bound, with probability 1 - gamma",
        "a supremum: not contradicted if the largest change found along the gradient or a random direction stays below the bound at the"
        " largest gamma (ratio at most 1); else fails if in some cell more than gamma of the networks exceed it (share over gamma, exact"
        " binomial, corrected)",
        parts=parts,
        holds=(0.0, 1.0),
        rows=covered,
        figure="fixed_step",
        files=files,
        searched=True,
    )


def _proposition_4(judge: Judge, fixed: pd.DataFrame, files: Sequence[Path]) -> None:
    covered = fixed[(fixed["radius"] >= 1) & (fixed["radius"] <= np.sqrt(fixed["input_dim"]) / 2) & (fixed["width"] >= 52**2)]
    limit = bounds.gradient_change_bound(covered["radius"], covered["width"], covered["input_dim"])
    ratio = float((_largest_change(covered) / limit).max()) if len(covered) else np.nan
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
        searched=True,
    )


def _hessian(judge: Judge, rows: pd.DataFrame, seed: int, files: Sequence[Path]) -> pd.DataFrame:
    """Judges how the Hessian's norm falls with the dimension, and returns the table of its means."""
    table, replicates = summary.hessian_cells(rows, seed)
    for activation in SMOOTH:
        wide = (table["activation"] == activation) & (table["width"] == 10 * table["input_dim"])
        dims = table.loc[wide, "input_dim"].to_numpy(float)
        fitted = slopes(np.log(replicates[:, wide.to_numpy()]), np.log(dims))[:, 0] if len(dims) > 1 else None
        judge.add(
            f"thm1.hessian.{activation}",
            f"The Hessian's norm falls like 1/sqrt(d) where k is large against d, for {activation}.",
            "about max(1/sqrt(d), 1/sqrt(k))",
            "slope of log mean norm on log d at k = 10 d within 0.05 of -0.5; networks resampled, at least"
            f" {_HESSIAN_NETWORKS} in each cell",
            parts=[] if fitted is None else [(float(fitted[0]), percentile_interval(fitted[1:]))],
            holds=(-0.55, -0.45),
            rows=rows[(rows["activation"] == activation) & (rows["width"] == 10 * rows["input_dim"])],
            figure="hessian",
            files=files,
            needed=_HESSIAN_NETWORKS,
        )
    return table


# ---------------------------------------------------------------- other output layers, a bias, one direction for all inputs


def _variant(
    judge: Judge,
    name: str,
    variant: str,
    words: str,
    comparison: Comparison,
    rows: pd.DataFrame,
    relu: pd.DataFrame,
    files: Sequence[Path],
) -> None:
    """Claim 6: networks of one variant beside those of `sample`."""
    table = comparison.table
    chosen = (table["variant"] == variant) & _beyond_fifty(table) & (table["judged"] == 1)
    places = set(zip(table.loc[chosen, "width"], table.loc[chosen, "input_dim"], strict=True))

    def inside(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[[place in places for place in zip(frame["width"], frame["input_dim"], strict=True)]]

    ours, theirs = inside(rows[rows["variant"] == variant]), inside(relu)
    both = pd.concat([ours, theirs.assign(variant="relu")])
    pairs = list(zip(_cells(first_inputs(ours)), _cells(first_inputs(theirs)), strict=True))
    shares = [share_difference(a["status"] == "switched", b["status"] == "switched", corrected(len(pairs))) for a, b in pairs]
    judge.add(
        f"{name}.switched",
        f"{words} makes no difference to the share of samples that a single step flips where d, k > 50.",
        "qualitatively the same" if name == "footnote2" else "the results also hold",
        f"difference of the shares switched within 0.5 points in {_CELLS} of either kind and d, k > 50; one input a network, Newcombe's"
        " interval from the exact binomial ones of both, corrected for the number of cells",
        parts=shares,
        holds=(-0.005, 0.005),
        rows=first_inputs(both),
        figure="variants",
        files=files,
    )
    ratio = np.exp(np.log(comparison.step_ratio[:, chosen.to_numpy()]).sum(axis=1) / max(1, chosen.sum()))
    judge.add(
        f"{name}.step",
        f"{words} makes no difference to the mean smallest step where d, k > 50.",
        "qualitatively the same" if name == "footnote2" else "the results also hold",
        f"ratio of the two mean steps within 5% of 1, the geometric mean over all cells with d, k > 50 and at least {ENOUGH} networks of"
        " either kind; the networks of both resampled",
        parts=[(float(ratio[0]), percentile_interval(ratio[1:]))] if places else [],
        holds=(0.95, 1.05),
        rows=both,
        figure="variants",
        files=files,
    )


def _universal(judge: Judge, universal: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    rows = universal[_beyond_fifty(universal)]
    first, cells = first_inputs(rows), _cells(rows)
    judge.add(
        "universal.share",
        "One fixed direction, +-(sum a_l w_l), flips all inputs of a two-layer network by some step below the cap.",
        "flips (no figure)",
        f"share flipped along one of the two signs >= 99% in {_CELLS} and d, k > 50; exact binomial, one input a network, corrected",
        parts=[share(cell["status"] == "switched", corrected(len(cells))) for cell in _cells(first)],
        holds=(0.99, 1.0),
        rows=first,
        figure="universal",
        files=files,
    )
    largest = largest_cell(first)
    judge.add(
        "universal.perturbation",
        "One fixed perturbation, of either sign and the length of a few ||x|| / sqrt(d), flips all inputs of a two-layer network.",
        "flips (no figure)",
        "share flipped by the perturbation of the configured length (universal_reach) >= 99% in the largest cell with at least"
        f" {ENOUGH} networks; exact binomial, one input a network",
        parts=[share(largest["fixed_value"] * np.sign(largest["value"]) < 0)] if len(largest) else [],
        holds=(0.99, 1.0),
        rows=largest,
        figure="universal",
        files=files,
    )
    lengths = []
    for cell in cells:
        ratio = by_network(cell, cell["universal_norm"] / cell["gradient_norm"]).mean(1)
        name = ("universal", int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0]))
        lengths.append(_mean(ratio, seed, *name, level=corrected(len(cells))))
    judge.add(
        "universal.length",
        "The universal direction is sqrt 2 times as long as the gradient.",
        "sqrt 2 (this project's law)",
        f"mean ratio within 5% of sqrt 2 in {_CELLS} and d, k > 50; networks resampled, corrected for the number of cells",
        parts=lengths,
        holds=(laws.UNIVERSAL_LENGTH_RATIO * 0.95, laws.UNIVERSAL_LENGTH_RATIO * 1.05),
        rows=rows,
        figure="universal",
        files=files,
    )


# ---------------------------------------------------------------- laws


def _half_normal(judge: Judge, he: Cells, samples: pd.DataFrame, files: Sequence[Path]) -> None:
    width, dim = largest_cell(he.table)[["width", "input_dim"]].max()
    chosen = he.where((he.table["width"] == width) & (he.table["input_dim"] == dim))
    level = corrected(len(chosen.table))
    judge.add(
        "law.half-normal",
        "sqrt(d) ||delta|| / ||x|| follows |N(0, 1)| at every depth: its median is 0.674.",
        "0.674 (this project's law)",
        f"median within 20% of the half-normal's at every depth, in the largest cell with at least {ENOUGH} networks; networks resampled,"
        " corrected for the number of depths",
        parts=[(float(median[0]), percentile_interval(median[1:], level)) for median in chosen.median.T],
        holds=(0.8 * laws.HALF_NORMAL_MEDIAN, 1.2 * laws.HALF_NORMAL_MEDIAN),
        rows=largest_cell(samples),
        figure="law",
        files=files,
    )


def _infinite_width(judge: Judge, two_layer: pd.DataFrame, limit: pd.DataFrame, files: Sequence[Path]) -> None:
    rows = two_layer[(two_layer["width"] == two_layer["width"].max()) & two_layer["input_dim"].isin(limit["input_dim"])]
    cells = _cells(rows)
    level = corrected(2 * len(cells))  # both intervals of a ratio, in every cell
    ratios = []
    for cell in cells:
        others = limit[limit["input_dim"] == cell["input_dim"].iloc[0]]
        (ours, (low, high)), (theirs, (their_low, their_high)) = (
            exact_quantile(part["perturbation_norm"].fillna(np.inf), 0.5, part["network"].nunique(), level) for part in (cell, others)
        )
        ratios.append((ours / theirs, (low / their_high, high / their_low)))
    judge.add(
        "law.infinite-width",
        "The perturbation's length follows the law of infinitely wide networks at every d: the two medians agree.",
        "open (k = infinity; this project's law)",
        f"ratio of the measured median to that at infinite width within 20% of 1 at every d, at the largest width with at least {ENOUGH}"
        " networks (one hidden layer); exact intervals of both medians, each network one observation, corrected for their number",
        parts=ratios,
        holds=(0.8, 1.2),
        rows=rows,
        figure="infinite_width",
        files=files,
    )


def _gradient_law(judge: Judge, fixed: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
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
        ratios.append(_mean(ratio, seed, *name, level=corrected(len(cells))))
    judge.add(
        "law.gradient-change",
        "Where k >= 10 d, over a step of length R along it the gradient changes by sqrt(2 R / (pi sqrt d)) of its length.",
        "ratio 1 (this project's law)",
        f"mean ratio of the measured change to the law within 20% of 1 at the step c nearest to 1, in {_CELLS}, d > 50 and k >= 10 d;"
        " networks resampled, corrected for the number of cells",
        parts=ratios,
        holds=(0.8, 1.2),
        rows=rows[rows["input_dim"] > 50],
        figure="fixed_step",
        files=files,
    )


def assess(files: Files, gammas: Sequence[float], constant: float, scale: str, seed: int, tables: Path, out: Path) -> None:
    """Judges every claim and writes them, with the tables that they rest on.

    `files`: the record files of each experiment by its name; `constant`: C3 of Theorem 1 and C4 of Theorem 2.
    """
    read = {name: records.read(paths) for name, paths in files.items()}
    activations = summary.activation_table(max(gammas))
    cells = summarise(read["sample"], seed)
    he = cells.where((cells.table["hidden_scale"] == "he") & (cells.table["judged"] == 1))
    everything = read["sample"][read["sample"]["hidden_scale"] == "he"]
    samples, universal, fixed, variants = (well_sampled(rows) for rows in (everything, read["universal"], read["fixed"], read["variants"]))
    two_layer = samples[samples["depth"] == 1]
    relu, smooth = fixed[fixed["activation"] == "relu"], fixed[fixed["activation"] != "relu"]
    curved = variants[variants["variant"].isin(SMOOTH)].rename(columns={"variant": "activation"})
    shallow = cells.where((cells.table["depth"] == 1) & (cells.table["hidden_scale"] == "he"))
    comparison = summary.compare(summarise(read["variants"], seed, VARIANT_KEY), shallow, activations)

    judge = Judge("singlestep", scale, summary.CELL, "random inputs (no data set)", ENOUGH)
    two = "For one hidden layer and d, k > 50 a single gradient step flips every sample."
    _switched(judge, two_layer, "fig1.two-layer", two, "100%", "switched", files["sample"])
    _claim_2(judge, he, samples, files["sample"])
    slope_table = _claim_3(judge, he, samples, files["sample"])
    violations = [_explicit_bounds(judge, two_layer.assign(activation="relu"), 3, gammas, activations, files["sample"])]
    _perturbation(judge, he, samples, files["sample"])
    remark = "its width does not meet the theorem's log^6(d) log(1/gamma) <= k, even for C1 = 1: this asks for more than it promises"
    _fixed_step(judge, 2, relu, constant, remark, files["fixed"])
    _proposition_4(judge, read["fixed"][read["fixed"]["activation"] == "relu"], files["fixed"])
    for activation in SMOOTH:
        statement = f"With {activation} as activation, too, and d, k > 50 a single gradient step flips every sample."
        rows = curved[curved["activation"] == activation]
        _switched(judge, rows, f"thm1.switched.{activation}", statement, "with high probability (no figure)", "variants", files["variants"])
    violations.append(_explicit_bounds(judge, curved, 1, gammas, activations, files["variants"]))
    _proposition_2(judge, read["fixed"][read["fixed"]["activation"] != "relu"], gammas, activations, files["fixed"])
    least = float(f"{activations['proof_width'].min():.0e}")
    remark = f"the proof's own constant, 32/c_psi^2, asks for k >= {least:,.0f} at gamma = {max(gammas):g}, which no sampled width has"
    _fixed_step(judge, 1, smooth, constant, remark, files["fixed"])
    hessian_table = _hessian(judge, read["hessian"], seed, files["hessian"])
    both = [*files["variants"], *files["sample"]]
    for name, variant, words in (
        ("footnote2", "gaussian-output", "Footnote 2: a Gaussian output layer"),
        ("bias", "bias", "A bias unit, left alone by the step,"),
    ):
        _variant(judge, name, variant, words, comparison, variants, two_layer, both)
    _universal(judge, universal, seed, files["universal"])
    _half_normal(judge, he, samples, files["sample"])
    _infinite_width(judge, two_layer, read["limit"], [*files["sample"], *files["limit"]])
    _gradient_law(judge, relu, seed, files["fixed"])

    limit_table = summary.infinite_width_cells(two_layer, read["limit"])
    made = {
        "cells": cells.table,
        "slopes": slope_table,
        "bounds": pd.concat(violations),
        "exceptions": everything[(everything["depth"] == 1) & _beyond_fifty(everything) & (everything["status"] != "switched")],
        "variants": comparison.table,
        "activations": activations,
        "hessian": hessian_table,
        "infinite_width": limit_table,
        "convergence": summary.convergence(limit_table, two_layer, read["limit"], seed),
        "bracket": summary.bracket_cells(read["bracket"]),
    }
    parameters = {"gammas": list(gammas), "constant": constant, "scale": scale}
    born = certificate(parameters=parameters, modules=[__name__], inputs=[file for paths in files.values() for file in paths], seed=seed)
    for name, frame in made.items():
        records.write_table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
