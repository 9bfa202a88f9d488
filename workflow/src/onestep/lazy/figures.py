"""The figures of `lazy`: the published ones, redrawn so that they can be laid beside the originals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from onestep import records
from onestep.drawing import logarithmic, panels, save, shades
from onestep.lazy import summary
from onestep.provenance import certificate

_GREY = "0.45"
_PANELS = (
    ("perturbation", "perturbation ‖δ‖ / ‖x‖", -0.5),
    ("gradient", "gradient's norm ‖∇f(x)‖", 0.5),
    ("step", "step η", -1.0),
)
NORMS = ("unit", "pixels")


def _line(axes: Axes, cells: pd.DataFrame, quantity: str, **style: Any) -> None:
    """Means against the dimension, with their intervals where there are any."""
    line = cells.sort_values("input_dim")
    mean = line[quantity].to_numpy()
    reach = np.stack([mean - line[f"{quantity}_low"], line[f"{quantity}_high"] - mean])
    # A lower end at or below 0 has no place on a logarithmic axis: the bar ends at a tenth of the mean.
    bars = np.where(np.isfinite(reach), np.minimum(reach, [[0.9], [np.inf]] * mean), 0.0)
    axes.errorbar(line["input_dim"], mean, bars, marker="o", capsize=1.5, elinewidth=0.7, **style)


def _round(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten around a range."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [value for value in values if low / 2 <= value <= 2 * high]


def _theory(axes: Axes, dims: Sequence[float], quantity: str, exponent: float, norm: str, cells: pd.DataFrame) -> None:
    """The theory's curve: sqrt(d)/4 bounds the gradient; the rest is the power through the smallest width's mean at the largest d."""
    fine = np.array(dims, dtype=float)
    if quantity == "gradient" and norm == "unit":
        axes.plot(fine, np.sqrt(fine) / 4, color=_GREY, linestyle="--", linewidth=0.9)
        return
    anchor = cells[cells["input_dim"] == fine[-1]][quantity].iloc[0]
    axes.plot(fine, anchor * (fine / fine[-1]) ** exponent, color=_GREY, linestyle="--", linewidth=0.9)


def _dimension(cells: pd.DataFrame, norm: str, by: str, values: Sequence[float], words: dict[float, str]) -> Figure:
    """Perturbation, gradient and step against d, one line for each value of `by`; without a ball dotted."""
    dims = sorted(cells["input_dim"].unique())
    figure, axes = panels(1, 3, 2.5)
    finite = [value for value in values if np.isfinite(value)]
    colours = shades(finite) | {np.inf: "tab:red"}
    for axis, (quantity, title, exponent) in zip(axes, _PANELS, strict=True):
        for value in values:
            style = {"color": colours[value], "linestyle": "-" if np.isfinite(value) else ":"}
            _line(axis, cells[cells[by] == value], quantity, **style)
        _theory(axis, dims, quantity, exponent, norm, cells[cells[by] == values[0]])
        logarithmic(axis, dims)
        logarithmic(axis, _round(cells[quantity].min(), cells[quantity].max()), "y")
        axis.set_title(title)
        axis.set_xlabel("input dimension d")
    marks = [Line2D([], [], color=colours[value], linestyle="-" if np.isfinite(value) else ":", marker="o") for value in values]
    figure.legend(marks, [words[value] for value in values], loc="outside lower center", ncols=len(values))
    return figure


def dimension(cells: pd.DataFrame, norm: str) -> Figure:
    """Figures 2 (pixels) and 5 (unit norm): the smallest C0, every width; dotted the smallest width trained without a ball."""
    lazy = cells[(cells["protocol"] == "corrected") & (cells["norm"] == norm)]
    held = lazy[lazy["c0"] == lazy["c0"].min()]
    words = {float(width): f"m = {width:,}" for width in sorted(held["width"].unique())}
    free = lazy[np.isinf(lazy["c0"])]
    free = free[free["width"] == free["width"].min()]
    if len(free):
        words[np.inf] = f"m = {free['width'].min():,}, no ball"
    # A line is named by its width: the one without a ball by an infinite one.
    return _dimension(pd.concat([held, free.assign(width=np.inf)]), norm, "width", list(words), words)


def radius(cells: pd.DataFrame, norm: str) -> Figure:
    """Figures 3 (pixels) and 6 (unit norm): every C0 at the largest width that has several; dotted without a ball, at its own width."""
    lazy = cells[(cells["protocol"] == "corrected") & (cells["norm"] == norm)]
    finite = lazy[np.isfinite(lazy["c0"])]
    widest = finite[finite.groupby("width")["c0"].transform("nunique") > 1]["width"].max()
    chosen = finite[finite["width"] == widest]
    words = {c0: f"C₀ = {c0:g}" for c0 in sorted(chosen["c0"].unique())}
    free = lazy[np.isinf(lazy["c0"])]
    if len(free):
        free = free[free["width"] == free["width"].max()]
        words[np.inf] = f"no ball (m = {int(free['width'].max()):,})"
    return _dimension(pd.concat([chosen, free]), norm, "c0", list(words), words)


def histograms(rows: pd.DataFrame) -> Figure:
    """Figure 7 and what it is under the other readings: perturbation, gradient and step at the largest d and the smallest C0."""
    told = rows[rows["correct"] & (rows["status"] == "switched") & (rows["input_dim"] == rows["input_dim"].max())]
    told = told[told["c0"] == told["c0"].min()].assign(perturbation=told["perturbation_norm"] / told["input_norm"])
    kinds = [(protocol, norm) for protocol in ("corrected", "as_published") for norm in NORMS]
    kinds = [kind for kind in kinds if ((told["protocol"] == kind[0]) & (told["norm"] == kind[1])).any()]
    figure, axes = panels(len(kinds), 3, 1.5 * len(kinds))
    for index, (protocol, norm) in enumerate(kinds):
        part = told[(told["protocol"] == protocol) & (told["norm"] == norm)]
        part = part[part["width"] == part["width"].max()]
        words = f"{'text' if protocol == 'corrected' else 'code'}, {'‖x‖ = 1' if norm == 'unit' else 'pixels'}\nm = {part['width'].max():,}"
        for axis, (column, title) in zip(
            axes[3 * index : 3 * index + 3],
            (("perturbation", "perturbation ‖δ‖ / ‖x‖"), ("gradient_norm", "gradient's norm ‖∇f(x)‖"), ("step", "step η")),
            strict=True,
        ):
            axis.hist(part[column], bins=40, color=shades([0, 1])[0], linewidth=0)
            axis.set_ylabel(words if column == "perturbation" else "")
            if column == "step":
                axis.axvline(0.045, color=_GREY, linestyle="--", linewidth=0.9)
            if index == 0:
                axis.set_title(title)
    return figure


def _edges(values: Sequence[float], logs: bool = False) -> np.ndarray:
    """The ends of cells around ascending values: midway between them, and at the outermost themselves."""
    inner = np.log(values) if logs else np.array(values)
    edges = np.concatenate([inner[:1], (inner[1:] + inner[:-1]) / 2, inner[-1:]])
    return np.exp(edges) if logs else edges


def robust(table: pd.DataFrame, contours: pd.DataFrame) -> Figure:
    """Figure 4: robust accuracy against d and the perturbation, and against m and the ball, with the contours, the text's and ours."""
    figure, axes = panels(1, 2, 3.0)
    for axis, (panel, (size, varied, levels)) in zip(axes, summary.PANELS.items(), strict=True):
        own = table[(table["panel"] == panel) & (table["protocol"] == "corrected")]
        means = own.groupby([size, varied])["robust"].mean().reset_index()
        sizes = sorted(means[size].unique())
        columns = _edges(sizes, logs=True)
        columns[[0, -1]] *= [(columns[0] / columns[1]), (columns[-1] / columns[-2])] if len(sizes) > 1 else [0.9, 1.1]
        for index, value in enumerate(sizes):
            line = means[means[size] == value]
            ends = _edges(line[varied].to_list())
            mesh = axis.pcolormesh(columns[index : index + 2], ends, line[["robust"]].to_numpy(), vmin=0, vmax=1, cmap="viridis")
        fine = np.geomspace(sizes[0], sizes[-1], 100)
        constant = 5 if panel == "budgets" else 25
        symbol = "d" if panel == "budgets" else "m"
        axis.plot(fine, constant / np.sqrt(fine), color="white", linestyle="--", linewidth=1.2, label=f"{constant} / √{symbol}")
        for level, marker in zip(levels, "osv", strict=False):
            chosen = contours[(contours["panel"] == panel) & (contours["protocol"] == "corrected") & (contours["level"] == level)]
            crossing = chosen.groupby("size")["crossing"].mean().dropna()
            if len(crossing):
                axis.plot(crossing.index, crossing, color="tab:red", marker=marker, linewidth=0.9, markersize=3.5, label=f"{level:.0%}")
        logarithmic(axis, sizes)
        axis.set_ylim(0.05, 1)
        axis.grid(False)
        axis.set_xlabel("input dimension d" if panel == "budgets" else "width m")
        axis.set_ylabel("perturbation ‖δ‖" if panel == "budgets" else "radius V of the ball")
        axis.legend(loc="upper right", frameon=True, facecolor="0.75", fontsize=6.5)
    figure.colorbar(mesh, ax=axes, label="robust test accuracy")
    return figure


