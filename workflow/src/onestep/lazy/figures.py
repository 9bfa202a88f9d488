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


def draw(files: Mapping[str, Sequence[Path]], seed: int, out: Path) -> None:
    """Draws every figure into the folder `out`; `files`: the record files of each experiment by its name."""
    rows = records.read(files["attack"])
    cells = summary.cells(summary.models(rows))
    made = {f"{name}_{norm}": figure(cells, norm) for name, figure in (("dimension", dimension), ("radius", radius)) for norm in NORMS}
    made["histograms"] = histograms(rows)
    born = certificate(parameters={}, modules=[__name__], inputs=[file for paths in files.values() for file in paths], seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
