"""From the records of `singlestep` to one row a cell, with intervals that resample networks; shared by its figures and claims."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from onestep.networks.activations import ACTIVATIONS
from onestep.statistics.intervals import (
    LEVEL,
    as_columns,
    exact_quantile,
    exact_share,
    percentile_interval,
    resampling_weights,
    weighted_quantiles,
)
from onestep.statistics.slopes import slopes
from onestep.theory import bounds, laws

Array = NDArray[np.float64]
KEY = ["depth", "width", "input_dim", "hidden_scale"]
VARIANT_KEY = ["depth", "width", "input_dim", "variant"]
CELL = [*KEY[:3], "variant", "activation"]
SMOOTH = ("tanh", "softplus", "gelu")
ENOUGH = 100
"""A cell with fewer networks is shown and not judged, but for claims about extremes."""


def cell_columns(rows: pd.DataFrame) -> list[str]:
    """What names the networks' cell in these records; both hidden scales are the same networks."""
    return [column for column in CELL if column in rows]


def networks_in_cells(rows: pd.DataFrame) -> "pd.Series[int]":
    """For each row, how many networks its cell has."""
    return rows.groupby(cell_columns(rows))["network"].transform("nunique")


def enough(depth: "pd.Series[int]", networks: "pd.Series[int]") -> "pd.Series[bool]":
    """Whether cells have ENOUGH networks; at a depth at which none has, those that have the most there."""
    return networks >= networks.groupby(depth).transform("max").clip(upper=ENOUGH)


def well_sampled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of cells with enough networks."""
    return rows[enough(rows["depth"], networks_in_cells(rows))]


def largest_cell(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows or cells at the largest width and, there, the largest dimension."""
    widest = rows[rows["width"] == rows["width"].max()]
    largest: pd.DataFrame = widest[widest["input_dim"] == widest["input_dim"].max()]
    return largest


def first_inputs(rows: pd.DataFrame) -> pd.DataFrame:
    """One input of each network: independent observations."""
    return rows[rows["input"] == 0]


def by_width_and_dim(rows: pd.DataFrame) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """Each width and dimension, and the rows there, sorted by network."""
    for _, cell in rows.sort_values(["width", "input_dim", "network"], kind="stable").groupby(["width", "input_dim"]):
        yield int(cell["width"].iloc[0]), int(cell["input_dim"].iloc[0]), cell


@dataclass(frozen=True)
class Cells:
    """One row a cell, and the bootstrap replicates [R + 1, cells] of its means and of a median (row 0: the estimates)."""

    table: pd.DataFrame
    share: Array
    step: Array
    gradient: Array
    perturbation: Array
    median: Array  # of the perturbation's length, a sample that did not switch counting as infinitely far

    def where(self, mask: "pd.Series[bool]") -> "Cells":
        """The cells at which the mask is true."""
        kept = mask.to_numpy()
        parts = (getattr(self, part.name)[:, kept] for part in fields(self)[1:])
        return Cells(self.table[kept].reset_index(drop=True), *parts)


def by_network(rows: pd.DataFrame, values: Any) -> Array:
    """Values of one cell's rows, sorted by network and input, as [networks, inputs]."""
    return np.asarray(values, dtype=np.float64).reshape(rows["network"].nunique(), -1)


def _ratio(weights: Array, above: Array, below: Array) -> Array:
    """sum w above / sum w below for each row of weights; not a number where nothing is below."""
    total = weights @ below
    ratio: Array = np.divide(weights @ above, total, out=np.full(len(total), np.nan), where=total > 0)
    return ratio


@lru_cache(maxsize=1)
def _named_weights(networks: int, seed: int, *name: str) -> Array:
    return resampling_weights(networks, seed, "singlestep", *name)


def _weights(networks: int, seed: int, cell: pd.DataFrame) -> Array:
    """Resampling weights of a cell's networks. The hidden scale is not part of the name: the same network at either one is drawn again
    with itself."""
    return _named_weights(networks, seed, *cell[cell_columns(cell)].iloc[0].map(str))