def collapse(table: pd.DataFrame, balls: pd.DataFrame) -> Figure:
    """Figure 4 against C0 / (||delta|| sqrt(d)), and the length within which 90% of images are flipped for certain in the whole ball."""
    figure, axes = panels(1, 2, 2.6)
    text = table[table["protocol"] == "corrected"]
    scaled = text.assign(c0=text["radius"] * text["width"] ** 0.5, strength=text["budget"] * text["input_dim"] ** 0.5)
    for panel, (size, _, _) in summary.PANELS.items():
        own = scaled[scaled["panel"] == panel]
        colours = shades(sorted(own[size].unique()))
        for value, line in own.groupby(size):
            axes[0].plot(
                line["c0"] / line["strength"],
                line["robust"],
                "o" if panel == "budgets" else "^",
                color=colours[value],
                markersize=3,
                label=f"{'d' if panel == 'budgets' else 'm'} = {value:,}",
            )
    axes[0].set_xscale("log")
    axes[0].set_xlabel("C₀ / (‖δ‖ √d)")
    axes[0].set_ylabel("robust test accuracy")
    axes[0].legend(fontsize=5.5, ncols=2, loc="upper left")
    widest = balls[(balls["width"] == balls["width"].max()) & np.isfinite(balls["flipped"])]
    colours = shades(sorted(widest["c0"].unique()))
    for c0, line in widest.groupby("c0"):
        line = line.sort_values("input_dim")
        reach = np.stack([line["flipped"] - line["flipped_low"], line["flipped_high"] - line["flipped"]])
        bars = np.where(np.isfinite(reach), reach, 0)
        axes[1].errorbar(line["input_dim"], line["flipped"], bars, marker="o", capsize=1.5, color=colours[c0], label=f"C₀ = {c0:g}")
    axes[1].axhline(5, color=_GREY, linestyle="--", linewidth=0.9)
    if len(widest):
        logarithmic(axes[1], sorted(widest["input_dim"].unique()))
        logarithmic(axes[1], _round(5, widest["flipped"].max()), "y")
        axes[1].legend(fontsize=6.5)
    else:
        axes[1].text(0.5, 0.5, "nothing is certain of these balls", ha="center", transform=axes[1].transAxes)
    axes[1].set_xlabel("input dimension d")
    axes[1].set_ylabel("√d ‖δ‖ that flips 90% for certain")
    return figure


