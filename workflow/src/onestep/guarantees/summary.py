"""From the records of `guarantees` to medians, quantiles and exponents, with intervals that resample networks.

A median of 100 distances is known to about 15%, most of it because |f(x)| varies. Given all weights but the last layer's, f(x) is normal
with a known deviation s: |f| / s has the median 0.674 exactly, and how far its sample's median is from that tells most of the error of the
distances' median. So the medians that exponents and ratios are made of have this control taken off, by as much as they go with it when
networks are resampled; the raw ones stand beside them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from onestep.networks.residual import ARCHITECTURES
from onestep.statistics.intervals import (
    LEVEL,
    Estimate,
    as_columns,
    percentile_interval,
    resampling_weights,
    t_interval,
    weighted_quantiles,
)
from onestep.statistics.slopes import slopes
from onestep.theory.bounds import guarantee_radius, ray_radius
from onestep.theory.laws import half_normal_quantile

Array = NDArray[np.float64]

KEY = ["architecture", "side", "input_dim"]
NORMS = ("l1", "l2", "linf")
EXPONENTS = {"l1": 0.5, "l2": 0.0, "linf": -0.5}
LOGS = {"l1": -0.5, "l2": 0.0, "linf": 0.0}
"""Powers of ln n beside them in the first-order law."""
PUBLISHED_SAMPLES = 250
"""What the published 200 networks with 10 inputs each are worth in independent samples."""
LOW_QUANTILE = 0.05
"""Of the lengths along random directions: most rays never meet the boundary."""


def relative_to(norm: str, dim: Array) -> Array:
    """What relative distances are divided by: the mean length of images, n / 2, sqrt(n / 3) and 1."""
    return np.asarray({"l1": dim / 2, "l2": np.sqrt(dim / 3), "linf": np.ones_like(dim)}[norm], dtype=np.float64)


def by_network(cell: pd.DataFrame, column: str) -> Array:
    """A column of one cell's rows as [networks, inputs]; what was not found is infinitely far."""
    ordered = cell.sort_values(["network", "input"], kind="stable")
    values: Array = np.nan_to_num(ordered[column].to_numpy(np.float64), nan=np.inf)
    return values.reshape(ordered["network"].nunique(), -1)