def summarise(samples: pd.DataFrame, seed: int, key: Sequence[str] = KEY) -> Cells:
    """Share switched, mean step over the switched, mean gradient norm over all, and the perturbation's law, cell by cell."""
    rows, replicates = [], []
    for name, cell in samples.sort_values([*key, "network", "input"], kind="stable").groupby(list(key), sort=True):
        switched = by_network(cell, cell["status"] == "switched")
        step = by_network(cell, cell["step"].fillna(0))
        gradient = by_network(cell, cell["gradient_norm"])
        perturbation = by_network(cell, cell["perturbation_norm"])
        networks, inputs = switched.shape
        weights = _weights(networks, seed, cell)
        each = switched.sum(1)
        share = weights @ each / (weights.sum(1) * inputs)
        mean_step = _ratio(weights, step.sum(1), each)
        mean_gradient = weights @ gradient.mean(1) / weights.sum(1)
        mean_perturbation = _ratio(weights, np.nan_to_num(perturbation).sum(1), each)
        medians = weighted_quantiles(weights, np.nan_to_num(perturbation, nan=np.inf), 0.5)
        replicates.append((share, mean_step, mean_gradient, mean_perturbation, medians))
        row = dict(zip(key, name, strict=True)) | {"networks": networks, "inputs": inputs, "samples": networks * inputs}
        # With one input each, a network's share is 0 or 1 and its spread says nothing of networks.
        spread = switched.mean(1).std() if inputs > 1 else np.nan
        row |= {"switched": share[0], "dead": float((cell["status"] == "dead").mean()), "switched_sd": spread}
        row["switched_low"], row["switched_high"] = exact_share(share[0] * networks, networks)
        for label, values in (("step", mean_step), ("gradient", mean_gradient), ("perturbation_median", medians)):
            row[label] = values[0]
            row[f"{label}_low"], row[f"{label}_high"] = percentile_interval(values[1:])
        # Dvoretzky, Kiefer and Wolfowitz: half the width of a 95% interval of that distance, each network a single observation.
        row["half_normal_error"] = np.sqrt(np.log(2 / (1 - LEVEL)) / (2 * networks))
        row["half_normal_distance"] = laws.half_normal_distance(np.nan_to_num(perturbation, nan=np.inf).ravel())
        rows.append(row)
    table = pd.DataFrame(rows)
    table["judged"] = enough(table["depth"], table["networks"]).astype(int)
    return Cells(table, *(np.stack(part, axis=1) for part in zip(*replicates, strict=True)))


def log_slopes(cells: Cells, values: Array) -> dict[str, Array]:
    """Slopes [R + 1] of log values [R + 1, cells] on log d and log k jointly, over cells in which all replicates are defined."""
    defined = np.isfinite(values).all(axis=0) & (values > 0).all(axis=0)
    table = cells.table[defined]
    axes = {axis: np.log(table[axis].to_numpy(float)) for axis in ("input_dim", "width") if table[axis].nunique() > 1}
    if not axes or len(table) <= len(axes):
        return {}
    fitted = slopes(np.log(values[:, defined]), *axes.values())
    return {axis: fitted[:, column] for column, axis in enumerate(axes)}


def threshold(share: Array, grid: Array, level: float = 0.99) -> Array:
    """Where shares [R, len(grid)] reach `level` for good, interpolated in log grid; clipped to the ends of the grid."""
    log = np.log(grid)
    below = share < level
    last = share.shape[1] - 1 - below[:, ::-1].argmax(axis=1)  # the last grid point below the level
    left, right = np.clip(last, 0, len(grid) - 2), np.clip(last + 1, 1, len(grid) - 1)
    rows = np.arange(len(share))
    rise = share[rows, right] - share[rows, left]
    part = np.divide(level - share[rows, left], rise, out=np.zeros(len(share)), where=rise > 0).clip(0, 1)
    between = np.exp(log[left] + part * (log[right] - log[left]))
    reached = np.where(last == len(grid) - 1, grid[-1], between)
    found: Array = np.where(below.any(axis=1), reached, grid[0])
    return found


# ---------------------------------------------------------------- other activations, other output layers


def _on_arrays(function: Callable[[Tensor], Tensor]) -> Callable[[Array], Array]:
    def applied(x: Array) -> Array:
        return np.asarray(function(torch.from_numpy(x)).numpy(), dtype=np.float64)

    return applied


def _deviation(function: Callable[[Tensor], Tensor]) -> float:
    """sqrt(E g(X)^2), X ~ N(0, 1)."""
    on_arrays = _on_arrays(function)
    return float(np.sqrt(laws.normal_mean(lambda x: on_arrays(x) ** 2)))


def activation_table(gamma: float) -> pd.DataFrame:
    """What bounds and laws ask of each activation, X ~ N(0, 1), one row each; `slope_squared` and `curvature` are those of psi / M.

    `value` and `gradient`: the limits of the deviation of f(x) and of ||grad f(x)||; `step`: of the mean smallest step. `proof_step`
    and `proof_width`: the c of the step in units of f / M, and the width that the proof of Theorem 1 asks for at gamma.
    """
    rows = []
    for name, activation in ACTIVATIONS.items():
        value, gradient = (_deviation(function) for function in (activation.value, activation.derivative))
        largest = activation.lipschitz
        slope, curvature = (gradient / largest) ** 2, activation.curvature / largest
        row: dict[str, Any] = {"activation": name, "lipschitz": largest, "slope_squared": slope, "curvature": curvature}
        row |= {"value": value, "gradient": gradient, "step": laws.HALF_NORMAL_MEAN * value / gradient**2}
        if activation.second_derivative is not None:
            row |= {"gamma": gamma, "proof_step": float(bounds.smooth_step(gamma, slope))}
            row["proof_width"] = float(bounds.smooth_step_width(gamma, slope, curvature))
        rows.append(row)
    return pd.DataFrame(rows).set_index("activation", drop=False)


