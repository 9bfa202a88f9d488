"""The figures of `guarantees`: the published ones, redrawn so that they can be laid beside the originals, and what goes beyond them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from onestep import records
from onestep.drawing import logarithmic, panels, save, shades
from onestep.guarantees import summary
from onestep.guarantees.summary import EXPONENTS, NORMS, Medians
from onestep.provenance import certificate

_GREY = "0.45"
TITLES = {"l1": "ℓ₁", "l2": "ℓ₂", "linf": "ℓ∞"}
NAMES = {
    "resnet": "residual",
    "lenet": "LeNet-like",
    "convolutional": "convolutional",
    "fully-connected": "fully connected",
    "periodic": "periodic",
    "periodic-pooled": "periodic, pooled",
}
KINDS = {"random": "random", "training": "training", "test": "test"}
DELTA = 0.5
"""The probability at which Theorem 1 speaks of the median."""


def _round(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within a range."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [value for value in values if low * 0.99 <= value <= high * 1.01] or [low, high]


def _sparse(values: Sequence[float], factor: float) -> list[float]:
    """Ascending values, each at least so many times the one before: labels that can be read in a narrow panel."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= factor * kept[-1]:
            kept.append(value)
    return kept


def _medians(axes: Axes, table: pd.DataFrame, norm: str, published: pd.DataFrame | None, relative: bool, colour: object) -> list[float]:
    """Our medians with their intervals and the 45th to 55th percentiles, the authors', and the fitted curve; all values drawn."""
    line = table.sort_values("input_dim")
    n = line["input_dim"].to_numpy(np.float64)
    unit = summary.relative_to(norm, n) if relative else np.ones_like(n)
    middle, low, high = (line[column].to_numpy() / unit for column in ("median", "median_low", "median_high"))
    reach = np.nan_to_num(np.stack([middle - low, high - middle]), posinf=0.0)
    axes.fill_between(n, line["p45"] / unit, line["p55"] / unit, color=colour, alpha=0.25, linewidth=0)
    axes.errorbar(n, middle, reach, fmt="o", capsize=1.5, elinewidth=0.7, color=colour, markersize=3)
    drawn = [*middle[np.isfinite(middle)], *low[np.isfinite(low)], *high[np.isfinite(high)]]
    constant, start = summary.fitted(line, norm)
    fine = np.geomspace(n[0], n[-1], 100)
    fine_unit = summary.relative_to(norm, fine) if relative else 1.0
    axes.plot(fine, constant * (fine - start) ** EXPONENTS[norm] / fine_unit, color=colour, linewidth=0.9)
    if published is not None:
        told = published[(published["norm"] == norm) & published["image_side"].isin(line["side"])]
        if len(told):
            other = summary.relative_to(norm, told["n"].to_numpy(np.float64)) if relative else np.ones(len(told))
            axes.plot(told["n"], told["median"] / other, "s", color="tab:red", markersize=3, fillstyle="none")
            drawn += [*(told["median"] / other)]
    logarithmic(axes, _sparse(n.tolist(), 2.4))
    return drawn


def distances(found: Mapping[str, Medians], rows: pd.DataFrame, published: pd.DataFrame, relative: bool) -> Figure:
    """Figures 1 and 2: medians against n in the three norms, ours and the authors', with c (n - n0)^e, and Theorem 1's radius."""
    figure, axes = panels(1, len(found), 2.7)
    for axis, (norm, medians) in zip(axes, found.items(), strict=True):
        table = medians.table[medians.table["architecture"] == "resnet"]
        drawn = _medians(axis, table, norm, published, relative, shades([0, 1])[0])
        if norm == "l1":
            cells = rows[(rows["architecture"] == "resnet") & (rows["norm"] == "l1")].groupby("input_dim")
            radius = pd.Series({n: float(np.median(summary.guaranteed(cell, DELTA))) for n, cell in cells})
            n = radius.index.to_numpy(np.float64)
            bound = radius.to_numpy() / (summary.relative_to("l1", n) if relative else 1.0)
            axis.plot(n, bound, color=_GREY, linestyle=":", linewidth=1.2)
            drawn += [*bound]
        logarithmic(axis, _round(min(drawn), max(drawn)), "y")
        axis.set_title(f"{'relative ' if relative else ''}{TITLES[norm]} distance")
        axis.set_xlabel("input dimension n")
    marks = [
        Line2D([], [], color=shades([0, 1])[0], marker="o", markersize=3),
        Line2D([], [], color="tab:red", marker="s", linestyle="", fillstyle="none", markersize=3),
        Line2D([], [], color=_GREY, linestyle=":"),
    ]
    words = ["ours: median, 45th to 55th percentile, c (n − n₀)ᵉ", "the authors' medians", "Theorem 1 for the median"]
    figure.legend(marks, words, loc="outside lower center", ncols=3)
    return figure


