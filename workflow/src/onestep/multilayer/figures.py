"""The figures of `multilayer`: each statement of the paper against depth, width, profile and bottleneck."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from onestep import records
from onestep.drawing import logarithmic, panels, save, shades
from onestep.multilayer import DIRECTIONS, SMALL, summary
from onestep.provenance import certificate
from onestep.theory import bounds, kernels

_PROFILES = {"equal": "equal widths", "growing": "growing", "shrinking": "shrinking", "bottleneck": "one bottleneck"}
_DIRECTIONS = {"random": "random", "gradient": "along the gradient", "worst": "worst found"}
_MARKERS = {"random": "x", "gradient": "o", "worst": "^"}
_GREY = "0.45"


def _line(axes: Axes, x: Any, table: pd.DataFrame, name: str, **style: Any) -> None:
    """Estimates with their intervals; what is infinite is left out, an interval without an end runs off the panel."""
    y = np.where(np.isfinite(table[name]), table[name], np.nan)
    low, high = (table[f"{name}_{end}"].to_numpy(float) for end in ("low", "high"))
    ends = np.nan_to_num(np.stack([y - low, high - y]), nan=0, posinf=1e6).clip(min=0)
    options: dict[str, Any] = {"marker": "o", "elinewidth": 0.8, "capsize": 1.5} | style
    axes.errorbar(x, y, yerr=ends, **options)


def _beside(count: int, index: int, step: float = 1.03) -> float:
    """A factor that shifts a line sideways on a logarithmic axis, so that bars do not hide each other."""
    return float(step ** (index - (count - 1) / 2))


def _percent(axes: Axes) -> None:
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _key(figure: Figure, handles: Sequence[Line2D], title: str = "") -> None:
    """One legend for all panels, above them."""
    head = [Line2D([], [], color="none", label=title)] if title else []
    figure.legend(
        handles=[*head, *handles], loc="outside upper center", ncols=len(handles) + len(head), columnspacing=1.2, handlelength=1.6
    )


def _mark(label: str, **style: Any) -> Line2D:
    return Line2D([], [], **{"color": "0.3", "marker": "o"} | style, label=label)


def constant(table: pd.DataFrame, limit: float) -> Figure:
    """The c_3 of Theorem 1.1 against depth: by width, by profile; and the share that the step with one c_3 takes to -f(x)."""
    delta = sorted(table["delta"].unique(), key=lambda value: abs(value - 0.1))[0]
    table = table[(table["delta"] == delta) & (table["bottleneck"] == 0)]
    equal = table[table["profile"] == "equal"]
    widths, depths = sorted(equal["width"].unique()), sorted(table["depth"].unique())
    figure, axes = panels(1, 3, 2.5)
    colours = shades(widths)
    for order, width in enumerate(widths):
        line = equal[equal["width"] == width].sort_values("depth")
        x = line["depth"] * _beside(len(widths), order)
        _line(axes[0], x, line, "constant", color=colours[width])
        _line(axes[2], x, line, "within", color=colours[width])
    profiles = [profile for profile in _PROFILES if profile in set(table["profile"])]
    paint = shades([*profiles, None])
    shared = table[table["profile"] != "equal"]["width"].max() if len(profiles) > 1 else widths[-1]
    for order, profile in enumerate(profiles):
        line = table[(table["profile"] == profile) & (table["width"] == shared)].sort_values("depth")
        _line(axes[1], line["depth"] * _beside(len(profiles), order), line, "constant", color=paint[profile], label=_PROFILES[profile])
    for axis in axes[:2]:
        axis.axhline(limit, color=_GREY, linestyle="--", linewidth=0.8)
    finite = table["constant"][np.isfinite(table["constant"])]
    top = 1.3 * max(float(finite.max()) if len(finite) else 1.0, limit)
    for axis in axes[:2]:
        logarithmic(axis, [value for value in (0.5, 1, 2, 3, 5, 10, 20) if value < 2 * top], "y")
        axis.set_ylim(0.5 * min(float(finite.min()) if len(finite) else 1.0, limit), top)
    axes[2].axhline(1 - delta, color=_GREY, linestyle="--", linewidth=0.8)
    _percent(axes[2])
    for axis in axes:
        logarithmic(axis, depths)
        axis.set_xlabel("number of hidden layers L")
    axes[0].set_title(f"measured c₃ at δ = {delta:g}, equal widths")
    axes[1].set_title(f"the same by profile, k = {shared:,}")
    axes[2].set_title(f"share that c₃ = {limit:g} takes to −f(x)")
    axes[1].legend(loc="lower right", handlelength=1.2)
    _key(figure, [_mark(f"{width:,}", color=colour) for width, colour in colours.items()], "equal widths, k:")
    return figure


def scale(flip: pd.DataFrame, deltas: Sequence[float]) -> Figure:
    """Lemma 2.2: the gradient's norm and the value against depth, and the bounds."""
    equal = flip[flip["profile"] == "equal"]
    widths, depths = sorted(equal["width"].unique()), sorted(equal["depth"].unique())
    colours = shades(widths)
    figure, axes = panels(1, 2, 2.5)
    for order, width in enumerate(widths):
        for axis, values in ((axes[0], equal["gradient_norm"]), (axes[1], equal["value"].abs())):
            cells = values[equal["width"] == width].groupby(equal["depth"])
            x = cells.median().index.to_numpy(float) * _beside(len(widths), order)
            # The middle 90% of the networks, and the extreme ones.
            axis.vlines(x, cells.quantile(0.05), cells.quantile(0.95), color=colours[width], linewidth=1.4)
            axis.plot(x, cells.min() if axis is axes[0] else cells.max(), linestyle="none", marker="_", color=colours[width])
            axis.plot(x, cells.median(), linestyle="none", marker="o", color=colours[width])
    fine = np.array(depths, dtype=float)
    axes[0].plot(fine, bounds.deep_gradient_bound(fine), color=_GREY, linestyle="--", linewidth=0.8)
    axes[1].plot(fine, bounds.deep_value_bound(min(deltas), fine), color=_GREY, linestyle="--", linewidth=0.8)
    for axis in axes:
        logarithmic(axis, depths)
        axis.set_yscale("log")
        axis.set_xlabel("number of hidden layers L")
    axes[0].set_title("gradient's norm ‖∇f(x)‖ (dashed: lower bound)")
    axes[1].set_title(f"value |f(x)| (dashed: bound at δ = {min(deltas):g}, c = 1)")
    _key(figure, [_mark(f"{width:,}", color=colour) for width, colour in colours.items()], "width k:")
    return figure