def step_ratio_limit(variant: str, dim: float, activations: pd.DataFrame) -> float:
    """The mean smallest step of wide networks of a variant over that of the relu networks of `sample`.

    A bias is one more coordinate of the input that the step leaves alone: f(x)^2 grows by 1 + 1/d, the gradient does not. The law of
    Gaussian output weights is the same as that of signs.
    """
    if variant == "bias":
        return float(np.sqrt(1 + 1 / dim))
    return float(activations["step"].get(variant, activations["step"]["relu"]) / activations["step"]["relu"])


@dataclass(frozen=True)
class Comparison:
    """Variants beside the networks of `sample`: one row a cell that both have, and replicates [R + 1, cells] of the mean steps' ratio."""

    table: pd.DataFrame
    step_ratio: Array


def compare(variants: Cells, reference: Cells, activations: pd.DataFrame) -> Comparison:
    """Each cell of the variants beside that of the same width and dimension; the networks of either are resampled by themselves."""
    place = {(row.width, row.input_dim): index for index, row in enumerate(reference.table.itertuples())}
    common = [
        (index, place[row.width, row.input_dim])
        for index, row in enumerate(variants.table.itertuples())
        if (row.width, row.input_dim) in place
    ]
    ours, theirs = np.array(common, dtype=int).reshape(-1, 2).T
    ratio = variants.step[:, ours] / reference.step[:, theirs]
    columns = [
        "variant",
        "width",
        "input_dim",
        "networks",
        "inputs",
        "switched",
        "switched_low",
        "switched_high",
        "step",
        "step_low",
        "step_high",
        "judged",
    ]
    table = variants.table.iloc[ours][columns].reset_index(drop=True)
    for name in ("networks", "switched", "step", "judged"):
        table[f"relu_{name}"] = reference.table[name].to_numpy()[theirs]
    table["judged"] &= table.pop("relu_judged")
    ends = np.array([percentile_interval(column) for column in ratio[1:].T]).reshape(-1, 2)
    table["step_ratio"], table["step_ratio_low"], table["step_ratio_high"] = ratio[0], ends[:, 0], ends[:, 1]
    table["step_ratio_limit"] = [
        step_ratio_limit(str(variant), float(dim), activations) for variant, dim in zip(table["variant"], table["input_dim"], strict=True)
    ]
    return Comparison(table, ratio)


# ---------------------------------------------------------------- Hessian, infinite width, bracket


def hessian_cells(rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Array]:
    """The Hessian's mean norm, cell by cell, beside the law; and its replicates [R + 1, cells]."""
    table, replicates = [], []
    for activation, group in rows.groupby("activation"):
        for width, dim, cell in by_width_and_dim(group):
            weights = _weights(len(cell), seed, cell)
            means = weights @ cell["hessian_norm"].to_numpy() / weights.sum(1)
            replicates.append(means)
            row: dict[str, Any] = {"activation": activation, "width": width, "input_dim": dim, "networks": len(cell), "norm": means[0]}
            row["low"], row["high"] = percentile_interval(means[1:])
            row["law"] = hessian_law(str(activation), width, dim)
            table.append(row)
    return pd.DataFrame(table), np.stack(replicates, axis=1)


def hessian_law(activation: str, width: float, dim: float) -> float:
    """`laws.hessian_norm` of an activation by its name."""
    smooth = ACTIVATIONS[activation]
    assert smooth.second_derivative is not None
    return laws.hessian_norm(width, dim, _on_arrays(smooth.second_derivative), smooth.curvature)


def infinite_width_cells(two_layer: pd.DataFrame, limit: pd.DataFrame) -> pd.DataFrame:
    """The law of the perturbation's length at each width and dimension beside that at infinite width.

    `distance`: Kolmogorov-Smirnov's, between the two samples; `error`: it is within so much of the distance of the two laws (Dvoretzky,
    Kiefer and Wolfowitz for either); `floor`: for one and the same law it would be smaller than that; each with 95%, each network a
    single observation.
    """
    table = []
    beyond = {
        dim: limit.loc[limit["input_dim"] == dim, "perturbation_norm"].fillna(np.inf).to_numpy() for dim in limit["input_dim"].unique()
    }
    for width, dim, cell in by_width_and_dim(two_layer):
        if dim not in beyond:
            continue
        values, others, networks = cell["perturbation_norm"].fillna(np.inf).to_numpy(), beyond[dim], cell["network"].nunique()
        row: dict[str, Any] = {"width": width, "input_dim": dim, "networks": networks, "samples": len(cell), "limit_networks": len(others)}
        row["distance"] = laws.sample_distance(values, others)
        row["error"] = sum(np.sqrt(np.log(4 / (1 - LEVEL)) / (2 * size)) for size in (networks, len(others)))
        row["floor"] = laws.equal_law_distance(networks, len(others), LEVEL)
        for prefix, sample, size in (("", values, networks), ("limit_", others, len(others))):
            row |= as_columns(f"{prefix}median", exact_quantile(sample, 0.5, size))
            row[f"{prefix}switched"] = share = float(np.isfinite(sample).mean())
            row[f"{prefix}switched_low"], row[f"{prefix}switched_high"] = exact_share(share * size, size)
        table.append(row)
    return pd.DataFrame(table)


