"""The figures of `singlestep`: the published ones (1, 2a, 2b, deeper networks included) and what goes beyond them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from onestep import records
from onestep.drawing import logarithmic, panels, save, shades
from onestep.provenance import certificate
from onestep.singlestep.summary import (
    BRACKET_RATIOS,
    SMOOTH,
    VARIANT_KEY,
    Array,
    activation_table,
    bracket_cells,
    compare,
    first_inputs,
    hessian_cells,
    hessian_law,
    infinite_width_cells,
    largest_cell,
    step_ratio_limit,
    summarise,
    well_sampled,
)
from onestep.statistics.intervals import exact_quantile, exact_share
from onestep.theory import bounds, laws

_DASHED: dict[str, Any] = {"color": "0.45", "linestyle": "--", "linewidth": 0.8}
_BARS: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.5}


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _short(value: float) -> str:
    """10, 300, 1k, 30k, 1M."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if value >= size and value % (size // 10) == 0:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _grid(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of dimensions or widths: labels at powers of ten where the grid spans several, else at its values."""
    decades = [10**power for power in range(12) if min(values) <= 10**power <= max(values)]
    if len(decades) < 3:
        logarithmic(axes, values)
        return
    axes.set_xscale("log")
    axes.xaxis.set_ticks(decades, [_short(value) for value in decades])
    axes.xaxis.set_ticks(values, minor=True)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _key(figure: Figure, colours: dict[Any, Any], title: str, extra: Sequence[Line2D] = ()) -> None:
    """One legend for all panels, above them."""
    names = [value if isinstance(value, str) else _short(value) for value in colours]
    lines = [Line2D([], [], color=colour, marker="o", label=name) for name, colour in zip(names, colours.values(), strict=True)]
    head = Line2D([], [], color="none", label=title)
    figure.legend(
        handles=[head, *lines, *extra], loc="outside upper center", ncols=len(lines) + 1 + len(extra), columnspacing=1.2, handlelength=1.4
    )


def _by_depth(table: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame, Any], None], label: str, extra: Sequence[Line2D]) -> Figure:
    """A panel for each depth, a line for each width, against the input dimension."""
    depths, dims = sorted(table["depth"].unique()), sorted(table["input_dim"].unique())
    colours = shades(sorted(table["width"].unique()))
    rows = -(-len(depths) // 3)
    figure, axes = panels(rows, min(3, len(depths)), 0.5 + 1.75 * rows, sharex=True, sharey=True)
    for axis, depth in zip(axes, depths, strict=False):
        for width, colour in colours.items():
            draw(axis, table[(table["depth"] == depth) & (table["width"] == width)], colour)
        axis.set_title(_layers(depth))
        _grid(axis, dims)
    for axis in axes[len(depths) :]:
        axis.set_visible(False)
    axes[0].set_ylim(bottom=0)
    figure.supxlabel("input dimension d", fontsize=8)
    figure.supylabel(label, fontsize=8)
    _key(figure, colours, "width k:", extra)
    return figure


def _bars(table: pd.DataFrame, name: str) -> Any:
    """Distances from the estimate to either end of its interval; the exact interval of a share may end at the estimate itself."""
    low, high = table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]
    return np.stack([low.clip(lower=0), high.clip(lower=0)])


def _mark_few(axes: Axes, line: pd.DataFrame, name: str, colour: Any) -> None:
    """Open circles for cells with too few networks to judge by."""
    few = line[line["judged"] == 0]
    axes.plot(few["input_dim"], few[name], color=colour, marker="o", markerfacecolor="white", linestyle="", zorder=3)


def switched(table: pd.DataFrame) -> Figure:
    """Figure 1: the share of samples whose sign one step flips."""

    def draw(axes: Axes, line: pd.DataFrame, colour: Any) -> None:
        share, sd = line["switched"], line["switched_sd"]
        axes.errorbar(line["input_dim"], share, yerr=_bars(line, "switched"), color=colour, marker="o", **_BARS)
        axes.fill_between(line["input_dim"], share - sd, (share + sd).clip(upper=1), color=colour, alpha=0.08, linewidth=0)
        for edge in (share - sd, (share + sd).clip(upper=1)):
            axes.plot(line["input_dim"], edge, color=colour, linewidth=0.4, alpha=0.6)
        _mark_few(axes, line, "switched", colour)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")

    return _by_depth(table, draw, "share of samples switched", [])