def supplement(found: Mapping[str, Medians]) -> Figure:
    """The same for the supplement's architectures."""
    names = ["resnet", "lenet", "convolutional", "fully-connected"]
    colours = shades(names)
    figure, axes = panels(1, len(found), 2.7)
    for axis, (norm, medians) in zip(axes, found.items(), strict=True):
        drawn = []
        for name in names:
            drawn += _medians(axis, medians.table[medians.table["architecture"] == name], norm, None, False, colours[name])
        logarithmic(axis, _sparse(sorted(medians.table.loc[medians.table["architecture"].isin(names), "input_dim"].unique()), 2.4))
        logarithmic(axis, _round(min(drawn), max(drawn)), "y")
        axis.set_title(f"{TITLES[norm]} distance")
        axis.set_xlabel("input dimension n")
    marks = [Line2D([], [], color=colours[name], marker="o", markersize=3) for name in names]
    figure.legend(marks, [NAMES[name] for name in names], loc="outside lower center", ncols=4)
    return figure


def law(table: pd.DataFrame) -> Figure:
    """Quantiles of the distances against those of the first-order law, and against those of f as linearised at each input."""
    figure, axes = panels(1, len(NORMS), 2.7)
    sides = sorted(table["side"].unique())
    colours = shades(sides)
    for axis, norm in zip(axes, NORMS, strict=True):
        drawn = []
        for side in sides:
            line = table[(table["norm"] == norm) & (table["side"] == side)]
            reach = np.stack([line["found"] - line["found_low"], line["found_high"] - line["found"]])
            axis.errorbar(
                line["law"],
                line["found"],
                np.where(np.isfinite(reach), reach, 0),
                fmt="o",
                capsize=1,
                elinewidth=0.6,
                color=colours[side],
                markersize=2.5,
            )
            axis.plot(line["law"], line["linear"], color=colours[side], linewidth=0.8, linestyle="--")
            drawn += [*line["law"], *line["found"][np.isfinite(line["found"])]]
        ends = [min(drawn), max(drawn)]
        axis.plot(ends, ends, color=_GREY, linewidth=0.8)
        logarithmic(axis, _sparse(_round(*ends), 4))
        logarithmic(axis, _round(*ends), "y")
        axis.set_title(f"{TITLES[norm]} distance")
        axis.set_xlabel("quantile of the first-order law")
    axes[0].set_ylabel("quantile found")
    marks = [Line2D([], [], color=colours[side], marker="o", linestyle="", markersize=3) for side in sides]
    marks += [Line2D([], [], color=_GREY, linestyle="--"), Line2D([], [], color=_GREY)]
    words = [f"side {side}" for side in sides] + ["f linearised at x", "equal"]
    figure.legend(marks, words, loc="outside lower center", ncols=len(words))
    return figure


def _dataset_title(dataset: str, rows: pd.DataFrame) -> str:
    return str(rows.loc[rows["dataset"] == dataset, "data"].iloc[0])