def journey(rows: pd.DataFrame) -> Figure:
    """Training without a ball: how far it goes, how many neurons change sign, and how the features turn."""
    norms = [norm for norm in NORMS if (rows["norm"] == norm).any()]
    figure, axes = panels(len(norms), 3, 2.2 * len(norms))
    dims = sorted(rows["input_dim"].unique())
    colours = shades(dims)
    columns = (
        ("farthest", "smallest ball's C₀ = √m max ‖wₛ − wₛ₀‖"),
        ("changed", "share of activations changed"),
        ("alignment", "kernel alignment with the start"),
    )
    for index, norm in enumerate(norms):
        own = rows[rows["norm"] == norm]
        for axis, (column, title) in zip(axes[3 * index : 3 * index + 3], columns, strict=True):
            for (dim, _), line in own.groupby(["input_dim", "run"]):
                axis.plot(line["steps"], line[column], color=colours[dim], linewidth=0.8)
            axis.set_xscale("log")
            if column == "farthest":
                logarithmic(axis, _round(own[column].min(), own[column].max()), "y")
                axis.axhline(10, color=_GREY, linestyle="--", linewidth=0.8)
                axis.set_ylabel("‖x‖ = 1" if norm == "unit" else "pixels")
            if index == 0:
                axis.set_title(title)
            if index == len(norms) - 1:
                axis.set_xlabel("steps of SGD")
    marks = [Line2D([], [], color=colours[dim]) for dim in dims]
    figure.legend(marks, [f"d = {dim}" for dim in dims], loc="outside lower center", ncols=len(dims))
    return figure