def bottleneck(cells: pd.DataFrame, constants: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """One narrow layer in a wide network: what flips, how far the flip is, and how much the gradient changes until there."""
    cells, changes = cells[cells["bottleneck"] > 0], changes[changes["bottleneck"] > 0]
    delta = sorted(constants["delta"].unique(), key=lambda value: abs(value - 0.1))[0]
    constants = constants[(constants["bottleneck"] > 0) & (constants["delta"] == delta)]
    figure, axes = panels(1, 3, 2.5)
    depths = sorted(cells["depth"].unique())
    styles = dict(zip(depths, ("-", ":", "--", "-."), strict=False))
    colours = shades(["switched", "reached", "within", None])
    for depth in depths:
        here, wanted = (part[part["depth"] == depth].sort_values("bottleneck") for part in (cells, constants))
        for order, (table, name) in enumerate(((here, "switched"), (here, "reached"), (wanted, "within"))):
            _line(axes[0], table["bottleneck"] * _beside(3, order), table, name, color=colours[name], linestyle=styles[depth])
        _line(axes[1], here["bottleneck"], here, "perturbation", color=colours["switched"], linestyle=styles[depth])
        _line(axes[1], here["bottleneck"] * 1.03, here, "opposite", color=colours["reached"], linestyle=styles[depth])
    _percent(axes[0])
    ends = cells[["perturbation_high", "opposite_high", "perturbation", "opposite"]].to_numpy(float)
    axes[1].set_ylim(0, 1.15 * np.max(ends[np.isfinite(ends)], initial=1.0))
    for direction in DIRECTIONS:
        for depth in sorted(changes["depth"].unique()):
            line = changes[(changes["depth"] == depth) & (changes["direction"] == direction)].sort_values("bottleneck")
            style = {"color": _GREY, "marker": _MARKERS[direction], "linestyle": styles.get(depth, "-")}
            _line(axes[2], line["bottleneck"], line, "change", **style)
    axes[2].legend(handles=[_mark(words, marker=_MARKERS[name], color=_GREY) for name, words in _DIRECTIONS.items()], loc="upper right")
    finite = changes["change"][changes["change"] > 0]
    logarithmic(axes[2], [value for value in (0.1, 0.2, 0.5, 1, 2, 5, 10) if value < 5 * finite.max()], "y")
    for axis, part in zip(axes, (cells, cells, changes), strict=True):
        logarithmic(axis, sorted(part["bottleneck"].unique()))
        axis.set_xlabel("width b of the bottleneck")
    axes[0].set_title(f"share taken there, k = {cells['width'].max():,}")
    axes[1].set_title("median length in ‖x‖ / √d")
    axes[2].set_title(f"change of the gradient, k = {changes['width'].max():,}")
    names = {"switched": "another sign", "reached": "−f(x)", "within": "−f(x) within the theorem's length"}
    marks = [_mark(words, color=colours[name]) for name, words in names.items()]
    lines = [_mark(f"L = {depth}", marker="", linestyle=styles[depth]) for depth in depths]
    _key(figure, [*marks, *lines], "a step to")
    return figure


def layers(table: pd.DataFrame) -> Figure:
    """Lemma 2.3: norms by layer, and how much wider than the ball its image is at each layer, without and with a bottleneck."""
    figure, axes = panels(1, 3, 2.6)
    equal = table[table["profile"] == "equal"]
    deepest = equal[equal["depth"] == equal["depth"].max()]
    widths = sorted(deepest["width"].unique())
    colours = shades(widths)
    for width in widths:
        line = deepest[deepest["width"] == width]
        _line(axes[0], line["layer"], line, "norm", color=colours[width], label=f"k = {width:,}")
    every = np.array(sorted(deepest["layer"].unique()), dtype=float)
    axes[0].plot(every, bounds.layer_norm_bound(every, 1), color=_GREY, linestyle="--", linewidth=0.8)
    logarithmic(axes[0], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], "y")
    axes[0].legend(loc="lower left", handlelength=1.2)
    axes[0].set_title("‖f(x)‖ / √width (dashed: bound)")
    paint = shades([*DIRECTIONS, None])
    narrow = table[table["profile"] == "bottleneck"]
    shown = narrow[(narrow["depth"] == narrow["depth"].max())] if len(narrow) else narrow
    sweep = sorted(shown["bottleneck"].unique())
    # A bottleneck that is narrow and still leaves most networks a sign change.
    chosen = min(sweep, key=lambda b: abs(np.log(b / 10))) if sweep else 0
    plain = equal[equal["depth"] == shown["depth"].max()] if sweep and shown["depth"].max() in set(equal["depth"]) else deepest
    wide = plain["width"].max()
    cases = [(axes[1], plain[plain["width"] == wide], f"no bottleneck, k = {wide:,}")]
    if sweep:
        cases.append((axes[2], shown[shown["bottleneck"] == chosen], f"bottleneck of {chosen}, k = {shown['width'].max():,}"))
    for axis, line, title in cases:
        for direction in DIRECTIONS:
            _line(axis, line["layer"], line, direction, color=paint[direction], marker=_MARKERS[direction])
        axis.plot(line["layer"], 1 + np.sqrt(line["layer_width"] / line["narrowest_before"]), color=_GREY, linestyle="--", linewidth=0.8)
        logarithmic(axis, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], "y")
        axis.set_title(title)
    for axis in axes:
        axis.set_xticks(range(1, int(axis.get_xlim()[1]) + 1))
        axis.set_xlabel("layer i")
    axes[1].set_ylabel("radius of the image over R")
    shown_rows = pd.concat([line for _, line, _ in cases])[list(DIRECTIONS)]
    for axis, *_ in cases:
        axis.set_ylim(0.7 * shown_rows.min().min(), 2 * shown_rows.max().max())
    axes[0].set_ylim(0.7 * float(bounds.layer_norm_bound(every.max(), 1)), 1)
    axes[2].set_visible(bool(sweep))
    handles = [_mark(words, color=paint[name], marker=_MARKERS[name]) for name, words in _DIRECTIONS.items()]
    _key(figure, [*handles, _mark("1 + √(dᵢ / d_min)", color=_GREY, marker="", linestyle="--")], "direction:")
    return figure


