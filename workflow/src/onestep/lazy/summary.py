"""What the records of `lazy` say: means over the test images of each trained network, and how they go with the dimension.

A run is one start and one order of the images: what is said of it is one number, and intervals are t intervals over runs.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from onestep.statistics.intervals import LEVEL, as_columns, exact_quantile, t_interval
from onestep.statistics.slopes import slopes

Array = NDArray[np.float64]

KIND = ["data", "protocol", "norm", "bias"]
CELL = [*KIND, "c0", "width", "input_dim"]
QUANTITIES = {"gradient": "gradient_norm", "step": "step", "perturbation": "relative"}
LARGE = 100
"""The dimension from which on exponents are judged."""
GRID, GRID_END = 0.001, 5.0
"""The authors' grid of lengths, and its end."""
PANELS = {"budgets": ("input_dim", "budget", (0.5, 0.01)), "radii": ("width", "radius", (0.5, 0.9, 0.99))}
"""Figure 4's panels: along what, what is varied, and the robust accuracies whose contours are measured."""


def as_published(rows: pd.DataFrame) -> pd.DataFrame:
    """Lengths as the authors' code has them: on a grid of 0.001, 5 where no step flips, and 0, in every mean, for a wrong prediction."""
    grid = (np.ceil(rows["perturbation_norm"].fillna(np.inf) / GRID) * GRID).clip(upper=GRID_END)
    length = grid.where(rows["correct"], 0.0)
    return rows.assign(perturbation_norm=length, step=length / rows["gradient_norm"], told=True)