def _level(name: str, reference: Callable[[Axes], None]) -> Callable[[Axes, pd.DataFrame, Any], None]:
    def draw(axes: Axes, line: pd.DataFrame, colour: Any) -> None:
        axes.errorbar(line["input_dim"], line[name], yerr=_bars(line, name), color=colour, marker="o", **_BARS)
        _mark_few(axes, line, name, colour)
        reference(axes)

    return draw


_LAW = Line2D([], [], label="limit for wide networks", **_DASHED)


def step(table: pd.DataFrame) -> Figure:
    """Figure 2a: the mean smallest step over the switched samples; its limit is E|N(0,1)| sqrt 2."""

    def limit(axes: Axes) -> None:
        axes.axhline(laws.HALF_NORMAL_MEAN * np.sqrt(2), **_DASHED)

    return _by_depth(table, _level("step", limit), "mean smallest step |η|", [_LAW])


def gradient(table: pd.DataFrame) -> Figure:
    """Figure 2b: the mean gradient norm over all samples; its limit is 1 / sqrt 2."""

    def limit(axes: Axes) -> None:
        axes.axhline(np.sqrt(0.5), **_DASHED)

    return _by_depth(table, _level("gradient", limit), "mean gradient norm ‖∇f(x)‖", [_LAW])


_SCALES = {"he": "He: variance 2/k", "unit": "unit: variance 1/k"}


def scales(table: pd.DataFrame) -> Figure:
    """What the other reading of the text, hidden variance 1/k, gives: all three quantities against depth, in the largest cell."""
    largest = largest_cell(table)
    figure, axes = panels(1, 3, 2.2)
    names = (("switched", "share of samples switched"), ("step", "mean smallest step |η|"), ("gradient", "mean gradient norm ‖∇f(x)‖"))
    colours = shades([*_SCALES, None])
    for axis, (name, label) in zip(axes, names, strict=True):
        for shift, (scale, words) in zip((-0.06, 0.06), _SCALES.items(), strict=True):
            line = largest[largest["hidden_scale"] == scale]
            bars = _bars(line, name)
            axis.errorbar(line["depth"] + shift, line[name], yerr=bars, color=colours[scale], marker="o", **_BARS, label=words)
        axis.set_ylim(bottom=0 if name != "switched" else min(0.9, 0.98 * largest["switched_low"].min()))
        axis.set_xticks(sorted(largest["depth"].unique()))
        axis.set_title(label)
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    figure.supxlabel("number of hidden layers L", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _fine(values: Array) -> Array:
    """Infinite values left out."""
    return np.where(np.isfinite(values), values, np.nan)


def _quantiles(values: "pd.Series[float]", probabilities: Array, networks: int) -> tuple[Array, Array, Array]:
    """Quantiles between the ends of their exact intervals, an array like the probabilities each; a network is one observation."""
    found = [exact_quantile(values, p, networks) for p in probabilities]
    low, middle, high = np.array([(low, middle, high) for middle, (low, high) in found]).T
    return low, middle, high


def law(table: pd.DataFrame, samples: pd.DataFrame) -> Figure:
    """The half-normal law: quantiles in the largest cell at every depth, and the distance to the law against d, k and L."""
    figure, axes = panels(2, 2, 4.6)
    table = table[table["judged"] == 1]
    depths = sorted(samples["depth"].unique())
    largest = largest_cell(samples)
    probability = np.linspace(0.005, 0.995, 199)
    theory = laws.half_normal_quantile(probability)
    colours = shades(depths)
    axes[0].plot([0, 3], [0, 3], **_DASHED)
    for depth in depths:
        cell = largest[largest["depth"] == depth]
        low, measured, high = _quantiles(cell["perturbation_norm"].fillna(np.inf), probability, cell["network"].nunique())
        axes[0].fill_between(theory, _fine(low), _fine(high), color=colours[depth], alpha=0.15, linewidth=0)
        axes[0].plot(theory, _fine(measured), color=colours[depth])
    axes[0].set_xlabel("quantile of |N(0, 1)|")
    axes[0].set_ylabel("quantile of √d ‖δ‖ / ‖x‖")
    axes[0].set_title(f"d = {largest['input_dim'].max():,}, k = {largest['width'].max():,}")
    axes[0].set_ylim(0, 1.5 * theory.max())
    dims, widths = sorted(table["input_dim"].unique()), sorted(table["width"].unique())
    for axis, fixed, moving, grid, label in (
        (axes[1], "width", "input_dim", dims, "input dimension d"),
        (axes[2], "input_dim", "width", widths, "width k"),
    ):
        chosen = table[table[fixed] == table[fixed].max()]
        for depth in depths:
            line = chosen[chosen["depth"] == depth]
            axis.plot(line[moving], line["half_normal_distance"], color=colours[depth], marker="o")
        _grid(axis, grid)
        axis.set_xlabel(label)
        axis.set_title(f"{'k' if fixed == 'width' else 'd'} = {table[fixed].max():,}")
    chosen = table[table["input_dim"] == table["input_dim"].max()]
    for width, grey in zip(widths, np.linspace(0.8, 0, len(widths)), strict=True):
        line = chosen[chosen["width"] == width]
        axes[3].plot(line["depth"], line["half_normal_distance"], color=str(grey), marker="s", label=f"k = {_short(width)}")
    axes[3].set_xticks(depths)
    axes[3].set_xlabel("number of hidden layers L")
    axes[3].set_title(f"d = {dims[-1]:,}")
    for axis in axes[1:]:
        for error in sorted(table["half_normal_error"].unique()):
            axis.axhline(error, color="0.45", linestyle=":", linewidth=1)
        logarithmic(axis, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5], "y")
        axis.set_ylabel("distance to |N(0, 1)|")
    reach = [limit for axis in axes[1:] for limit in axis.get_ylim()]
    for axis in axes[1:]:
        axis.set_ylim(min(reach), max(reach))
    axes[3].legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.2)
    _key(figure, colours, "hidden layers L:")
    return figure


