"""From the records of the benchmarks to their tables and their figure: ratios, and the width from which never forming pays."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from onestep import records
from onestep.drawing import panels, save, shades
from onestep.errors import Mistake
from onestep.provenance import certificate, read_certificate

_CELL = ["depth", "width", "input_dim", "networks", "inputs"]
_SLOW = 1.05
"""A choice that takes at most so many times the faster kind's time counts as right: less is within the noise of a measurement."""


def _pairs(rows: pd.DataFrame, dense: str = "dense-torch") -> pd.DataFrame:
    """Matrix-free and dense measurements of the same cell in one row; `ratio`: how many times faster than dense."""
    rows = rows.assign(memory=rows["peak_bytes"] - rows["idle_bytes"])
    values = ["seconds", "process_seconds", "evaluations", "memory", "repetitions"]
    sides = [
        rows.loc[rows["kind"] == kind, [*_CELL, "weights_bytes", *values]].rename(columns={name: f"{label}_{name}" for name in values})
        for kind, label in (("matrix-free", "free"), (dense, "dense"))
    ]
    table = sides[0].merge(sides[1].drop(columns="weights_bytes"), on=_CELL, how="left", validate="one_to_one")
    return table.assign(ratio=table["dense_seconds"] / table["free_seconds"])


def batches(pairs: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """Batches, compared with dense networks worked on as is faster for them: in such batches (where that was measured), or alone."""
    key = ["depth", "width", "input_dim"]
    table = pairs.merge(alone[[*key, "dense_seconds"]].rename(columns={"dense_seconds": "dense_alone_seconds"}), on=key, how="left")
    return table.assign(ratio=table[["dense_seconds", "dense_alone_seconds"]].min(axis=1) / table["free_seconds"])


def crossover(widths: Sequence[float], ratios: Sequence[float]) -> tuple[str, float]:
    """The width from which on matrix-free is faster (ratio above 1), interpolated in log k and log ratio: ("at", width).

    ("below", the smallest width) where it is faster everywhere, ("above", the largest one) where it is not the faster one there.
    """
    slower = [index for index, ratio in enumerate(ratios) if ratio <= 1]
    if not slower:
        return "below", widths[0]
    last = slower[-1]
    if last + 1 == len(widths):
        return "above", widths[-1]
    (x0, x1), (y0, y1) = ([math.log(value) for value in values[last : last + 2]] for values in (widths, ratios))
    return "at", math.exp(x0 - y0 * (x1 - x0) / (y1 - y0))


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent p of seconds ~ size^p, by least squares in the logarithms; not a number for a single size."""
    if len(sizes) < 2:
        return math.nan
    x, y = (np.log(np.asarray(values, dtype=np.float64)) for values in (sizes, seconds))
    return float(np.polyfit(x, y, 1)[0])


def crossovers(pairs: pd.DataFrame) -> pd.DataFrame:
    """For each depth and dimension: where matrix-free becomes faster, and how its time grows over the last decade of widths."""
    found = []
    for (depth, dim), line in pairs.sort_values("width").groupby(["depth", "input_dim"]):
        both, wide = line.dropna(subset="ratio"), line[10 * line["width"] >= line["width"].max()]
        relation, width = crossover(both["width"].tolist(), both["ratio"].tolist()) if len(both) else ("above", math.nan)
        exponent = growth(wide["width"].tolist(), wide["free_seconds"].tolist())
        found.append((depth, dim, relation, width, exponent, wide["width"].min()))
    return pd.DataFrame(found, columns=["depth", "input_dim", "relation", "width", "growth", "growth_from"])


def choices(rows: pd.DataFrame) -> pd.DataFrame:
    """For each cell of the part `choice`: what is chosen, what was the fastest of what was measured, and what the choice lost."""
    found = []
    for cell, same in rows.groupby([*_CELL[:3], "inputs"]):
        measured = same[same["status"] == "measured"].sort_values("seconds")
        chosen = measured[measured["chosen"]]
        if len(measured) < 2 or chosen.empty:
            continue
        (unformed, seconds), (best, least) = (side[["unformed", "seconds"]].to_numpy()[0] for side in (chosen, measured))
        found.append((*cell, int(unformed), int(best), least, seconds / least))
    return pd.DataFrame(found, columns=[*_CELL[:3], "inputs", "chosen_unformed", "fastest_unformed", "fastest_seconds", "lost"])


def tables(rows: pd.DataFrame, machine: dict[str, Any], memory_gb: float) -> dict[str, pd.DataFrame]:
    """Every table, by name."""
    parts = {str(name): part for name, part in rows.groupby("part")}
    alone, layers = _pairs(parts["networks"]), _pairs(parts["first-layer"])
    chosen = choices(parts["choice"])
    right = chosen["lost"] <= _SLOW
    facts = machine | {
        "memory_gb": memory_gb,
        "choices": len(chosen),
        "choices_right": int(right.sum()),
        "choices_tolerance": _SLOW - 1,
        "choices_lost_median": chosen["lost"].median(),
        "choices_lost_worst": chosen["lost"].max(),
        "layer_width": int(layers["width"].iloc[0]),
        "layer_growth": growth(layers["input_dim"].tolist(), layers["free_seconds"].tolist()),
        "batch": int(parts["batches"]["networks"].iloc[0]),
    }
    return {
        "matrix_free": alone,
        "batches": batches(_pairs(parts["batches"]), alone),
        "crossovers": crossovers(alone),
        "first_layer": layers,
        "choices": chosen,
        "facts": pd.DataFrame([facts]),
    }


# ---------------------------------------------------------------- the figure


def _lines(axes: Axes, pairs: pd.DataFrame, name: str, colours: dict[Any, Any]) -> None:
    for depth, colour in colours.items():
        line = pairs[pairs["depth"] == depth].sort_values("width")
        axes.plot(line["width"], line[f"free_{name}"], color=colour, marker="o")
        axes.plot(line["width"], line[f"dense_{name}"], color=colour, marker="s", linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("width k")


def draw_figure(found: dict[str, pd.DataFrame]) -> Figure:
    """Time and memory of a sample against the width, and the first layer's time against the dimension."""
    pairs, layers = found["matrix_free"], found["first_layer"].sort_values("input_dim")
    dim = pairs["input_dim"].max()
    pairs = pairs[pairs["input_dim"] == dim]
    colours = shades(sorted(pairs["depth"].unique()))
    figure, axes = panels(1, 3, 2.7)
    _lines(axes[0], pairs, "seconds", colours)
    axes[0].set_title(f"seconds a sample, d = {dim:,}")
    memory = {name: (pairs[name] / 1e6).where(pairs[name] > 0) for name in ("free_memory", "dense_memory")}
    _lines(axes[1], pairs.assign(**memory), "memory", colours)
    axes[1].set_title(f"peak memory in MB, d = {dim:,}")
    for label, marker, style in (("free", "o", "-"), ("dense", "s", "--")):
        axes[2].plot(layers["input_dim"], layers[f"{label}_seconds"], color="0.2", marker=marker, linestyle=style)
    axes[2].set_xscale("log")
    axes[2].set_yscale("log")
    axes[2].set_xlabel("input dimension d")
    axes[2].set_title(f"seconds for W₁ alone, k = {layers['width'].iloc[0]:,}")
    heads = [Line2D([], [], color=colour, label=f"L = {depth}") for depth, colour in colours.items()]
    styles = [
        Line2D([], [], color="0.2", marker="o", label="never formed"),
        Line2D([], [], color="0.2", marker="s", linestyle="--", label="dense, where it fits"),
    ]
    figure.legend(handles=[*heads, *styles], loc="outside upper center", ncols=len(heads) + 2, columnspacing=1.4, handlelength=2.2)
    return figure


def draw(file: Path, numbers: Path, out: Path) -> None:
    """Writes the tables into the folder `numbers` and the figure into the folder `out`."""
    rows, born = records.read([file]), read_certificate(file)
    if "measured_on" not in born or "part" not in rows:
        raise Mistake(f"{file}: not a record file of `onestep benchmarks matrix-free`; name one")
    found = tables(rows, born["measured_on"], born["parameters"]["memory_gb"])
    own = certificate(parameters={}, modules=[__name__], inputs=[file], seed=born["seed"])
    for name, table in found.items():
        records.write_table(numbers / f"{name}.csv", table, own)
    save(draw_figure(found), out / "matrix_free.pdf", own)
