"""From the records of `multilayer` to one row a cell, with intervals; shared by its figures and claims.

A network has one input, so each sample is an independent observation: shares have exact binomial intervals, quantiles those of their
order statistics, means resample networks. A sample without a sign change counts as infinitely far where lengths are compared.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep.seeds import stream
from onestep.statistics.intervals import REPLICATES, as_columns, exact_quantile, percentile_interval, resampling_weights, share
from onestep.theory import bounds, kernels

Array = NDArray[np.float64]
CELL = ["profile", "depth", "width", "bottleneck"]
SCAN = ["input_dim", "depth"]


def groups(rows: pd.DataFrame, key: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of each cell, with the cell's coordinates."""
    for name, cell in rows.groupby(list(key), sort=True):
        yield dict(zip(key, name, strict=True)), cell


def far(lengths: pd.Series) -> Any:
    """Lengths with infinity where there is none."""
    return lengths.fillna(np.inf).to_numpy()


def constants(cell: pd.DataFrame, delta: float) -> Any:
    """||eta grad f(x)|| / ||x|| over sqrt(log(1/delta) / d), sample by sample: the c_3 that Theorem 1.1 would need for each."""
    return far(cell["opposite_norm"]) / np.sqrt(np.log(1 / delta))


def cells(flip: pd.DataFrame) -> pd.DataFrame:
    """How many samples switch, how many reach -f(x), and how far that is, cell by cell."""
    rows = []
    for name, cell in groups(flip, CELL):
        row = name | {"input_dim": int(cell["input_dim"].iloc[0]), "networks": len(cell), "dead": float((cell["status"] == "dead").mean())}
        row |= as_columns("switched", share(cell["status"] == "switched")) | as_columns("reached", share(cell["opposite"] == "reached"))
        row |= as_columns("perturbation", exact_quantile(far(cell["perturbation_norm"]), 0.5))
        rows.append(row | as_columns("opposite", exact_quantile(far(cell["opposite_norm"]), 0.5)))
    return pd.DataFrame(rows)


def constants_table(flip: pd.DataFrame, deltas: Sequence[float], constant: float) -> pd.DataFrame:
    """The measured c_3 of Theorem 1.1, and the share that the step with a given c_3 takes to -f(x), at every delta."""
    rows = []
    for name, cell in groups(flip, CELL):
        for delta in deltas:
            each = constants(cell, delta)
            row = name | {"delta": delta, "networks": len(cell)} | as_columns("constant", exact_quantile(each, 1 - delta))
            rows.append(row | as_columns("within", share(each <= constant)))
    return pd.DataFrame(rows)


def _name(coordinates: dict[str, Any]) -> list[str]:
    """What a cell's resampling is named by."""
    return [str(coordinates[column]) for column in CELL]


@lru_cache(maxsize=16)
def weights_of(networks: int, seed: int, *name: str | int) -> Array:
    """How often each network of a cell stands in each bootstrap sample: the same for all that is measured on it."""
    return resampling_weights(networks, seed, "multilayer", *name)


def mean_replicates(values: Any, seed: int, *name: str | int) -> Array:
    """Bootstrap replicates [R + 1] of the mean of the defined values, the cell's networks resampled; row 0 is the estimate."""
    values = np.asarray(values, dtype=np.float64)
    defined = np.isfinite(values)
    weights = weights_of(len(values), seed, *name)
    total = weights @ defined
    means: Array = np.divide(weights @ np.where(defined, values, 0), total, out=np.full(len(total), np.nan), where=total > 0)
    return means


def changes(smoothness: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Array]:
    """The gradient's relative change for each cell and direction, and its bootstrap replicates [R + 1, rows]."""
    rows, replicates = [], []
    first = smoothness[smoothness["layer"] == 1]
    for name, cell in groups(first, [*CELL, "direction"]):
        means = mean_replicates(cell["change"] / cell["gradient_norm"], seed, *_name(name))
        row = name | {"networks": len(cell), "switched": int((cell["status"] == "switched").sum())}
        rows.append(row | as_columns("change", (float(means[0]), percentile_interval(means[1:]))))
        replicates.append(means)
    return pd.DataFrame(rows), np.stack(replicates, axis=1)