def small(layer_rows: pd.DataFrame) -> Figure:
    """Lemma 2.5: the share of small pre-activations against alpha."""
    figure, axes = panels(1, 2, 2.4)
    equal = layer_rows[(layer_rows["profile"] == "equal") & (layer_rows["depth"] == layer_rows["depth"].max())]
    widths, alphas = sorted(equal["width"].unique()), np.array(SMALL)
    colours = shades(widths)
    fine = np.geomspace(alphas.min(), alphas.max(), 100)
    for width in widths:
        rows = equal[equal["width"] == width]
        by_network = rows.groupby("network")[[f"small_{alpha:g}" for alpha in SMALL]]
        mean, largest = by_network.mean(), by_network.max()
        error = 1.96 * mean.std() / np.sqrt(len(mean))
        axes[0].errorbar(alphas, mean.mean(), yerr=error, color=colours[width], marker="o", linestyle="none", elinewidth=0.8, capsize=1.5)
        axes[1].plot(alphas, largest.quantile(0.95), color=colours[width], marker="o")
    axes[0].plot(fine, 2 * stats.norm.cdf(fine) - 1, color=_GREY, linestyle=":", linewidth=0.8)
    for axis in axes:
        axis.plot(fine, bounds.small_share_bound(fine), color=_GREY, linestyle="--", linewidth=0.8)
        logarithmic(axis, list(SMALL))
        axis.set_yscale("log")
        axis.set_ylim(0.004, 2)
        axis.set_xlabel("α")
    axes[0].set_title("mean share of pre-activations below α")
    axes[1].set_title("largest layer's share, exceeded by 5% of networks")
    lines = [_mark("2 √(2/π) α", color=_GREY, marker="", linestyle="--"), _mark("P(|N(0, 1)| < α)", color=_GREY, marker="", linestyle=":")]
    _key(figure, [*(_mark(f"{width:,}", color=colour) for width, colour in colours.items()), *lines], "width k:")
    return figure