def bound(two_layer: pd.DataFrame, curved: pd.DataFrame, activations: pd.DataFrame) -> Figure:
    """Propositions 3 and 1: quantiles of |f| and of the gradient norm beside the explicit bounds, one hidden layer."""
    figure, axes = panels(2, 2, 4.4)
    widths = sorted(two_layer["width"].unique())
    relu = {width: two_layer[two_layer["width"] == width] for width in widths}
    smooth = {name: curved[curved["variant"] == name] for name in SMOOTH}
    for row, (cells, title) in enumerate(((relu, "relu, width k:"), (smooth, ""))):
        colours = shades(list(cells))
        for name, cell in cells.items():
            cell = first_inputs(cell[cell["input_dim"] == cell["input_dim"].max()])
            cell = cell[cell["width"] == cell["width"].max()]
            dim, width = cell["input_dim"].iloc[0], cell["width"].iloc[0]
            gamma = np.geomspace(max(4 / len(cell), 0.003), 0.5, 60)
            for axis, values, probability in (
                (axes[2 * row], cell["value"].abs(), 1 - gamma),
                (axes[2 * row + 1], cell["gradient_norm"], gamma),
            ):
                low, measured, high = _quantiles(values, probability, len(cell))
                axis.fill_between(gamma, low, high, color=colours[name], alpha=0.15, linewidth=0)
                axis.plot(gamma, measured, color=colours[name], label=name if row else _short(width))
            if row == 0:
                limits = bounds.value_bound(gamma, width), bounds.gradient_bound(gamma, width, dim)
            else:
                largest, slope = activations["lipschitz"][name], activations["slope_squared"][name]
                limits = (
                    largest * bounds.smooth_value_bound(gamma, width),
                    largest * bounds.smooth_gradient_bound(gamma, width, dim, slope),
                )
            for axis, limit in zip(axes[2 * row : 2 * row + 2], limits, strict=True):
                axis.plot(gamma, np.where(limit > 0, limit, np.nan), color=colours[name], linestyle="--")
        where = f"relu, d = {_short(dim)}" if row == 0 else f"smooth, d = {_short(dim)}, k = {_short(width)}"
        axes[2 * row].set_title(f"|f(x)|: {where}")
        axes[2 * row + 1].set_title(f"‖∇f(x)‖: {where}")
        axes[2 * row + 1].legend(title=title or None, title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.2)
    for axis in axes:
        logarithmic(axis, [0.003, 0.01, 0.03, 0.1, 0.3])
        axis.set_ylim(bottom=0)
    for axis, word in zip(axes[2:], ("exceeded", "undercut"), strict=True):
        axis.set_xlabel(f"γ, the probability with which it is {word}")
    styles = [Line2D([], [], color="0.3", label="measured"), Line2D([], [], color="0.3", linestyle="--", label="Propositions 3 and 1")]
    figure.legend(handles=styles, loc="outside upper center", ncols=2)
    return figure


