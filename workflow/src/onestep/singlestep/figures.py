"""The figures of `singlestep`: the published ones (1, 2a, 2b, deeper networks included) and what goes beyond them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from onestep import records
from onestep.drawing import logarithmic, panels, save, shades
from onestep.provenance import certificate
from onestep.singlestep.summary import Array, summarise
from onestep.statistics.intervals import exact_share
from onestep.theory import bounds, laws


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _key(figure: Figure, colours: dict[Any, Any], title: str, extra: Sequence[Line2D] = ()) -> None:
    """One legend for all panels, above them."""
    lines = [Line2D([], [], color=colour, marker="o", label=f"{value:,}") for value, colour in colours.items()]
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
        logarithmic(axis, dims)
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


def switched(table: pd.DataFrame) -> Figure:
    """Figure 1: the share of samples whose sign one step flips."""

    def draw(axes: Axes, line: pd.DataFrame, colour: Any) -> None:
        share, sd = line["switched"], line["switched_sd"]
        axes.errorbar(line["input_dim"], share, yerr=_bars(line, "switched"), color=colour, marker="o", elinewidth=0.8, capsize=1.5)
        axes.fill_between(line["input_dim"], share - sd, (share + sd).clip(upper=1), color=colour, alpha=0.08, linewidth=0)
        for edge in (share - sd, (share + sd).clip(upper=1)):
            axes.plot(line["input_dim"], edge, color=colour, linewidth=0.4, alpha=0.6)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")

    return _by_depth(table, draw, "share of samples switched", [])


def _level(name: str, reference: Callable[[Axes], None]) -> Callable[[Axes, pd.DataFrame, Any], None]:
    def draw(axes: Axes, line: pd.DataFrame, colour: Any) -> None:
        axes.errorbar(line["input_dim"], line[name], yerr=_bars(line, name), color=colour, marker="o", elinewidth=0.8, capsize=1.5)
        reference(axes)

    return draw


_LAW = Line2D([], [], color="0.45", linestyle="--", label="limit for wide networks")


def step(table: pd.DataFrame) -> Figure:
    """Figure 2a: the mean smallest step over the switched samples; its limit is E|N(0,1)| sqrt 2."""

    def limit(axes: Axes) -> None:
        axes.axhline(laws.HALF_NORMAL_MEAN * np.sqrt(2), color="0.45", linestyle="--", linewidth=0.8)

    return _by_depth(table, _level("step", limit), "mean smallest step |η|", [_LAW])


def gradient(table: pd.DataFrame) -> Figure:
    """Figure 2b: the mean gradient norm over all samples; its limit is 1 / sqrt 2."""

    def limit(axes: Axes) -> None:
        axes.axhline(np.sqrt(0.5), color="0.45", linestyle="--", linewidth=0.8)

    return _by_depth(table, _level("gradient", limit), "mean gradient norm ‖∇f(x)‖", [_LAW])


_SCALES = {"he": "He: variance 2/k", "unit": "unit: variance 1/k"}


def scales(table: pd.DataFrame) -> Figure:
    """What the other reading of the text, hidden variance 1/k, gives: all three quantities against depth, in the largest cell."""
    largest = table[(table["width"] == table["width"].max()) & (table["input_dim"] == table["input_dim"].max())]
    figure, axes = panels(1, 3, 2.2)
    names = (("switched", "share of samples switched"), ("step", "mean smallest step |η|"), ("gradient", "mean gradient norm ‖∇f(x)‖"))
    colours = shades([*_SCALES, None])
    for axis, (name, label) in zip(axes, names, strict=True):
        for shift, (scale, words) in zip((-0.06, 0.06), _SCALES.items(), strict=True):
            line = largest[largest["hidden_scale"] == scale]
            bars = _bars(line, name)
            axis.errorbar(
                line["depth"] + shift, line[name], yerr=bars, color=colours[scale], marker="o", elinewidth=0.8, capsize=1.5, label=words
            )
        axis.set_ylim(bottom=0 if name != "switched" else min(0.9, 0.98 * largest["switched_low"].min()))
        axis.set_xticks(sorted(largest["depth"].unique()))
        axis.set_title(label)
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.supxlabel("number of hidden layers L", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def law(table: pd.DataFrame, samples: pd.DataFrame) -> Figure:
    """The half-normal law: quantiles in the largest cell at every depth, and the distance to the law in every cell."""
    figure, axes = panels(1, 3, 2.6)
    depths = sorted(samples["depth"].unique())
    largest = samples[(samples["width"] == samples["width"].max()) & (samples["input_dim"] == samples["input_dim"].max())]
    probability = np.linspace(0.005, 0.995, 199)
    theory = laws.half_normal_quantile(probability)
    colours = shades(depths)
    axes[0].plot([0, 3], [0, 3], color="0.45", linestyle="--", linewidth=0.8)
    for depth in depths:
        cell = largest[largest["depth"] == depth]
        low, measured, high = _quantiles(cell["perturbation_norm"].fillna(np.inf), probability, cell["network"].nunique())
        axes[0].fill_between(theory, low, high, color=colours[depth], alpha=0.15, linewidth=0)
        axes[0].plot(theory, measured, color=colours[depth], label=f"L = {depth}")
    axes[0].set_xlabel("quantile of |N(0, 1)|")
    axes[0].set_ylabel("quantile of √d ‖δ‖ / ‖x‖")
    axes[0].set_title(f"d = {largest['input_dim'].max():,}, k = {largest['width'].max():,}")
    axes[0].set_ylim(0, 1.5 * theory.max())
    axes[0].legend(loc="lower right", handlelength=1.2)
    dims, widths = sorted(table["input_dim"].unique()), sorted(table["width"].unique())
    for axis, fixed, moving, grid, label in (
        (axes[1], "width", "input_dim", dims, "input dimension d"),
        (axes[2], "input_dim", "width", widths, "width k"),
    ):
        chosen = table[table[fixed] == table[fixed].max()]
        for depth in depths:
            line = chosen[chosen["depth"] == depth]
            axis.plot(line[moving], line["half_normal_distance"], color=colours[depth], marker="o")
        for error in sorted(chosen["half_normal_error"].unique()):
            axis.axhline(error, color="0.45", linestyle=":", linewidth=1)
        logarithmic(axis, grid)
        logarithmic(axis, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5], "y")
        axis.set_xlabel(label)
        axis.set_title(f"{'k' if fixed == 'width' else 'd'} = {table[fixed].max():,}")
    axes[1].set_ylabel("distance to |N(0, 1)|")
    reach = [limit for axis in axes[1:] for limit in axis.get_ylim()]
    for axis in axes[1:]:
        axis.set_ylim(min(reach), max(reach))
    return figure


def _quantiles(values: "pd.Series[float]", probability: Array, networks: int) -> tuple[Array, Array, Array]:
    """Quantiles and the ends of their 95% intervals, infinite ones left out: the quantiles at the ends of each probability's exact
    interval, with each network as a single observation."""
    ends = np.array([exact_share(p * networks, networks) for p in probability])
    low, middle, high = (np.quantile(values, p, method="inverted_cdf") for p in (ends[:, 0], probability, ends[:, 1]))
    return tuple(np.where(np.isfinite(part), part, np.nan) for part in (low, middle, high))  # type: ignore[return-value]


def bound(samples: pd.DataFrame) -> Figure:
    """Proposition 3: quantiles of |f| and of the gradient norm beside the explicit bounds, one hidden layer."""
    first = samples[(samples["depth"] == 1) & (samples["input"] == 0)]
    widths = sorted(first["width"].unique())
    colours = shades(widths)
    dim = first["input_dim"].max()
    first = first[first["input_dim"] == dim]
    figure, axes = panels(1, 2, 2.5)
    for width in widths:
        cell = first[first["width"] == width]
        gamma = np.geomspace(max(4 / len(cell), 0.003), 0.5, 60)
        for axis, values, probability in ((axes[0], cell["value"].abs(), 1 - gamma), (axes[1], cell["gradient_norm"], gamma)):
            low, measured, high = _quantiles(values, probability, len(cell))
            axis.fill_between(gamma, low, high, color=colours[width], alpha=0.15, linewidth=0)
            axis.plot(gamma, measured, color=colours[width])
        axes[0].plot(gamma, bounds.value_bound(gamma, width), color=colours[width], linestyle="--")
        limit = bounds.gradient_bound(gamma, width, dim)
        axes[1].plot(gamma, np.where(limit > 0, limit, np.nan), color=colours[width], linestyle="--")
    for axis, label in zip(axes, ("|f(x)|: exceeded with probability γ", "‖∇f(x)‖: undercut with probability γ"), strict=True):
        logarithmic(axis, [0.003, 0.01, 0.03, 0.1, 0.3])
        axis.set_ylim(bottom=0)
        axis.set_xlabel("γ")
        axis.set_title(label)
    styles = [Line2D([], [], color="0.3", label="measured"), Line2D([], [], color="0.3", linestyle="--", label="Proposition 3")]
    _key(figure, colours, f"d = {dim:,}, width k:", styles)
    return figure


def fixed_step(fixed: pd.DataFrame) -> Figure:
    """Theorem 2's own step: the share it flips against its constant, and how far the gradient has changed by then."""
    widest = fixed[fixed["width"] == fixed["width"].max()]
    dims, coefficients = sorted(widest["input_dim"].unique()), np.array(sorted(widest["coefficient"].unique()))
    colours = shades(dims)
    figure, axes = panels(1, 2, 2.6)
    for dim in dims:
        cell = widest[widest["input_dim"] == dim]
        by_step = cell.groupby("coefficient")
        share, networks = by_step["status"].agg(lambda status: (status == "switched").mean()), cell["network"].nunique()
        ends = np.array([exact_share(value * networks, networks) for value in share])
        axes[0].errorbar(
            coefficients, share, yerr=np.abs(ends.T - share.to_numpy()), color=colours[dim], marker="o", elinewidth=0.8, capsize=1.5
        )
        scaled = by_step["radius"].mean() / np.sqrt(dim)
        for column, marker, line in (("gradient_change", "o", "-"), ("random_gradient_change", "x", ":")):
            relative = (cell[column] / cell["gradient_norm"].where(cell["gradient_norm"] > 0)).groupby(cell["coefficient"])
            error = 1.96 * relative.std() / np.sqrt(networks)
            axes[1].errorbar(scaled, relative.mean(), yerr=error, color=colours[dim], marker=marker, linestyle=line, elinewidth=0.8)
    fine = np.geomspace(coefficients.min(), coefficients.max(), 200)
    axes[0].plot(fine, laws.linear_flip_share(fine), color="0.45", linestyle="--", linewidth=0.8)
    axes[1].set_xscale("log")
    reach = np.geomspace(axes[1].get_xlim()[0], 1, 100)  # the law is for steps that are short against ||x||
    axes[1].plot(reach, laws.gradient_change(reach, 1.0), color="0.45", linestyle="--", linewidth=0.8)
    logarithmic(axes[0], [0.25, 1, 5, 20, 80])
    axes[0].set_xticks([0.25, 1, 5, 20, 80], ["0.25", "1", "5", "20", "80"])
    axes[0].set_ylim(0, 1.04)
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes[0].set_xlabel("constant c of the step c / ‖∇f(x)‖²")
    axes[0].set_title("share of samples flipped")
    axes[1].set_yscale("log")
    axes[1].set_xlabel("length of the step relative to ‖x‖")
    axes[1].set_title("relative change of the gradient")
    styles = [
        Line2D([], [], color="0.3", marker="o", label="along the gradient"),
        Line2D([], [], color="0.3", marker="x", linestyle=":", label="random direction"),
        Line2D([], [], color="0.45", linestyle="--", label="law"),
    ]
    axes[1].legend(handles=styles, loc="lower right")
    _key(figure, colours, f"k = {widest['width'].max():,}, dimension d:")
    return figure


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
        axes[0].errorbar(beside, share, yerr=np.abs(ends.T - share.to_numpy()), color=colour, marker="o", elinewidth=0.8, capsize=1.5)
        line = rows[rows["width"] == width]
        fixed = (line["fixed_value"] * np.sign(line["value"]) < 0).groupby(line["input_dim"]).mean()
        axes[0].plot(beside, fixed, color=colour, marker="x", linestyle=":")
        alive = rows[(rows["width"] == width) & (rows["gradient_norm"] > 0)]
        ratio = (
            (alive["universal_norm"] / alive["gradient_norm"]).groupby([alive["input_dim"], alive["network"]]).mean().groupby("input_dim")
        )
        error = 1.96 * ratio.std() / np.sqrt(ratio.size())
        axes[1].errorbar(beside, ratio.mean(), yerr=error, color=colour, marker="o", elinewidth=0.8, capsize=1.5)
    axes[1].axhline(laws.UNIVERSAL_LENGTH_RATIO, color="0.45", linestyle="--", linewidth=0.8)
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    for axis, label in zip(axes, ("share of samples flipped", "length over the gradient's (dashed: √2)"), strict=True):
        logarithmic(axis, dims)
        axis.set_xlabel("input dimension d")
        axis.set_title(label)
    styles = [
        Line2D([], [], color="0.3", marker="o", label="some step along it"),
        Line2D([], [], color="0.3", marker="x", linestyle=":", label="one perturbation"),
    ]
    axes[0].legend(handles=styles, loc="lower center")
    _key(figure, colours, "width k:")
    return figure


def draw(sample_files: Sequence[Path], universal_files: Sequence[Path], fixed_files: Sequence[Path], seed: int, out: Path) -> None:
    """Draws every figure of the paper into the folder `out`."""
    samples, fixed = records.read(sample_files), records.read(fixed_files)
    table = summarise(samples, seed).table
    he, samples = table[table["hidden_scale"] == "he"], samples[samples["hidden_scale"] == "he"]
    made = {
        "switched": switched(he),
        "step": step(he),
        "gradient": gradient(he),
        "scales": scales(table),
        "law": law(he, samples),
        "bounds": bound(samples),
        "fixed_step": fixed_step(fixed),
        "universal": universal(records.read(universal_files)),
    }
    born = certificate(parameters={}, modules=[__name__], inputs=[*sample_files, *universal_files, *fixed_files], seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