def bracket(table: pd.DataFrame) -> Figure:
    """The single step beside the smallest perturbation that was found, and a bound below all: medians over images."""
    norms = [norm for norm in NORMS if (table["norm"] == norm).any()]
    radii = sorted(table["c0"].unique())
    radii = [*dict.fromkeys([radii[0], *(c0 for c0 in radii[-2:])])]
    figure, axes = panels(len(norms), len(radii), 2.1 * len(norms))
    styles = {"step": ("o", "-", "single step"), "found": ("s", "--", "smallest found"), "bound": ("^", ":", "certified bound")}
    colours = shades(list(styles))
    for index, (norm, c0) in enumerate((norm, c0) for norm in norms for c0 in radii):
        own = table[(table["norm"] == norm) & (table["c0"] == c0)].sort_values("input_dim")
        for name, (marker, line, _) in styles.items():
            axes[index].plot(own["input_dim"], own[name], marker=marker, linestyle=line, color=colours[name], markersize=3)
        logarithmic(axes[index], own["input_dim"].to_list())
        logarithmic(axes[index], _round(own["bound"].min(), own["step"].max()), "y")
        if index < len(radii):
            axes[index].set_title(f"C₀ = {c0:g}" if np.isfinite(c0) else "no ball")
        if index % len(radii) == 0:
            axes[index].set_ylabel(f"‖δ‖ / ‖x‖, {'‖x‖ = 1' if norm == 'unit' else 'pixels'}")
        if index >= len(radii) * (len(norms) - 1):
            axes[index].set_xlabel("input dimension d")
    marks = [axes[0].plot([], [], color=colours[name], marker=marker, linestyle=line)[0] for name, (marker, line, _) in styles.items()]
    figure.legend(marks, [words for _, _, words in styles.values()], loc="outside lower center", ncols=len(styles))
    return figure


def draw(files: Mapping[str, Sequence[Path]], seed: int, out: Path) -> None:
    """Draws every figure into the folder `out`; `files`: the record files of each experiment by its name."""
    rows = records.read(files["attack"])
    cells = summary.cells(summary.models(rows))
    made = {f"{name}_{norm}": figure(cells, norm) for name, figure in (("dimension", dimension), ("radius", radius)) for norm in NORMS}
    made["histograms"] = histograms(rows)
    attacked = summary.robust(records.read(files["adversarial"]))
    made["robust"] = robust(attacked, summary.contours(attacked))
    made["collapse"] = collapse(attacked, summary.ball(records.read(files["ball"])))
    made["journey"] = journey(records.read(files["journey"]))
    made["bracket"] = bracket(summary.bracket(records.read(files["bracket"])))
    born = certificate(parameters={}, modules=[__name__], inputs=[file for paths in files.values() for file in paths], seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