def _flipped(axes: Axes, cell: pd.DataFrame, colour: Any, label: str) -> None:
    """The share of a cell that the step c / ||grad f||^2 flips, against c."""
    by_step = cell.groupby("coefficient")["status"]
    share, networks = by_step.agg(lambda status: (status == "switched").mean()), cell["network"].nunique()
    ends = np.array([exact_share(value * networks, networks) for value in share])
    axes.errorbar(share.index, share, yerr=np.abs(ends.T - share.to_numpy()), color=colour, marker="o", label=label, **_BARS)


def fixed_step(fixed: pd.DataFrame, activations: pd.DataFrame) -> Figure:
    """The theorems' own step: the share it flips against its constant, and how far the gradient has changed by then."""
    relu, smooth = fixed[fixed["activation"] == "relu"], fixed[fixed["activation"] != "relu"]
    widest = relu[relu["width"] == relu["width"].max()]
    dims, coefficients = sorted(widest["input_dim"].unique()), np.array(sorted(widest["coefficient"].unique()))
    fine = np.geomspace(coefficients.min(), coefficients.max(), 200)
    colours = shades(dims)
    figure, axes = panels(1, 3, 2.7)
    for dim in dims:
        cell = widest[widest["input_dim"] == dim]
        _flipped(axes[0], cell, colours[dim], "")
        scaled = cell.groupby("coefficient")["radius"].mean() / np.sqrt(dim)
        for column, marker, line in (("gradient_change", "o", "-"), ("random_gradient_change", "x", ":")):
            relative = (cell[column] / cell["gradient_norm"].where(cell["gradient_norm"] > 0)).groupby(cell["coefficient"])
            error = 1.96 * relative.std() / np.sqrt(cell["network"].nunique())
            axes[2].errorbar(scaled, relative.mean(), yerr=error, color=colours[dim], marker=marker, linestyle=line, elinewidth=0.8)
    axes[0].plot(fine, laws.linear_flip_share(fine), **_DASHED)
    largest = largest_cell(smooth)
    for name, grey in zip(SMOOTH, ("0.0", "0.4", "0.7"), strict=True):
        _flipped(axes[1], largest[largest["activation"] == name], grey, name)
        axes[1].plot(fine, laws.linear_flip_share(fine, float(activations["value"][name])), color=grey, linestyle="--", linewidth=0.8)
    for axis, where in zip(axes[:2], (f"relu, k = {_short(widest['width'].max())}", _where(largest)), strict=True):
        shown = [c for c in (0.25, 1, 5, 20, 80) if coefficients.min() <= c <= coefficients.max()]
        logarithmic(axis, shown)
        axis.set_xticks(shown, [f"{c:g}" for c in shown])
        axis.set_ylim(0, 1.04)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.set_xlabel("c of the step c / ‖∇f(x)‖²")
        axis.set_title(f"share flipped ({where})")
    axes[1].legend(loc="lower center", handlelength=1.2)
    axes[2].set_xscale("log")
    reach = np.geomspace(axes[2].get_xlim()[0], 1, 100)  # the law is for steps that are short against ||x||
    axes[2].plot(reach, laws.gradient_change(reach, 1.0), **_DASHED)
    axes[2].set_yscale("log")
    axes[2].set_xlabel("length of the step over ‖x‖")
    axes[2].set_title("relative change of the gradient")
    styles = [
        Line2D([], [], color="0.3", marker="o", label="along the gradient"),
        Line2D([], [], color="0.3", marker="x", linestyle=":", label="random direction"),
        Line2D([], [], label="law", **_DASHED),
    ]
    axes[2].legend(handles=styles, loc="lower right")
    _key(figure, colours, "left and right, dimension d:")
    return figure


