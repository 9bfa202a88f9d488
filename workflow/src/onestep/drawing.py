"""One visual language for every figure: fonts, sizes, colours, axes, and files that are the same bytes each time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from onestep.provenance import whole, write_certificate

PAGE_WIDTH = 6.7
"""Width of the paper's text block in inches: figures are drawn at the size they are printed."""

_STYLE: Mapping[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "onestep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A page-wide figure of rows x columns panels, `height` inches high; the axes row by row."""
    sns.set_theme(context="paper", style="whitegrid", rc=dict(_STYLE))
    figure, axes = plt.subplots(rows, columns, figsize=(PAGE_WIDTH, height), squeeze=False, **options)
    return figure, list(axes.flat)


def shades(values: Sequence[Any]) -> dict[Any, Any]:
    """A colour for each value of an ordered quantity, from dark to light, readable in grey."""
    return dict(zip(values, sns.color_palette("viridis", max(len(values), 2)), strict=False))


def logarithmic(axes: Axes, values: Sequence[float], which: str = "x") -> None:
    """A logarithmic axis with a tick at each value of the grid, as far as they can be read side by side."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    shown: list[float] = []
    span = max(values) / min(values)
    for value in values:
        if not shown or (value / shown[-1]) > span**0.11:
            shown.append(value)
    axis.set_ticks(shown, [f"{value:,g}" for value in shown])
    axis.set_minor_locator(LogLocator(subs=[]))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, path: Path, born: Mapping[str, Any]) -> None:
    """Writes a figure as PDF and as SVG beside it, each whole and free of times, with their certificate beside them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # is laid out now, once for both
    for suffix in (".pdf", ".svg"):
        target = path.with_suffix(suffix)
        with whole(target) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None} if suffix == ".pdf" else {"Date": None})
        write_certificate(target, born)
    plt.close(figure)