def percentiles(rows: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Figure 3: the share of images with an adversarial example within r, trained networks and the same ones before, and fitted lines."""
    datasets = [*rows["dataset"].unique()]
    figure, axes = panels(len(datasets), len(KINDS), 2.2 * len(datasets) + 0.3)
    colours = {"trained": shades([0, 1])[0], "random": shades([0, 1, 2])[1]}
    for index, dataset in enumerate(datasets):
        for axis, kind in zip(axes[3 * index : 3 * index + 3], KINDS, strict=True):
            for state, colour in colours.items():
                own = rows[(rows["dataset"] == dataset) & (rows["kind"] == kind) & (rows["state"] == state)]
                r = np.sort(own["distance"].dropna())
                shares = (np.arange(len(r)) + 0.5) / len(own)
                axis.plot(r, shares, color=colour, drawstyle="steps-mid", linestyle="-" if state == "trained" else "--")
                if state == "trained":
                    told = table[(table["dataset"] == dataset) & (table["kind"] == kind) & (table["state"] == state)]
                    slope = float(told["line"].iloc[0])
                    axis.plot([0, 0.6 / slope], [0, 0.6], color=_GREY, linewidth=0.8)
            told = rows[(rows["dataset"] == dataset) & (rows["kind"] == kind) & (rows["state"] == "trained")]
            # The tail of random networks is long: what is to be seen are the trained ones.
            axis.set_xlim(0, 1.5 * float(np.nanquantile(told["distance"], 0.95)))
            axis.set_ylim(0, 1)
            if index == 0:
                axis.set_title(f"{kind} images")
            if kind == "random":
                axis.set_ylabel(f"{_dataset_title(dataset, rows)}\nshare within r")
            if index == len(datasets) - 1:
                axis.set_xlabel("ℓ₁ distance r")
    marks = [Line2D([], [], color=colours["trained"]), Line2D([], [], color=colours["random"], linestyle="--"), Line2D([], [], color=_GREY)]
    words = ["trained networks", "the same before training", "line fitted up to 25%"]
    figure.legend(marks, words, loc="outside lower center", ncols=3)
    return figure


def trained(table: pd.DataFrame) -> Figure:
    """Figure 4: median l1 distances of random, training and test images, before and after training."""
    datasets = [*table["dataset"].unique()]
    figure, axes = panels(1, len(datasets), 2.4)
    colours = {"random": shades([0, 1, 2])[1], "trained": shades([0, 1])[0]}
    for axis, dataset in zip(axes, datasets, strict=True):
        own = table[table["dataset"] == dataset]
        for offset, (state, colour) in zip((-0.18, 0.18), colours.items(), strict=True):
            line = own[own["state"] == state].set_index("kind").loc[list(KINDS)]
            reach = np.stack([line["median"] - line["median_low"], line["median_high"] - line["median"]])
            place = np.arange(len(KINDS)) + offset
            axis.bar(place, line["median"], 0.34, color=colour)
            axis.errorbar(
                place, line["median"], np.where(np.isfinite(reach), reach, 0), fmt="none", color="black", capsize=2, elinewidth=0.7
            )
        axis.set_yscale("log")
        axis.set_xticks(range(len(KINDS)), [f"{kind}\nimages" for kind in KINDS])
        axis.set_title(f"{_dataset_title(dataset, own)}: {int(own['networks'].iloc[0])} networks")
        axis.grid(False, axis="x")
    axes[0].set_ylabel("median ℓ₁ distance")
    marks = [Line2D([], [], color=colour, linewidth=6) for colour in colours.values()]
    figure.legend(marks, ["random networks", "the same, trained"], loc="outside lower center", ncols=2)
    return figure


def bounds(rows: pd.DataFrame) -> Figure:
    """What Theorem 1 guarantees with probability 1 - delta beside the delta quantile of what attacks find, for each architecture."""
    own = summary.first_inputs(rows[rows["norm"] == "l1"])
    names = [name for name in NAMES if (own["architecture"] == name).any()]
    figure, axes = panels(2, 3, 4.2)
    for axis, name in zip(axes, names, strict=False):
        chosen = own[own["architecture"] == name]
        sides = sorted(chosen["side"].unique())
        ends = [sides[0], sides[-1]] if len(sides) > 1 else sides
        for side, colour in shades(ends).items():
            cell = chosen[chosen["side"] == side]
            distance = np.sort(cell["distance"].dropna())
            deltas = (np.arange(len(distance)) + 0.5) / len(cell)
            axis.plot(deltas, distance, color=colour, drawstyle="steps-mid", label=f"side {side}")
            axis.plot(deltas, [float(np.median(summary.guaranteed(cell, delta))) for delta in deltas], color=colour, linestyle=":")
        logarithmic(axis, [delta for delta in (0.01, 0.03, 0.1, 0.3, 1.0) if delta >= 0.3 / chosen["network"].nunique()])
        axis.set_yscale("log")
        axis.set_title(f"{NAMES[name]}, M = {summary.stretch(chosen):.3g}")
        axis.legend(fontsize=6.5, loc="upper left")
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis in axes[max(len(names) - 3, 0) : len(names)]:
        axis.set_xlabel("δ")
    for axis in axes[::3]:
        axis.set_ylabel("ℓ₁ distance")
    marks = [Line2D([], [], color=_GREY), Line2D([], [], color=_GREY, linestyle=":")]
    figure.legend(marks, ["δ quantile of the attacked distances", "Theorem 1: r(δ)"], loc="outside lower center", ncols=2)
    return figure


def rays(rows: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    """The share of random directions along which the class changes within t, with Theorem 1's bound; and its low quantile against n."""
    figure, axes = panels(1, 2, 2.5)
    groups = [(name, side) for name in NAMES for side in sorted(rows.loc[rows["architecture"] == name, "side"].unique())]
    colours = shades(groups)
    for name, side in groups:
        cell = rows[(rows["architecture"] == name) & (rows["side"] == side)]
        length = np.sort((cell["length"] / cell["input_norm"]).dropna())
        shares = (np.arange(len(length)) + 0.5) / len(cell)
        axes[0].plot(length, shares, color=colours[name, side], drawstyle="steps-mid", label=f"{NAMES[name]}, side {side}")
    fine = np.geomspace(0.01, 0.6, 50)
    for value in sorted({summary.stretch(cell) for _, cell in rows.groupby(["architecture", "side"])}):
        axes[0].plot(fine * np.pi / (2 * value + np.pi), fine, color=_GREY, linestyle=":", linewidth=1)
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].set_xlabel("length t / ‖x‖ along a random direction")
    axes[0].set_ylabel("share that has changed class")
    axes[0].legend(fontsize=5.5, loc="upper left", frameon=True)
    line = cells[(cells["architecture"] == "resnet") & np.isfinite(cells["quantile"])].sort_values("input_dim")
    reach = np.stack([line["quantile"] - line["quantile_low"], line["quantile_high"] - line["quantile"]])
    axes[1].errorbar(
        line["input_dim"], line["quantile"], np.where(np.isfinite(reach), reach, 0), fmt="o", capsize=2, color=shades([0, 1])[0]
    )
    if len(line):
        n = line["input_dim"].to_numpy(np.float64)
        scale = float(np.exp(np.log(line["quantile"] / np.sqrt(n)).mean()))
        axes[1].plot(n, scale * np.sqrt(n), color=_GREY, linestyle="--", linewidth=0.9)
        logarithmic(axes[1], n.tolist())
        axes[1].set_yscale("log")
    else:
        axes[1].text(0.5, 0.5, "too few rays meet the boundary", ha="center", transform=axes[1].transAxes)
    axes[1].set_xlabel("input dimension n")
    axes[1].set_ylabel(f"{summary.LOW_QUANTILE:.0%} quantile of t (residual)")
    return figure