def _where(cell: pd.DataFrame) -> str:
    return f"d = {_short(cell['input_dim'].max())}, k = {_short(cell['width'].max())}"


def universal(rows: pd.DataFrame) -> Figure:
    """One direction for all inputs: the share it flips, and its length over the gradient's."""
    dims = sorted(rows["input_dim"].unique())
    colours = shades(sorted(rows["width"].unique()))
    figure, axes = panels(1, 2, 2.4)
    for order, (width, colour) in enumerate(colours.items()):
        # Shifted a little sideways, so that the bars of different widths do not hide each other.
        beside = np.array(dims) * 1.04 ** (order - (len(colours) - 1) / 2)
        cells = rows[rows["width"] == width].groupby("input_dim")
        networks = cells["network"].nunique()
        share = cells["status"].agg(lambda status: (status == "switched").mean())
        ends = np.array([exact_share(value * n, n) for value, n in zip(share, networks, strict=True)])
        axes[0].errorbar(beside, share, yerr=np.abs(ends.T - share.to_numpy()), color=colour, marker="o", **_BARS)
        line = rows[rows["width"] == width]
        fixed = (line["fixed_value"] * np.sign(line["value"]) < 0).groupby(line["input_dim"]).mean()
        axes[0].plot(beside, fixed, color=colour, marker="x", linestyle=":")
        alive = rows[(rows["width"] == width) & (rows["gradient_norm"] > 0)]
        ratio = (
            (alive["universal_norm"] / alive["gradient_norm"]).groupby([alive["input_dim"], alive["network"]]).mean().groupby("input_dim")
        )
        error = 1.96 * ratio.std() / np.sqrt(ratio.size())
        axes[1].errorbar(beside, ratio.mean(), yerr=error, color=colour, marker="o", **_BARS)
    axes[1].axhline(laws.UNIVERSAL_LENGTH_RATIO, color="0.45", linestyle="--", linewidth=0.8)
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    for axis, label in zip(axes, ("share of samples flipped", "length over the gradient's (dashed: √2)"), strict=True):
        _grid(axis, dims)
        axis.set_xlabel("input dimension d")
        axis.set_title(label)
    styles = [
        Line2D([], [], color="0.3", marker="o", label="some step along it"),
        Line2D([], [], color="0.3", marker="x", linestyle=":", label="one perturbation"),
    ]
    axes[0].legend(handles=styles, loc="lower center")
    _key(figure, colours, "width k:")
    return figure


_RELU = "relu, as in Figure 1"
_MARKERS = "os^Dv*"


def variants(table: pd.DataFrame, reference: pd.DataFrame, activations: pd.DataFrame) -> Figure:
    """Other output layers, a bias, other activations: share switched, and mean step over that of relu networks, against d."""
    widths, dims = sorted(table["width"].unique()), sorted(table["input_dim"].unique())
    names = [name for name in ("gaussian-output", "bias", *SMOOTH) if name in set(table["variant"])]
    colours = shades([_RELU, *names])
    markers = dict(zip(colours, _MARKERS, strict=False))
    figure, axes = panels(2, len(widths), 4.0, sharex=True, sharey="row")
    fine = np.geomspace(min(dims), max(dims), 100)
    for column, width in enumerate(widths):
        top, bottom = axes[column], axes[len(widths) + column]
        same = reference[(reference["width"] == width) & reference["input_dim"].isin(dims)]
        for order, (name, colour) in enumerate(colours.items()):
            cells = same if name == _RELU else table[(table["variant"] == name) & (table["width"] == width)]
            # Shifted a little sideways, so that the bars do not hide each other.
            beside = cells["input_dim"] * 1.06 ** (order - (len(colours) - 1) / 2)
            style: dict[str, Any] = {"color": colour, "marker": markers[name], **_BARS}
            top.errorbar(beside, cells["switched"], yerr=_bars(cells, "switched"), **style)
            if name != _RELU:
                bottom.errorbar(beside, cells["step_ratio"], yerr=_bars(cells, "step_ratio"), linestyle="", **style)
                bottom.plot(fine, [step_ratio_limit(name, d, activations) for d in fine], color=colour, linestyle="--", linewidth=0.8)
        top.set_title(f"k = {width:,}")
        top.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        _grid(bottom, dims)
    axes[0].set_ylabel("share of samples switched")
    axes[len(widths)].set_ylabel("mean step over that of relu")
    figure.supxlabel("input dimension d", fontsize=8)
    lines = [Line2D([], [], color=colour, marker=markers[name], label=name) for name, colour in colours.items()]
    figure.legend(handles=[*lines, _LAW], loc="outside upper center", ncols=len(lines) + 1, columnspacing=1.0, handlelength=1.4)
    return figure


