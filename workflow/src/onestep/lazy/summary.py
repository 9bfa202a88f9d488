"""What the records of `lazy` say: means over the test images of each trained network, and how they go with the dimension.

A run is one start and one order of the images: what is said of it is one number, and intervals are t intervals over runs.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep.statistics.intervals import LEVEL, t_interval
from onestep.statistics.slopes import slopes

Array = NDArray[np.float64]

KIND = ["data", "protocol", "norm", "bias"]
CELL = [*KIND, "c0", "width", "input_dim"]
QUANTITIES = {"gradient": "gradient_norm", "step": "step", "perturbation": "relative"}
LARGE = 100
"""The dimension from which on exponents are judged."""


def models(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each trained network: errors on the test images, and means over those that it gets right and a step flips."""
    counted = rows.assign(relative=rows["perturbation_norm"] / rows["input_norm"], errors=~rows["correct"])
    told = counted[counted["correct"] & (counted["status"] == "switched")]
    table = counted.groupby([*CELL, "run"]).agg(images=("input", "size"), errors=("errors", "sum")).reset_index()
    means = told.groupby([*CELL, "run"])[list(QUANTITIES.values())].mean()
    means["skewness"] = told.groupby([*CELL, "run"])["step"].skew()
    means["told"] = told.groupby([*CELL, "run"]).size()
    named = means.rename(columns={column: name for name, column in QUANTITIES.items()})
    return table.merge(named.reset_index(), how="left", on=[*CELL, "run"])


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """Means over runs with their intervals, for each cell of `models`."""
    rows = []
    for name, part in table.groupby(CELL):
        row = dict(zip(CELL, name, strict=True)) | {"runs": len(part), "images": int(part["images"].iloc[0])}
        row["worst_error"] = float((part["errors"] / part["images"]).max())
        for quantity in QUANTITIES:
            mean, (low, high) = t_interval(part[quantity].to_numpy())
            row |= {quantity: mean, f"{quantity}_low": low, f"{quantity}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def exponents(table: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Slopes of the log means on log d, a t interval over runs: over all dimensions and over those from LARGE on."""
    rows = []
    group = [column for column in CELL if column != "input_dim"]
    for name, part in table.groupby(group):
        for region, inside in (("all", part), (f"d >= {LARGE}", part[part["input_dim"] >= LARGE])):
            for quantity in QUANTITIES:
                wide = inside.pivot_table(index="run", columns="input_dim", values=quantity).dropna()
                if wide.shape[1] < 2 or wide.empty:
                    continue
                fitted = slopes(np.log(wide.to_numpy()), np.log(wide.columns.to_numpy(float)))[:, 0]
                slope, (low, high) = t_interval(fitted, level)
                row = dict(zip(group, name, strict=True)) | {"dimensions": region, "quantity": quantity}
                rows.append(row | {"runs": len(wide), "slope": slope, "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*group, "dimensions", "quantity", "runs", "slope", "low", "high"])


def growth(table: pd.DataFrame, quantity: str, level: float = LEVEL) -> pd.DataFrame:
    """How the log of a mean differs between the largest finite C0 and the smallest, run by run, at each dimension."""
    finite = table[np.isfinite(table["c0"])]
    rows = []
    for name, part in finite.groupby([*KIND, "width", "input_dim"]):
        wide = np.log(part.pivot_table(index="run", columns="c0", values=quantity)).dropna()
        if wide.shape[1] < 2:
            continue
        difference, (low, high) = t_interval((wide.iloc[:, -1] - wide.iloc[:, 0]).to_numpy(), level)
        row = dict(zip([*KIND, "width", "input_dim"], name, strict=True))
        rows.append(row | {"quantity": quantity, "runs": len(wide), "difference": difference, "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*KIND, "width", "input_dim", "quantity", "runs", "difference", "low", "high"])