def _cells(rows: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    for name, cell in rows.groupby(KEY):
        yield dict(zip(KEY, name, strict=True)), cell


class Medians:
    """Medians of the distances in one norm, for each cell, and their bootstrap replicates."""

    def __init__(self, rows: pd.DataFrame, norm: str, seed: int) -> None:
        self.norm = norm
        table, raw, controlled = [], [], []
        for name, cell in _cells(rows[rows["norm"] == norm]):
            distance = by_network(cell, "distance")
            # A cell's networks are drawn together in every norm.
            weights = resampling_weights(len(distance), seed, "guarantees", *map(str, name.values()))
            median = weighted_quantiles(weights, distance, 0.5)
            size = weighted_quantiles(weights, abs(by_network(cell, "value")) / by_network(cell, "deviation"), 0.5)
            control = np.log(size / half_normal_quantile(0.5))
            with np.errstate(invalid="ignore"):
                slope = np.cov(np.log(median[1:]), control[1:])[0, 1] / max(float(np.var(control[1:], ddof=1)), 1e-12)
            raw.append(median)
            controlled.append(median * np.exp(-slope * control))
            row = name | {"norm": norm, "networks": len(distance), "inputs": distance.shape[1], "failed": int(np.isinf(distance).sum())}
            row |= {"gradients": float(cell["gradients"].mean())}
            row |= as_columns("median", _estimate(median)) | as_columns("controlled", _estimate(controlled[-1]))
            row |= {f"p{percent}": float(weighted_quantiles(weights[:1], distance, percent / 100)[0]) for percent in (45, 55)}
            table.append(row)
        self.table = pd.DataFrame(table)
        self.raw, self.controlled = np.stack(raw, axis=1), np.stack(controlled, axis=1)  # [R + 1, cells]

    def slope(self, architecture: str, relative: bool = False, corrected: bool = False, controlled: bool = True) -> Estimate:
        """The exponent of n in the medians of an architecture; `corrected`: beside the first-order law's power of ln n."""
        kept = (self.table["architecture"] == architecture).to_numpy()
        dim = self.table["input_dim"].to_numpy(np.float64)[kept]
        if len(dim) < 2:
            return np.nan, (np.nan, np.nan)
        values = np.log((self.controlled if controlled else self.raw)[:, kept])
        if relative:
            values = values - np.log(relative_to(self.norm, dim))
        if corrected:
            values = values - LOGS[self.norm] * np.log(np.log(dim))
        return _estimate(slopes(values, np.log(dim))[:, 0])

    def beside(self, published: pd.DataFrame) -> pd.DataFrame:
        """The table, and in it for residual networks the published medians and how many joint deviations of the logarithm lie between."""
        told = published[published["norm"] == self.norm]
        theirs = told.set_index("image_side")["median"].reindex(self.table["side"]).to_numpy()
        noise = pd.Series(_published_noise(told), told["image_side"]).reindex(self.table["side"]).to_numpy()
        ours = np.log(self.controlled)
        deviations = (ours[0] - np.log(theirs)) / np.hypot(ours[1:].std(axis=0, ddof=1), noise)
        resnet = (self.table["architecture"] == "resnet").to_numpy()
        return self.table.assign(published=np.where(resnet, theirs, np.nan), deviations=np.where(resnet, deviations, np.nan))

    def ratio(self, architecture: str, published: pd.DataFrame, controlled: bool = True) -> Estimate:
        """The medians over the published ones: the geometric mean over the sides that have both, and its interval with both one's noise."""
        told = published[published["norm"] == self.norm].set_index("image_side")
        kept = ((self.table["architecture"] == architecture) & self.table["side"].isin(told.index)).to_numpy()
        if not kept.any():
            return np.nan, (np.nan, np.nan)
        theirs = told.loc[self.table["side"][kept]]
        logs = (np.log((self.controlled if controlled else self.raw)[:, kept]) - np.log(theirs["median"].to_numpy())).mean(axis=1)
        noise = _published_noise(theirs)
        deviation = np.hypot(logs[1:].std(ddof=1), np.sqrt((noise**2).sum()) / len(noise))
        reach = float(half_normal_quantile(LEVEL)) * deviation
        return float(np.exp(logs[0])), (float(np.exp(logs[0] - reach)), float(np.exp(logs[0] + reach)))


def _published_noise(theirs: pd.DataFrame) -> Array:
    """The standard deviation of the logarithms of published medians: 1/2 over the density there and the root of the number of samples."""
    spread: Array = np.log(theirs["p55"].to_numpy() / theirs["p45"].to_numpy()) / 0.1
    return np.asarray(0.5 * spread / np.sqrt(PUBLISHED_SAMPLES))


def _estimate(replicates: Array) -> Estimate:
    """The estimate, row 0, and the interval of the replicates."""
    return float(replicates[0]), percentile_interval(replicates[1:])


def medians(rows: pd.DataFrame, seed: int) -> dict[str, Medians]:
    """For each norm that the records have."""
    return {norm: Medians(rows, norm, seed) for norm in NORMS if (rows["norm"] == norm).any()}


def exponents(found: dict[str, Medians], published: pd.DataFrame) -> pd.DataFrame:
    """Slopes of the log medians on log n, ours (with the control, raw, beside ln n, relative) and the published ones; and their ratio."""
    rows = []
    for norm, own in found.items():
        told = published[published["norm"] == norm]
        for architecture in own.table["architecture"].unique():
            row = {"norm": norm, "architecture": architecture, "sides": int((own.table["architecture"] == architecture).sum())}
            row |= as_columns("slope", own.slope(architecture)) | as_columns("raw", own.slope(architecture, controlled=False))
            row |= as_columns("corrected", own.slope(architecture, corrected=True))
            row |= as_columns("relative", own.slope(architecture, relative=True))
            if architecture == "resnet":
                row["published"] = float(slopes(np.log(told[["median"]].to_numpy().T), np.log(told["n"].to_numpy(np.float64)))[0, 0])
                row |= as_columns("ratio", own.ratio(architecture, published))
                row |= as_columns("raw_ratio", own.ratio(architecture, published, controlled=False))
            rows.append(row)
    return pd.DataFrame(rows)


def fitted(table: pd.DataFrame, norm: str, column: str = "median") -> tuple[float, float]:
    """c and n0 of the authors' curve c (n - n0)^e through the medians of one architecture, by least squares of the logarithms."""
    line = table[table["norm"] == norm]
    n, y = line["input_dim"].to_numpy(np.float64), np.log(line[column].to_numpy(np.float64))

    def constant(n0: float) -> float:
        return float((y - EXPONENTS[norm] * np.log(n - n0)).mean())

    if EXPONENTS[norm] == 0 or len(n) < 3:
        return float(np.exp(constant(0.0))), 0.0
    best = optimize.minimize_scalar(
        lambda n0: float(((y - EXPONENTS[norm] * np.log(n - n0) - constant(n0)) ** 2).sum()),
        bounds=(-n.max(), 0.99 * n.min()),
        method="bounded",
    )
    return float(np.exp(constant(best.x))), float(best.x)


PERCENTS = np.arange(5, 100, 5)


def law(rows: pd.DataFrame, drawn: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Quantiles of the distances found, of those of f as linearised at x, and of the first-order law, side by side."""
    made = []
    for norm in NORMS:
        for name, cell in _cells(drawn[drawn["norm"] == norm]):
            own = rows[(rows["norm"] == norm) & (rows["architecture"] == name["architecture"]) & (rows["side"] == name["side"])]
            if own.empty:
                continue
            found, linear, told = by_network(own, "distance"), by_network(own, "first_order"), by_network(cell, "distance")
            weights = resampling_weights(len(found), seed, "guarantees", *map(str, name.values()))
            for percent in PERCENTS:
                row = name | {"norm": norm, "percent": percent}
                for column, values in (("found", found), ("linear", linear)):
                    row |= as_columns(column, _estimate(weighted_quantiles(weights, values, percent / 100)))
                made.append(row | {"law": float(np.quantile(told, percent / 100))})
    return pd.DataFrame(made)


def ray_quantiles(rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """A low quantile of the lengths along random directions, for each cell, and its exponent in n for each architecture."""
    table, replicates = [], []
    for name, cell in _cells(rows):
        length = by_network(cell, "length")
        weights = resampling_weights(len(length), seed, "guarantees", "rays", *map(str, name.values()))
        quantiles = weighted_quantiles(weights, length, LOW_QUANTILE)
        replicates.append(quantiles)
        row = name | {"networks": len(length), "inputs": length.shape[1], "switched": float(np.isfinite(length).mean())}
        table.append(row | as_columns("quantile", _estimate(quantiles)))
    cells, drawn = pd.DataFrame(table), np.stack(replicates, axis=1)
    fits = {}
    for architecture in cells["architecture"].unique():
        kept = (cells["architecture"] == architecture).to_numpy()
        dim = cells["input_dim"].to_numpy(np.float64)[kept]
        values = np.log(drawn[:, kept])
        # A quantile beyond the cap is not known: the exponent is not either.
        known = len(dim) > 1 and bool(np.isfinite(values).all())
        fits[architecture] = _estimate(slopes(values, np.log(dim))[:, 0]) if known else (np.nan, (np.nan, np.nan))
    return cells, fits


def second_search(rows: pd.DataFrame) -> pd.DataFrame:
    """How often a second search ends nearer by more than 3%, and by how much at most."""
    made = []
    for (architecture, side, norm, effort), cell in rows.groupby(["architecture", "side", "norm", "effort"]):
        ratio = (cell["second"] / cell["distance"]).fillna(np.inf)
        row = {"architecture": architecture, "side": side, "norm": norm, "effort": effort}
        row |= {"networks": cell["network"].nunique(), "samples": len(cell)}
        made.append(
            row | {"nearer": int((ratio < 0.97).sum()), "smallest_ratio": float(ratio.min()), "median_ratio": float(ratio.median())}
        )
    return pd.DataFrame(made)


def read_published(path: Path) -> pd.DataFrame:
    """The authors' own medians of Figure 1."""
    return pd.read_csv(path)


def first_inputs(rows: pd.DataFrame) -> pd.DataFrame:
    """One input of each network: independent observations."""
    return rows[rows["input"] == 0]


def stretch(cell: pd.DataFrame) -> float:
    """M of a cell's architecture and side."""
    return ARCHITECTURES[cell["architecture"].iloc[0]].stretch(int(cell["side"].iloc[0]))


def guaranteed(cell: pd.DataFrame, delta: float) -> Array:
    """Theorem 1's l1 radius at each row of a cell."""
    return guarantee_radius(cell["input_norm"].to_numpy(), cell["input_dim"].to_numpy(np.float64), stretch(cell), delta)


def guaranteed_along(cell: pd.DataFrame, delta: float) -> Array:
    """Theorem 1's length along a direction at each row of a cell."""
    return ray_radius(cell["input_norm"].to_numpy(), stretch(cell), delta)


FITTED = 0.25
"""Up to this share the line of Figure 3 is fitted."""
REGIONS = (("start", 0.02, 0.0, FITTED), ("middle", 0.1, FITTED, 0.6))
"""Name, largest deviation that counts as linear, and between which shares."""


def _deviations(distance: Array) -> Array:
    """The line r -> r c through 0 fitted to the share of distances below r up to FITTED; and its largest deviation in each region."""
    r = np.sort(distance)
    shares = (np.arange(len(r)) + 0.5) / len(r)
    below = (shares <= FITTED) & np.isfinite(r)
    slope = float((r[below] @ shares[below]) / (r[below] @ r[below])) if below.any() else np.nan
    deviation = np.where(np.isfinite(r), abs(shares - slope * r), np.inf)
    parts = [deviation[(shares > low) & (shares <= high)] for _, _, low, high in REGIONS]
    return np.array([slope, *(part.max() if len(part) else np.nan for part in parts)])


def lines(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """For each data set, state and kind of images: the median l1 distance, and how far its distribution is from a line."""
    made = []
    for name, cell in rows.groupby(["dataset", "state", "kind"], sort=False):
        key = dict(zip(("dataset", "state", "kind"), name, strict=True))
        distance = by_network(cell, "distance")
        weights = resampling_weights(len(distance), seed, "guarantees", "trained", str(key["dataset"]))
        row = {"data": cell["data"].iloc[0]} | key | {"networks": len(distance), "images": distance.shape[1]}
        row |= {"failed": int(np.isinf(distance).sum())} | as_columns("median", _estimate(weighted_quantiles(weights, distance, 0.5)))
        replicates = np.stack([_deviations(np.repeat(distance, counts.astype(int), axis=0).ravel()) for counts in weights])
        row["line"] = float(replicates[0, 0])
        for index, (region, *_) in enumerate(REGIONS, start=1):
            row |= as_columns(region, _estimate(replicates[:, index]))
        networks = cell.drop_duplicates("network")
        row |= {"train_accuracy": float(networks["train_accuracy"].min()), "test_accuracy": float(networks["test_accuracy"].mean())}
        made.append(row | {"trained_on": int(networks["images"].max()), "epochs": int(networks["epochs"].max())})
    return pd.DataFrame(made)


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Median distances of trained networks over those of the same ones before: geometric means, t intervals over networks."""
    found = rows.assign(distance=rows["distance"].fillna(np.inf))
    wide = found.groupby(["dataset", "kind", "state", "network"], sort=False)["distance"].median().unstack("state")
    logs = pd.Series(np.log(wide["trained"].to_numpy() / wide["random"].to_numpy()), wide.index)
    made = []
    for name, part in logs.groupby(level=["dataset", "kind"], sort=False):
        log, (low, high) = t_interval(part.to_numpy())
        dataset, kind = map(str, name)  # type: ignore[arg-type]
        row = {"dataset": dataset, "kind": kind, "networks": len(part)}
        made.append(row | as_columns("ratio", (float(np.exp(log)), (float(np.exp(low)), float(np.exp(high))))))
    return pd.DataFrame(made)