def hessian(table: pd.DataFrame) -> Figure:
    """The norm of the Hessian, times sqrt(d), against d at each k / d, beside the law for large networks."""
    dims = sorted(table["input_dim"].unique())
    ratios = (table["width"] // table["input_dim"]).rename("ratio")
    colours = shades(sorted(ratios.unique()))
    figure, axes = panels(1, len(SMOOTH), 2.3, sharex=True)
    for axis, name in zip(axes, SMOOTH, strict=True):
        for ratio, colour in colours.items():
            line = table[(table["activation"] == name) & (ratios == ratio)]
            root = np.sqrt(line["input_dim"])
            axis.errorbar(line["input_dim"], root * line["norm"], yerr=_bars_of(line, root), color=colour, marker="o", **_BARS)
            axis.axhline(hessian_law(name, ratio, 1), color=colour, linestyle="--", linewidth=0.8)
        axis.set_title(name)
        axis.set_ylim(bottom=0)
        _grid(axis, dims)
    axes[0].set_ylabel("√d ‖∇²f(x)‖")
    figure.supxlabel("input dimension d", fontsize=8)
    _key(figure, colours, "k / d:", [_LAW])
    return figure


def _bars_of(line: pd.DataFrame, root: "pd.Series[float]") -> Any:
    return np.stack([root * (line["norm"] - line["low"]), root * (line["high"] - line["norm"])])


def infinite_width(table: pd.DataFrame, two_layer: pd.DataFrame, limit: pd.DataFrame) -> Figure:
    """The perturbation's law at infinite width: quantiles, distances against k, and the share switched."""
    figure, axes = panels(1, 3, 2.7)
    dims, widths = sorted(table["input_dim"].unique()), sorted(table["width"].unique())
    colours = shades(dims)
    probability = np.linspace(0.005, 0.995, 199)
    axes[0].plot([0, 3], [0, 3], **_DASHED)
    for dim in sorted({dims[round(place)] for place in np.linspace(0, len(dims) - 1, 4)}):
        cell = two_layer[(two_layer["width"] == widths[-1]) & (two_layer["input_dim"] == dim)]
        law = np.quantile(limit.loc[limit["input_dim"] == dim, "perturbation_norm"].fillna(np.inf), probability, method="inverted_cdf")
        low, measured, high = _quantiles(cell["perturbation_norm"].fillna(np.inf), probability, cell["network"].nunique())
        axes[0].fill_between(_fine(law), _fine(low), _fine(high), color=colours[dim], alpha=0.15, linewidth=0)
        axes[0].plot(_fine(law), _fine(measured), color=colours[dim])
    axes[0].set_xlim(0, 3.5)
    axes[0].set_ylim(0, 4.5)
    axes[0].set_xlabel("quantile at infinite width")
    axes[0].set_ylabel("measured quantile")
    axes[0].set_title(f"√d ‖δ‖ / ‖x‖, k = {widths[-1]:,}")
    for dim in dims:
        line = table[table["input_dim"] == dim]
        axes[1].plot(line["width"], line["distance"], color=colours[dim], marker="o")
    floor = table.groupby("width")["floor"].max()
    axes[1].plot(floor.index, floor, color="0.45", linestyle=":", linewidth=1.2)
    _grid(axes[1], widths)
    logarithmic(axes[1], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5], "y")
    axes[1].set_xlabel("width k")
    axes[1].set_title("distance to infinite width")
    line = table[table["width"] == widths[-1]]
    axes[2].errorbar(
        line["input_dim"],
        line["switched"],
        yerr=_bars(line, "switched"),
        color="0.2",
        marker="o",
        label=f"k = {_short(widths[-1])}",
        **_BARS,
    )
    axes[2].fill_between(line["input_dim"], line["limit_switched_low"], line["limit_switched_high"], color="0.45", alpha=0.3, linewidth=0)
    axes[2].plot(line["input_dim"], line["limit_switched"], label="infinite width", **_DASHED)
    _grid(axes[2], dims)
    axes[2].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes[2].set_xlabel("input dimension d")
    axes[2].set_title("share of samples switched")
    axes[2].legend(loc="lower right")
    _key(figure, colours, "left and middle, dimension d:", [Line2D([], [], color="0.45", linestyle=":", label="sampling floor")])
    return figure