def gradient_change(changes: pd.DataFrame) -> Figure:
    """Lemma 2.8: the gradient's relative change in the ball against the width, which is the dimension."""
    plain = changes[changes["bottleneck"] == 0]
    equal = plain[plain["profile"] == "equal"]
    depths = sorted(equal["depth"].unique())
    others = [profile for profile in ("growing", "shrinking") if profile in set(plain["profile"])]
    count = len(DIRECTIONS) + bool(others)
    figure, axes = panels(1, count, 2.5, sharey=True)
    colours = shades(depths)
    for axis, direction in zip(axes, DIRECTIONS, strict=False):
        for order, depth in enumerate(depths):
            line = equal[(equal["direction"] == direction) & (equal["depth"] == depth)].sort_values("width")
            _line(axis, line["width"] * _beside(len(depths), order), line, "change", color=colours[depth])
        axis.set_title(_DIRECTIONS[direction])
    handles = [_mark(f"{depth}", color=colour) for depth, colour in colours.items()]
    if others:
        paint = shades(["equal", *others, None])
        depth = plain[plain["profile"].isin(others)]["depth"].max()
        for profile in ("equal", *others):
            for direction, style in (("gradient", "-"), ("worst", ":")):
                line = plain[(plain["profile"] == profile) & (plain["depth"] == depth) & (plain["direction"] == direction)].sort_values(
                    "width"
                )
                _line(axes[-1], line["width"], line, "change", color=paint[profile], linestyle=style, marker=_MARKERS[direction])
        axes[-1].set_title(f"by profile, L = {depth}")
        axes[-1].legend(
            handles=[_mark(_PROFILES[profile], color=paint[profile]) for profile in ("equal", *others)], loc="lower left", handlelength=1.2
        )
    for axis in axes:
        logarithmic(axis, sorted(plain["width"].unique()))
        axis.set_yscale("log")
    finite = plain["change"][plain["change"] > 0]
    logarithmic(axes[0], [value for value in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if finite.min() / 2 < value < finite.max() * 2], "y")
    figure.supxlabel("base width k = input dimension d", fontsize=8)
    axes[0].set_ylabel("‖∇f(x) − ∇f(y)‖ / ‖∇f(x)‖")
    _key(figure, handles, "hidden layers L:")
    return figure