def models(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each trained network: errors on the test images, and means over those that it gets right and a step flips.

    Under the authors' protocol means are the ones of their code.
    """
    told = rows["correct"] & (rows["status"] == "switched")
    published = rows["protocol"] == "as_published"
    counted = pd.concat([rows[~published].assign(told=told[~published]), as_published(rows[published])])
    counted = counted.assign(relative=counted["perturbation_norm"] / counted["input_norm"], errors=~counted["correct"])
    table = counted.groupby([*CELL, "run"]).agg(images=("input", "size"), errors=("errors", "sum"), ended=("ended", "first")).reset_index()
    groups = counted[counted["told"]].groupby([*CELL, "run"])
    means = groups[list(QUANTITIES.values())].mean()
    means["skewness"], means["told"] = groups["step"].skew(), groups.size()
    named = means.rename(columns={column: name for name, column in QUANTITIES.items()})
    return table.merge(named.reset_index(), how="left", on=[*CELL, "run"])


def protocols(table: pd.DataFrame) -> pd.DataFrame:
    """What the authors' code makes of Figures 2, 3, 5, 6 and 7 beside what the text says: ratios of the means, run by run.

    A run has the same starting weights in both, where there is no bias.
    """
    key = ["data", "norm", "c0", "width", "input_dim", "run"]
    text, code = (table[table["protocol"] == protocol] for protocol in ("corrected", "as_published"))
    both = text.merge(code, on=key, suffixes=("_text", "_code"))
    rows = []
    for name, part in both.groupby(key[:-1]):
        row = dict(zip(key[:-1], name, strict=True)) | {"runs": len(part)}
        for quantity in QUANTITIES:
            log, (low, high) = t_interval(np.log(part[f"{quantity}_code"].to_numpy() / part[f"{quantity}_text"].to_numpy()))
            row |= as_columns(quantity, (np.exp(log), (np.exp(low), np.exp(high))))
        row |= {f"error_{kind}": float((part[f"errors_{kind}"] / part[f"images_{kind}"]).mean()) for kind in ("text", "code")}
        rows.append(row)
    return pd.DataFrame(rows)


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """Means over runs with their intervals, for each cell of `models`."""
    rows = []
    for name, part in table.groupby(CELL):
        row = dict(zip(CELL, name, strict=True)) | {"runs": len(part), "images": int(part["images"].iloc[0])}
        row["left"] = int((part["ended"] == "left").sum())
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


def robust(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each adversarially trained network: shares of the test images that are right, and right under attack."""
    key = ["panel", "data", "protocol", "width", "input_dim", "budget", "radius", "steps", "run"]
    right = rows.assign(
        clean=rows["margin"] > 0, robust=rows["attacked"] > 0, reference=(rows["reference"] > 0).where(rows["reference"].notna())
    )
    groups = right.groupby(key)
    table = groups.agg(images=("input", "size"), epochs=("epochs", "first"), stop=("stop", "first"), trained=("trained", "first"))
    return table.join(groups[["clean", "robust", "reference"]].mean()).reset_index()


def contours(table: pd.DataFrame) -> pd.DataFrame:
    """Where the robust accuracy crosses a level, along what is varied, and that times sqrt(d) or sqrt(m), for each run.

    Linear between the trained cells on the scale of normal quantiles, on which a drop that is a Gaussian's is a line; 0 and n of n images
    count as half an image from the end. The crossing farthest out; not a number where there is none.
    """
    rows = []
    for (panel, protocol), part in table.groupby(["panel", "protocol"]):
        size, varied, levels = PANELS[str(panel)]
        for (value, run), line in part.sort_values(varied).groupby([size, "run"]):
            x, n = line[varied].to_numpy(), line["images"].to_numpy()
            z = special.ndtri((line["robust"].to_numpy() * n + 0.5) / (n + 1))
            for level in levels:
                above = z - special.ndtri(level)
                crossed = (above[1:] * above[:-1] < 0).nonzero()[0]
                at = np.nan
                if len(crossed):
                    i = crossed[-1]
                    at = x[i] + above[i] / (above[i] - above[i + 1]) * (x[i + 1] - x[i])
                row = {"panel": panel, "protocol": protocol, "level": level, "size": value, "run": run}
                rows.append(row | {"crossing": at, "scaled": at * float(line[size].iloc[0]) ** 0.5})
    return pd.DataFrame(rows)


def checks(table: pd.DataFrame, check: pd.DataFrame) -> pd.DataFrame:
    """Robust accuracies with fewer steps of the attack beside those of the published attack: on test images, and in training.

    `table`, `check`: `robust` of the trainings of Figure 4, and of those that were made twice.
    """
    cell = ["panel", "protocol", "width", "input_dim", "budget", "radius", "run"]
    tested = table[table["reference"].notna()].rename(columns={"robust": "fewer", "reference": "published"})
    ordered = check.sort_values("steps").groupby(cell)["reference"]
    trained = pd.DataFrame({"fewer": ordered.first(), "published": ordered.last()}).reset_index()
    both = pd.concat([tested.assign(where="test"), trained.assign(where="training")])[["where", *cell, "fewer", "published"]]
    return both.assign(difference=both["fewer"] - both["published"])


def ball(rows: pd.DataFrame) -> pd.DataFrame:
    """For each ball: medians of what is certain of all its networks, and the length within which 90% of images are flipped for certain."""
    key = ["data", "c0", "width", "input_dim"]
    table = []
    for name, part in rows.groupby(key):
        networks = part["network"].nunique()
        row = dict(zip(key, name, strict=True)) | {"networks": networks, "inputs": len(part) // networks}
        row["highest"] = float(np.median(np.maximum(part["highest"], -part["lowest"])))
        row["changeable"] = float(part["changeable"].median())
        flips = part["certain"].fillna(np.inf) * part["input_dim"] ** 0.5
        table.append(row | as_columns("flipped", exact_quantile(flips, 0.9, networks)))
    return pd.DataFrame(table)


def bracket(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over the images of each cell: the step's length, the smallest found and the bound, over the image's; and their ratios."""
    lengths = {"step": rows["perturbation_norm"], "found": rows["found"], "bound": rows["bound"]}
    relative = rows.assign(**{name: length / rows["input_norm"] for name, length in lengths.items()})
    ratios = relative.assign(loss=lengths["step"] / lengths["found"], gap=lengths["found"] / lengths["bound"])
    ratios["change"] = rows["gradient_change"] / rows["gradient_norm"]
    groups = ratios.groupby(CELL)
    table = groups[["step", "found", "bound", "loss", "gap", "change"]].median()
    return table.assign(runs=groups["run"].nunique(), images=groups.size()).reset_index()