def bracket(rows: pd.DataFrame) -> Figure:
    """The smallest perturbation between its certified bound and the best one found, over the single step: each network, and medians."""
    table = bracket_cells(rows)
    dims, widths = sorted(rows["input_dim"].unique()), sorted(rows["width"].unique())
    figure, axes = panels(1, len(dims), 2.5, sharey=True)
    shown = {"lower_step": ("certified lower bound", "0.55"), "best_step": ("best perturbation found", "0.1")}
    for axis, dim in zip(axes, dims, strict=True):
        for place, width in enumerate(widths):
            cell = rows[(rows["width"] == width) & (rows["input_dim"] == dim)]
            row = table[(table["width"] == width) & (table["input_dim"] == dim)]
            for side, (name, (_, grey)) in zip((-0.2, 0.2), shown.items(), strict=True):
                above, below = BRACKET_RATIOS[name]
                beside = place + side + 0.12 * np.linspace(-1, 1, len(cell))
                axis.plot(beside, cell[above] / cell[below], color=grey, marker=".", markersize=3, linestyle="", alpha=0.5)
                if len(row):
                    axis.errorbar([place + side], row[name], yerr=_bars(row, name), color="C3", marker="_", markersize=9, **_BARS)
        axis.axhline(1, **_DASHED)
        axis.set_xticks(range(len(widths)), [_short(width) for width in widths])
        axis.set_title(f"d = {dim:,}")
    axes[0].set_ylim(0, 1.08)
    axes[0].set_ylabel("length over that of the single step")
    figure.supxlabel("width k", fontsize=8)
    lines = [Line2D([], [], color=grey, marker=".", linestyle="", label=label) for label, grey in shown.values()]
    median = Line2D([], [], color="C3", marker="_", markersize=9, label="median")
    figure.legend(
        handles=[*lines, median, Line2D([], [], label="the single step", **_DASHED)], loc="outside upper center", ncols=len(lines) + 2
    )
    return figure


def draw(files: Mapping[str, Sequence[Path]], seed: int, out: Path) -> None:
    """Draws every figure of the paper into the folder `out`; `files`: the record files of each experiment by its name."""
    read = {name: records.read(paths) for name, paths in files.items()}
    cells = summarise(read["sample"], seed)
    table = cells.table
    he = table[table["hidden_scale"] == "he"]
    samples = well_sampled(read["sample"][read["sample"]["hidden_scale"] == "he"])
    two_layer = samples[samples["depth"] == 1]
    activations = activation_table(0.5)
    shallow = cells.where((table["depth"] == 1) & (table["hidden_scale"] == "he"))
    comparison = compare(summarise(read["variants"], seed, VARIANT_KEY), shallow, activations).table
    infinite = infinite_width_cells(two_layer, read["limit"])
    made = {
        "switched": switched(he),
        "step": step(he),
        "gradient": gradient(he),
        "scales": scales(table[table["judged"] == 1]),
        "law": law(he, samples),
        "bounds": bound(two_layer, well_sampled(read["variants"]), activations),
        "fixed_step": fixed_step(well_sampled(read["fixed"]), activations),
        "universal": universal(well_sampled(read["universal"])),
        "variants": variants(comparison, shallow.table, activations),
        "hessian": hessian(hessian_cells(read["hessian"], seed)[0]),
        "infinite_width": infinite_width(infinite, two_layer, read["limit"]),
        "bracket": bracket(read["bracket"]),
    }
    born = certificate(parameters={}, modules=[__name__], inputs=[file for paths in files.values() for file in paths], seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