def terms(table: pd.DataFrame) -> Figure:
    """GD-DECOMP: what each layer's flips contribute to the gradient's change, and how many of its neurons flip."""
    figure, axes = panels(2, 2, 3.9, sharex="col")
    equal = table[table["profile"] == "equal"]
    equal = equal[(equal["depth"] == equal["depth"].max()) & (equal["width"] == equal["width"].max())]
    narrow = table[table["profile"] == "bottleneck"]
    if len(narrow):
        narrow = narrow[narrow["depth"] == narrow["depth"].max()]
        sweep = sorted(narrow["bottleneck"].unique())
        narrow = narrow[narrow["bottleneck"] == min(sweep, key=lambda b: abs(np.log(b / 10)))]
    paint = shades([*DIRECTIONS, None])
    for column, rows in enumerate((equal, narrow)):
        top, bottom = axes[column], axes[2 + column]
        for order, direction in enumerate(DIRECTIONS):
            line = rows[rows["direction"] == direction].sort_values("layer")
            x = line["layer"] + 0.06 * (order - 1)
            for axis, name in ((top, "share"), (bottom, "flipped")):
                _line(axis, x, line, name, color=paint[direction], marker=_MARKERS[direction])
        if len(rows):
            width, depth, b = (int(rows[name].iloc[0]) for name in ("width", "depth", "bottleneck"))
            top.set_title(f"L = {depth}, k = d = {width:,}" + (f", bottleneck of {b} in layer {depth // 2 + 1}" if b else ", equal widths"))
            top.set_xticks(sorted(rows["layer"].unique()))
        for axis in (top, bottom):
            axis.set_ylim(bottom=0)
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}" if value < 0.01 else f"{value:.0%}")
        bottom.set_xlabel("layer j")
    axes[0].set_ylabel("share of the change")
    axes[2].set_ylabel("neurons that flip")
    _key(figure, [_mark(words, color=paint[name], marker=_MARKERS[name]) for name, words in _DIRECTIONS.items()], "direction:")
    return figure


def collapse(table: pd.DataFrame) -> Figure:
    """Theorem 3.1: the angle by layer beside the recursion, pairs of values against depth, and the largest pair beside its bound."""
    figure, axes = panels(1, 3, 2.7)
    widths, dims, depths = (sorted(table[name].unique()) for name in ("width", "input_dim", "depth"))
    colours = shades(widths)
    first = table[table["input_dim"] == dims[0]]
    every = np.arange(0, depths[-1] + 1)
    axes[0].plot(every[1:], kernels.angles_by_layer(np.pi, depths[-1])[1:], color=_GREY, linestyle="--", linewidth=0.8)
    for order, width in enumerate(widths):
        line = first[first["width"] == width].sort_values("depth")
        x = line["depth"] * _beside(len(widths), order, 1.06)
        _line(axes[0], x, line, "opposite_angle", color=colours[width], linestyle="none")
        for axis, name, marker, style in ((axes[1], "median_pair", "o", "-"), (axes[1], "largest", "^", ":")):
            _line(axis, x, line, name, color=colours[width], marker=marker, linestyle=style)
        # The median of |N(0, 1)| times the deviation at which the norms' ratio freezes.
        law = stats.norm.ppf(0.75) * kernels.norm_ratio_deviation(np.pi / 2, depths[-1], width)
        axes[1].plot([depths[-1] / 8, depths[-1]], [law, law], color=colours[width], linestyle="--", linewidth=0.8)
    axes[0].set_title(f"angle of opposite inputs, d = {dims[0]}")
    axes[1].axhline(float(bounds.collapse_bound(dims[0])), color="#b2182b", linewidth=0.8)
    axes[1].set_title(f"|f(x) − f(y)| / |f(x)|, d = {dims[0]}")
    deepest = table[table["depth"] == depths[-1]]
    for order, (dim, style) in enumerate(zip(dims, ("-", ":", "-."), strict=False)):
        line = deepest[deepest["input_dim"] == dim].sort_values("width")
        _line(axes[2], line["width"] * _beside(len(dims), order), line, "below", color="0.3", linestyle=style, label=f"d = {dim:,}")
    axes[2].axhline(0.9, color=_GREY, linestyle="--", linewidth=0.8)
    _percent(axes[2])
    axes[2].legend(loc="upper left", handlelength=2, bbox_to_anchor=(0, 0.88))
    axes[2].set_title(f"networks within it, L = {depths[-1]:,}")
    axes[2].set_xlabel("width k")
    logarithmic(axes[2], widths)
    for axis in axes[:2]:
        logarithmic(axis, depths)
        axis.set_yscale("log")
        axis.set_xlabel("number of hidden layers L")
    handles = [_mark(f"{width:,}", color=colour) for width, colour in colours.items()]
    lines = [
        _mark("median pair"),
        _mark("largest pair", marker="^", linestyle=":"),
        _mark("recursion, law", color=_GREY, marker="", linestyle="--"),
    ]
    _key(figure, [*handles, *lines, _mark("√(log d / d)", color="#b2182b", marker="")], "width k:")
    return figure


