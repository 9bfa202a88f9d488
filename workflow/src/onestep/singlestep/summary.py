"""From the records of `singlestep` to one row a cell, with intervals that resample networks; shared by its figures and claims."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep.statistics.intervals import exact_share, percentile_interval, resampling_weights
from onestep.statistics.slopes import slopes
from onestep.theory.laws import half_normal_distance

Array = NDArray[np.float64]
KEY = ["depth", "width", "input_dim", "hidden_scale"]


@dataclass(frozen=True)
class Cells:
    """One row a cell, and the bootstrap replicates [R + 1, cells] of its means (row 0: the estimates)."""

    table: pd.DataFrame
    share: Array
    step: Array
    gradient: Array
    perturbation: Array

    def where(self, mask: "pd.Series[bool]") -> "Cells":
        """The cells at which the mask is true."""
        kept = mask.to_numpy()
        parts = (self.share, self.step, self.gradient, self.perturbation)
        return Cells(self.table[kept].reset_index(drop=True), *(part[:, kept] for part in parts))


def by_network(rows: pd.DataFrame, values: Any) -> Array:
    """Values of one cell's rows, sorted by network and input, as [networks, inputs]."""
    return np.asarray(values, dtype=np.float64).reshape(rows["network"].nunique(), -1)


def _ratio(weights: Array, above: Array, below: Array) -> Array:
    """sum w above / sum w below for each row of weights; not a number where nothing is below."""
    total = weights @ below
    ratio: Array = np.divide(weights @ above, total, out=np.full(len(total), np.nan), where=total > 0)
    return ratio


def weighted_medians(weights: Array, values: Array) -> Array:
    """Medians [R] of values [networks, inputs] in which each network counts as often as its weight says."""
    order = np.argsort(values, axis=None)
    cumulated = np.repeat(weights, values.shape[1], axis=1)[:, order].cumsum(axis=1)
    medians: Array = values.ravel()[order[(cumulated >= cumulated[:, -1:] / 2).argmax(axis=1)]]
    return medians


def summarise(samples: pd.DataFrame, seed: int) -> Cells:
    """Share switched, mean step over the switched, mean gradient norm over all, and the perturbation's law, cell by cell."""
    rows, replicates = [], []
    for name, cell in samples.sort_values([*KEY, "network", "input"], kind="stable").groupby(KEY, sort=True):
        switched = by_network(cell, cell["status"] == "switched")
        step = by_network(cell, cell["step"].fillna(0))
        gradient = by_network(cell, cell["gradient_norm"])
        perturbation = by_network(cell, cell["perturbation_norm"])
        networks, inputs = switched.shape
        # The same network at either hidden scale: the scale is not part of the name, so both get the same resampling.
        weights = resampling_weights(networks, seed, "singlestep", *map(str, name[:3]))
        each = switched.sum(1)
        share = weights @ each / (weights.sum(1) * inputs)
        mean_step = _ratio(weights, step.sum(1), each)
        mean_gradient = weights @ gradient.mean(1) / weights.sum(1)
        mean_perturbation = _ratio(weights, np.nan_to_num(perturbation).sum(1), each)
        medians = weighted_medians(weights, np.nan_to_num(perturbation, nan=np.inf))
        replicates.append((share, mean_step, mean_gradient, mean_perturbation))
        row = dict(zip(KEY, name, strict=True)) | {"networks": networks, "inputs": inputs, "samples": networks * inputs}
        row |= {"switched": share[0], "dead": float((cell["status"] == "dead").mean()), "switched_sd": switched.mean(1).std()}
        row["switched_low"], row["switched_high"] = exact_share(share[0] * networks, networks)
        for label, values in (("step", mean_step), ("gradient", mean_gradient), ("perturbation_median", medians)):
            row[label] = values[0]
            row[f"{label}_low"], row[f"{label}_high"] = percentile_interval(values[1:])
        # Dvoretzky, Kiefer and Wolfowitz: half the width of a 95% interval of that distance, each network a single observation.
        row["half_normal_error"] = np.sqrt(np.log(2 / 0.05) / (2 * networks))
        row["half_normal_distance"] = half_normal_distance(np.nan_to_num(perturbation, nan=np.inf).ravel())
        rows.append(row)
    parts = [np.stack(part, axis=1) for part in zip(*replicates, strict=True)]
    return Cells(pd.DataFrame(rows), *parts)


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