def convergence(table: pd.DataFrame, two_layer: pd.DataFrame, limit: pd.DataFrame, seed: int) -> pd.DataFrame:
    """How fast the distance to infinite width falls: its log-log slope in k, one for all dimensions, over the cells above the floor.

    A distance is at least 0 and resampling adds to it: the interval is the reflected one, 2 estimate - replicates, which takes that away
    again. One row, or none where no dimension has two widths above the floor.
    """
    above = table[table["distance"] > table["floor"]]
    above = above[above.groupby("input_dim")["width"].transform("nunique") > 1]
    columns = ["slope", "low", "high", "cells", "narrowest", "widest"]
    if above.empty:
        return pd.DataFrame(columns=columns)
    replicates = []
    ordered = two_layer.sort_values(["network", "input"], kind="stable")
    for row in above.itertuples():
        cell = ordered[(ordered["width"] == row.width) & (ordered["input_dim"] == row.input_dim)]
        others = limit.loc[limit["input_dim"] == row.input_dim, "perturbation_norm"].fillna(np.inf)
        values = by_network(cell, cell["perturbation_norm"].fillna(np.inf))
        replicates.append(weighted_distances(_weights(len(values), seed, cell), values, np.sort(others.to_numpy())))
    dims = pd.get_dummies(above["input_dim"], drop_first=True).to_numpy(float)  # each dimension has its own intercept
    fitted = slopes(np.log(np.stack(replicates, axis=1)), np.log(above["width"].to_numpy(float)), *dims.T)[:, 0]
    low, high = percentile_interval(2 * fitted[0] - fitted[1:])
    return pd.DataFrame([(fitted[0], low, high, len(above), above["width"].min(), above["width"].max())], columns=columns)


def weighted_distances(weights: Array, values: Array, others: Array) -> Array:
    """Kolmogorov-Smirnov distances [R] of values [networks, inputs], each network counting as often as its weight says, to others [N],
    sorted; infinite values are beyond every other."""
    order = np.argsort(values, axis=None, kind="stable")
    ordered = values.ravel()[order]
    share = np.repeat(weights, values.shape[1], axis=1)[:, order].cumsum(axis=1)
    share /= share[:, -1:]
    # Of equal values only the last one tells the share at them, only the first one what is before.
    at = share[:, np.searchsorted(ordered, ordered, side="right") - 1]
    first = np.searchsorted(ordered, ordered, side="left")
    before = np.where(first > 0, share[:, first - 1], 0.0)
    law_at, law_before = (np.searchsorted(others, ordered, side=side) / len(others) for side in ("right", "left"))
    distances: Array = np.maximum((at - law_at).max(axis=1), (law_before - before).max(axis=1))
    return distances


BRACKET_RATIOS = {
    "lower_step": ("lower_bound", "step_norm"),
    "best_step": ("best_norm", "step_norm"),
    "lower_best": ("lower_bound", "best_norm"),
}
"""What the table of the bracket and its figure show: the certified bound and the best perturbation found, over the single step's."""


NOTHING = 1e-6
"""A perturbation that is shorter than the single step by less than this part of it is the single step, to the search's precision."""


def bracket_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians of the ratios over the networks with all three, cell by cell, with exact intervals, and what should not have happened."""
    table = []
    for width, dim, cell in by_width_and_dim(rows):
        ok = cell[cell["status"] == "ok"]
        row: dict[str, Any] = {"width": width, "input_dim": dim, "networks": len(cell), "ok": len(ok)}
        for label, (above, below) in BRACKET_RATIOS.items():
            row |= as_columns(label, exact_quantile(ok[above] / ok[below], 0.5) if len(ok) else (np.nan, (np.nan, np.nan)))
        row["violations"] = int((cell["lower_bound"] > cell[["best_norm", "step_norm"]].min(axis=1)).sum())
        row["step_is_best"] = int((ok["best_norm"] > (1 - NOTHING) * ok["step_norm"]).sum())
        row["gradients"] = float(ok["gradients"].median()) if len(ok) else np.nan
        table.append(row)
    return pd.DataFrame(table)