def depth(table: pd.DataFrame, vanishing: pd.DataFrame) -> Figure:
    """Does a single step still flip? The share against depth, and the depth from which on half of the signs stay, against the dimension."""
    figure, axes = panels(1, 2, 2.6)
    dims, widths = sorted(table["input_dim"].unique()), sorted(table["width"].dropna().unique())
    styles = dict(zip(widths, (":", "-", "-."), strict=False))
    colours, paint = shades([*dims, None]), shades([*widths, None])
    for dim in dims:
        here = table[table["input_dim"] == dim].sort_values("depth")
        for order, width in enumerate(widths):
            line = here[here["width"] == width]
            _line(axes[0], line["depth"] * _beside(len(widths), order), line, "switched", color=colours[dim], linestyle=styles[width])
        line = here[here["width"].isna()]
        axes[0].fill_between(line["depth"], line["switched_low"], line["switched_high"], color=colours[dim], alpha=0.2, linewidth=0)
        axes[0].plot(line["depth"], line["switched"], color=colours[dim], linestyle="--", linewidth=0.8)
    for width in widths:
        line = vanishing[vanishing["width"] == width]
        _line(axes[1], line["input_dim"], line, "half", color=paint[width], linestyle=styles[width], label=f"k = {width:,}")
    line = vanishing[vanishing["width"].isna()]
    _line(axes[1], line["input_dim"], line, "half", color=_GREY, linestyle="--", label="infinite width")
    start = line.iloc[0]
    guide = start["half"] * np.sqrt(np.array(dims) / start["input_dim"])
    axes[1].plot(dims, guide, color=_GREY, linewidth=0.5, label="∝ √d")
    logarithmic(axes[0], sorted(table["depth"].unique()))
    logarithmic(axes[1], dims)
    logarithmic(axes[1], [value for value in (1, 2, 5, 10, 20, 50, 100, 200) if value < 2 * guide.max()], "y")
    axes[1].legend(loc="lower right", handlelength=2)
    axes[0].set_xlabel("number of hidden layers L")
    axes[1].set_xlabel("input dimension d")
    axes[0].set_title("share of signs that a single step flips")
    axes[1].set_title("depth from which on half of the signs stay")
    _percent(axes[0])
    marks = [_mark(f"{dim:,}", color=colours[dim]) for dim in dims]
    lines = [_mark(f"k = {width:,}", linestyle=styles[width]) for width in widths]
    _key(figure, [*marks, *lines, _mark("infinite width", marker="", linestyle="--")], "dimension d:")
    return figure


def draw(files: Mapping[str, Sequence[Path]], deltas: Sequence[float], limit: float, seed: int, out: Path) -> None:
    """Draws every figure of the paper into the folder `out`; `files`: the record files of each experiment by its name."""
    read = {name: records.read(paths) for name, paths in files.items()}
    cells, constants = summary.cells(read["flip"]), summary.constants_table(read["flip"], deltas, limit)
    changes, _ = summary.changes(read["smoothness"], seed)
    made = {
        "constant": constant(constants, limit),
        "scale": scale(read["flip"], deltas),
        "bottleneck": bottleneck(cells, constants, changes),
        "layers": layers(summary.layer_table(read["layers"], seed)),
        "small": small(read["layers"]),
        "gradient_change": gradient_change(changes),
        "terms": terms(summary.terms(read["smoothness"], seed)),
        "collapse": collapse(summary.collapse_table(read["collapse"], seed)),
        "depth": depth(summary.scan_table(read["scan"], read["limit"]), summary.vanishing_table(read["scan"], read["limit"], seed)[0]),
    }
    inputs = [file for paths in files.values() for file in paths]
    born = certificate(parameters={"deltas": list(deltas), "constant": limit}, modules=[__name__], inputs=inputs, seed=seed)
    for name, figure in made.items():
        save(figure, out / f"{name}.pdf", born)