def _picture(values: pd.Series, entries: pd.DataFrame) -> np.ndarray:
    """An image [side, side] or [side, side, 3] from its entries."""
    channels = int(entries["channel"].max()) + 1
    side = round((len(entries) / channels) ** 0.5)
    image: np.ndarray = values.to_numpy().reshape(side, side, channels)
    return image[..., 0] if channels == 1 else image


def examples(rows: pd.DataFrame) -> Figure:
    """Test images, their smallest perturbations in each norm (scaled to be seen) and what comes out, side by side."""
    groups = [(dataset, index) for dataset in rows["dataset"].unique() for index in rows.loc[rows["dataset"] == dataset, "input"].unique()]
    figure, axes = panels(len(groups), 1 + 2 * len(NORMS), 1.02 * len(groups) + 0.3)
    for row, (dataset, index) in enumerate(groups):
        own = rows[(rows["dataset"] == dataset) & (rows["input"] == index)]
        line = axes[row * (1 + 2 * len(NORMS)) : (row + 1) * (1 + 2 * len(NORMS))]
        for column, norm in enumerate(NORMS):
            entries = own[own["norm"] == norm].sort_values(["pixel", "channel"])
            if column == 0:
                line[0].imshow(_picture(entries["original"], entries), cmap="gray", vmin=0, vmax=1)
            largest = max(float(entries["change"].abs().max()), 1e-12)
            shown = _picture(0.5 + entries["change"] / (2 * largest), entries)
            line[1 + 2 * column].imshow(shown, cmap="gray", vmin=0, vmax=1)
            line[2 + 2 * column].imshow(
                _picture((entries["original"] + entries["change"]).clip(0, 1), entries), cmap="gray", vmin=0, vmax=1
            )
            line[1 + 2 * column].set_xlabel(f"{entries['distance'].iloc[0]:.3g}  (×{1 / (2 * largest):.2g})", fontsize=5.5, labelpad=1)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
    axes[0].set_title("image")
    for column, norm in enumerate(NORMS):
        axes[1 + 2 * column].set_title(f"{TITLES[norm]} change")
        axes[2 + 2 * column].set_title("result")
    return figure


def draw(files: Mapping[str, Sequence[Path]], published_file: Path, seed: int, out: Path) -> None:
    """Draws every figure into the folder `out`; `files`: the record files of each experiment by its name."""
    rows, drawn, directions, attacked, shown = (records.read(files[name]) for name in ("sample", "law", "rays", "attack", "examples"))
    published = summary.read_published(published_file)
    found = summary.medians(rows, seed)
    table = summary.lines(attacked, seed)
    made = {
        "distances": distances(found, rows, published, relative=False),
        "relative": distances(found, rows, published, relative=True),
        "supplement": supplement(found),
        "law": law(summary.law(rows, drawn, seed)),
        "percentiles": percentiles(attacked, table),
        "trained": trained(table),
        "bounds": bounds(rows),
        "rays": rays(directions, summary.ray_quantiles(directions, seed)[0]),
        "examples": examples(shown),
    }
    inputs = [*(file for paths in files.values() for file in paths), published_file]
    born = certificate(parameters={}, modules=[__name__], inputs=inputs, seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