def terms(smoothness: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What each layer's flips contribute to the gradient's change, for each cell and direction."""
    rows = []
    for name, cell in groups(smoothness, [*CELL, "direction", "layer"]):
        row = name | {"networks": len(cell), "switched": int((cell["status"] == "switched").sum())}
        for column, values in (
            ("share", cell["term_share"]),
            ("flipped", cell["flipped"]),
            ("term", cell["term_norm"] / cell["gradient_norm"]),
        ):
            means = mean_replicates(values, seed, *_name(name))
            row |= as_columns(column, (float(means[0]), percentile_interval(means[1:])))
        rows.append(row)
    return pd.DataFrame(rows)


def layer_table(layers: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Norms and images of the ball, for each cell and layer."""
    widest = layers.groupby(CELL)["layer_width"].transform("max").clip(lower=layers["input_dim"])
    limit = bounds.image_radius_bound(layers["radius"], layers["layer"], layers["layer_width"], layers["narrowest_before"], widest)
    layers = layers.assign(part=layers["worst_shift"] / limit)
    rows = []
    for name, cell in groups(layers, [*CELL, "layer"]):
        width = int(cell["layer_width"].iloc[0])
        row = name | {
            "layer_width": width,
            "narrowest_before": int(cell["narrowest_before"].iloc[0]),
            "networks": len(cell),
            "switched": int((cell["status"] == "switched").sum()),
            "below": int((cell["norm"] < bounds.layer_norm_bound(name["layer"], width)).sum()),
            "largest_part": float(cell["part"].max()),
        }
        quantities = {"norm": cell["norm"] / np.sqrt(width)}
        quantities |= {direction: cell[f"{direction}_shift"] / cell["radius"] for direction in ("random", "gradient", "worst")}
        for column, values in quantities.items():
            means = mean_replicates(values, seed, *_name(name))
            row |= as_columns(column, (float(means[0]), percentile_interval(means[1:])))
        rows.append(row)
    return pd.DataFrame(rows)


def pair_ratios(values: Array) -> Array:
    """|f(x) - f(y)| / |f(x)| for every ordered pair of the inputs of each network: values [N, I] to [N, I (I - 1)]."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a dead input: infinitely far from the others, undefined beside another one
        apart = np.abs(values[:, :, None] - values[:, None]) / np.abs(values)[:, :, None]
    return np.asarray(apart[:, ~np.eye(values.shape[1], dtype=bool)], dtype=np.float64)


def collapse_table(collapse: pd.DataFrame, seed: int) -> pd.DataFrame:
    """How near the values of all inputs are to each other, and how the angles fall, at each width, dimension and depth."""
    rows = []
    ordered = collapse.sort_values(["width", "input_dim", "depth", "network", "input"], kind="stable")
    for name, cell in groups(ordered, ["width", "input_dim", "depth"]):
        networks = cell["network"].nunique()
        values, norms, start, angle = (
            cell[column].to_numpy().reshape(networks, -1) for column in ("value", "norm", "start_angle", "angle")
        )
        depth, width, dim = (int(name[column]) for column in ("depth", "width", "input_dim"))
        ratios = pair_ratios(values)
        largest = np.nan_to_num(ratios.max(axis=1), nan=np.inf)
        row = name | {"networks": networks, "inputs": values.shape[1], "limit": float(bounds.collapse_bound(dim))}
        row |= as_columns("largest", exact_quantile(largest, 0.9)) | as_columns("below", share(largest <= row["limit"]))
        row |= as_columns("median_pair", exact_quantile(np.nan_to_num(np.median(ratios, axis=1), nan=np.inf), 0.5))
        # Against input 0: its opposite, and the others.
        for kind, columns in (("opposite", [1]), ("other", list(range(2, values.shape[1])))):
            if columns:
                means = mean_replicates(angle[:, columns].mean(axis=1), seed, "collapse", width, dim)
                row |= as_columns(f"{kind}_angle", (float(means[0]), percentile_interval(means[1:])))
                row[f"{kind}_recursion"] = float(kernels.angles_by_layer(start[:, columns], depth)[-1].mean())
                ratio = means / row[f"{kind}_recursion"]
                row |= as_columns(f"{kind}_ratio", (float(ratio[0]), percentile_interval(ratio[1:])))
        squares = mean_replicates(np.log(norms[:, 1] / norms[:, 0]) ** 2, seed, "collapse", width, dim)
        predicted = float(kernels.norm_ratio_deviation(np.pi, depth, width))
        found = np.sqrt(squares)
        row |= as_columns("norm_ratio", (float(found[0]), percentile_interval(found[1:])))
        row["norm_ratio_law"] = predicted
        rows.append(row)
    return pd.DataFrame(rows)


def scan_table(scan: pd.DataFrame, limit: pd.DataFrame) -> pd.DataFrame:
    """The share that a single step flips in very deep networks, and at infinite width, where no width is given."""
    rows = []
    for name, cell in groups(scan, ["width", *SCAN]):
        row = name | {"networks": len(cell)} | as_columns("switched", share(cell["status"] == "switched"))
        rows.append(row | {"coarse": float((cell["coarse_status"] == "switched").mean())})
    for name, cell in groups(limit, SCAN):
        rows.append(name | {"networks": len(cell)} | as_columns("switched", share(cell["status"] == "switched")))
    return pd.DataFrame(rows).astype({"width": "Int64"})


def vanishing_table(scan: pd.DataFrame, limit: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Array]:
    """The depth from which on a single step no longer flips half of the signs, at each width and dimension, and its replicates."""
    rows, replicates = [], []
    lines = [(name["width"], name["input_dim"], line) for name, line in groups(scan, ["width", "input_dim"])]
    lines += [(None, name["input_dim"], line) for name, line in groups(limit, ["input_dim"])]
    for width, dim, line in lines:
        depths = sorted(line["depth"].unique())
        shares = []
        for depth in depths:
            hit = line.loc[line["depth"] == depth, "status"] == "switched"
            # To resample independent networks that flip or do not is to draw a binomial number.
            draw = stream(seed, "bootstrap", "multilayer", "scan", width or "infinite", dim, int(depth))
            shares.append(np.append(hit.mean(), draw.binomial(len(hit), hit.mean(), REPLICATES) / len(hit)))
        if len(depths) > 1:
            half = vanishing_depth(np.stack(shares, axis=1), np.array(depths, dtype=float))
            rows.append({"width": width, "input_dim": dim} | as_columns("half", (float(half[0]), percentile_interval(half[1:]))))
            replicates.append(half)
    return pd.DataFrame(rows).astype({"width": "Int64"}), np.stack(replicates, axis=1)


def vanishing_depth(switched: Array, depths: Array) -> Array:
    """The depth beyond which shares [R, depths] stay below one half, interpolated in log depth; clipped to the ends of the grid."""
    log = np.log(depths)
    above = switched >= 0.5
    last = switched.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    left, right = np.clip(last, 0, len(depths) - 2), np.clip(last + 1, 1, len(depths) - 1)
    rows = np.arange(len(switched))
    fall = switched[rows, left] - switched[rows, right]
    part = np.divide(switched[rows, left] - 0.5, fall, out=np.zeros(len(switched)), where=fall > 0).clip(0, 1)
    depth = np.exp(log[left] + part * (log[right] - log[left]))
    found: Array = np.where(above.any(axis=1), np.where(last == len(depths) - 1, depths[-1], depth), depths[0])
    return found
