"""The claims of `multilayer`, each with its rule, judged from the records. The rules were written before the first whole laptop run; that
widths are judged at each profile's largest was decided when parts of it had been seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onestep import claims, records
from onestep.claims import Judge, Part
from onestep.multilayer import SMALL, summary
from onestep.multilayer.summary import CELL, SCAN
from onestep.provenance import certificate
from onestep.statistics.intervals import corrected, exact_share, percentile_interval, share
from onestep.statistics.slopes import slopes
from onestep.theory import bounds

Array = NDArray[np.float64]
Files = Mapping[str, Sequence[Path]]
BELOW_ZERO = (-np.inf, float(np.nextafter(0, -1)))


def _all(cases: Sequence[tuple[Any, float]]) -> list[Part]:
    """The parts of a claim that a bound holds with probability 1 - delta: (violated, delta) of each cell, for delta >= 4 / networks.

    Each part is the share of networks that violate the bound, over delta.
    """
    told = [(violated, delta) for violated, delta in cases if len(violated) >= 4 / delta]
    return [share(violated, corrected(len(told)), delta) for violated, delta in told]


_EXACT = "exact binomial, one input a network, >= 4/delta networks, corrected for their number"


def _plain(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks without a bottleneck."""
    return rows[rows["bottleneck"] == 0]


def _widest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at each profile's largest width."""
    return rows[rows["width"] == rows.groupby("profile")["width"].transform("max")]


def _theorem_1(judge: Judge, flip: pd.DataFrame, deltas: Sequence[float], constant: float, files: Sequence[Path]) -> None:
    rows = _widest(_plain(flip))
    cases = [(summary.constants(cell, delta) > constant, delta) for _, cell in summary.groups(rows, CELL) for delta in deltas]
    judge.add(
        "thm1.1.flip",
        f"Theorem 1.1 with c3 = {constant:g} at every depth: with probability >= 1 - delta some step with"
        f" ||eta grad f|| / ||x|| <= c3 sqrt(log(1/delta) / d) reaches a value of the other sign and at least the same size.",
        "some constant c3 = C^L",
        f"share that no such step takes there, over delta, at most 1 at every depth and profile of the grid, at the largest width;"
        f" {_EXACT} (which width is enough for the theorem is not known)",
        parts=_all(cases),
        holds=(0.0, 1.0),
        rows=rows,
        figure="constant",
        files=files,
    )


def _lemma_2_2(judge: Judge, flip: pd.DataFrame, deltas: Sequence[float], files: Sequence[Path]) -> None:
    rows = _widest(_plain(flip))
    for name, statement, published in (
        ("gradient", "Lemma 2.2: the gradient's norm is below 2^-(L + 1) with probability at most delta.", "||grad f|| >= 2^-(L + 1)"),
        ("value", "Lemma 2.2 with c = 1: |f(x)| exceeds 2^L sqrt(log(1/delta)) with probability at most delta.", "some constant c"),
    ):
        cases = []
        for cell_name, cell in summary.groups(rows, CELL):
            for delta in deltas:
                below = cell["gradient_norm"] < bounds.deep_gradient_bound(cell_name["depth"])
                above = cell["value"].abs() > bounds.deep_value_bound(delta, cell_name["depth"])
                cases.append((below if name == "gradient" else above, delta))
        judge.add(
            f"lemma2.2.{name}",
            statement,
            published,
            f"share of violations over delta at most 1 at every depth and profile of the grid, at the largest width; {_EXACT}",
            parts=_all(cases),
            holds=(0.0, 1.0),
            rows=rows,
            figure="scale",
            files=files,
        )


def _lemma_2_3(judge: Judge, layers: pd.DataFrame, table: pd.DataFrame, deltas: Sequence[float], files: Sequence[Path]) -> None:
    rows = _widest(_plain(layers))
    small = rows["norm"] < bounds.layer_norm_bound(rows["layer"], rows["layer_width"])
    violated = small.groupby([rows[column] for column in [*CELL, "network"]]).any()
    cases = [(cell.to_numpy(), delta) for _, cell in violated.groupby(CELL) for delta in deltas]
    judge.add(
        "lemma2.3.norm",
        "Lemma 2.3: the norm of some layer i is below 2^-i sqrt(d_i) with probability at most delta.",
        "||f_i(x)|| >= 2^-i sqrt(d_i)",
        f"share of networks with such a layer over delta at most 1 at every depth and profile of the grid, at the largest width; {_EXACT}",
        parts=_all(cases),
        holds=(0.0, 1.0),
        rows=rows,
        figure="layers",
        files=files,
    )
    largest = float(table["largest_part"].max())
    judge.add(
        "lemma2.3.radius",
        "Lemma 2.3 with C = 1: at layer i the image of the ball whose radius R is the flipping step's length lies within"
        " sqrt(log d_max)^i (1 + sqrt(d_i / d_min)) R, d_min the narrowest layer before it.",
        "some constant C",
        "a supremum: fails if the largest image found (ratio to the bound, over all cells with and without a bottleneck) exceeds 1, else"
        " not contradicted",
        parts=[(largest, (largest, largest))] if np.isfinite(largest) else [],
        holds=(0.0, 1.0),
        rows=layers,
        figure="layers",
        files=files,
        searched=True,
    )


def _lemma_2_5(judge: Judge, layers: pd.DataFrame, deltas: Sequence[float], files: Sequence[Path]) -> pd.DataFrame:
    """Judges the share of small pre-activations, and returns the table of violations by cell, alpha and delta."""
    rows = _widest(_plain(layers))
    cases, table = [], []
    for name, cell in summary.groups(rows, CELL):
        narrowest = int(cell["layer_width"].min())
        for alpha in SMALL:
            exceeds = (cell[f"small_{alpha:g}"] > bounds.small_share_bound(alpha)).groupby(cell["network"]).any().to_numpy()
            for delta in deltas:
                promised = bool(bounds.small_share_promised(alpha, narrowest, name["depth"], delta))
                table.append((*name.values(), alpha, delta, promised, int(exceeds.sum()), len(exceeds)))
                if promised:
                    cases.append((exceeds, delta))
    judge.add(
        "lemma2.5.small",
        "Lemma 2.5: in some layer more than 2 sqrt(2/pi) alpha of the pre-activations are smaller than alpha ||f_i(x)|| / sqrt(d_i)"
        " with probability at most delta.",
        "share <= 2 sqrt(2/pi) alpha",
        "share of networks with such a layer over delta at most 1 at every depth and profile of the grid, at the largest width and at every"
        f" alpha for which the narrowest layer is wide enough for the lemma's proof; {_EXACT}",
        parts=_all(cases),
        holds=(0.0, 1.0),
        rows=rows,
        figure="small",
        files=files,
    )
    return pd.DataFrame(table, columns=[*CELL, "alpha", "delta", "promised", "violations", "networks"])


_DIRECTIONS = {
    "random": "a random direction",
    "gradient": "the direction of the gradient",
    "worst": "the worst direction that was found",
}


def _change_slopes(table: pd.DataFrame, replicates: Array, axis: str) -> dict[tuple[Any, ...], Array]:
    """Slopes [R + 1] of the log of the mean relative change on the log of `axis`, for each direction and what else names a line."""
    others = [column for column in [*CELL, "direction"] if column != axis]
    fitted = {}
    for name, line in table.groupby(others):
        values = replicates[:, line.index]
        if line[axis].nunique() > 1 and np.isfinite(values).all() and (values > 0).all():
            fitted[name] = slopes(np.log(values), np.log(line[axis].to_numpy(float)))[:, 0]
    return fitted


def _lemma_2_8(judge: Judge, smoothness: pd.DataFrame, table: pd.DataFrame, replicates: Array, files: Sequence[Path]) -> pd.DataFrame:
    """Judges how the gradient's change falls, and returns the table of all slopes."""
    plain, narrow = table[table["bottleneck"] == 0], table[table["bottleneck"] > 0]
    fitted = {"width": _change_slopes(plain, replicates, "width"), "bottleneck": _change_slopes(narrow, replicates, "bottleneck")}
    rows = []
    for axis, lines in fitted.items():
        for name, slope in lines.items():
            coordinates = dict(zip([column for column in [*CELL, "direction"] if column != axis], name, strict=True))
            low, high = percentile_interval(slope[1:])
            rows.append({"axis": axis} | coordinates | {"slope": float(slope[0]), "low": low, "high": high})
    for direction, words in _DIRECTIONS.items():
        chosen = [slope for name, slope in fitted["width"].items() if name[-1] == direction]
        judge.add(
            f"lemma2.8.{direction}",
            "Lemma 2.8: as the width and the input dimension grow together, the gradient changes by less and less of its length"
            f" over the flipping step's length, in {words}.",
            "||grad f(x) - grad f(y)|| = o(1)",
            "slope of the log of the mean relative change on log d (d = base width) below 0 at every depth and profile; networks resampled,"
            " corrected for their number; a search finds no supremum, so at best not contradicted",
            parts=[(float(slope[0]), percentile_interval(slope[1:], corrected(len(chosen)))) for slope in chosen],
            holds=BELOW_ZERO,
            rows=_plain(smoothness),
            figure="gradient_change",
            files=files,
            searched=True,
        )
    chosen = [slope for name, slope in fitted["bottleneck"].items() if name[-1] == "gradient"]
    judge.add(
        "bottleneck.change",
        "A bottleneck layer matters: the narrower it is, the more the gradient changes over the flipping step.",
        "“Bottleneck layers play a key role”",
        "slope of the log of the mean relative change along the gradient on log b below 0; networks resampled",
        parts=[(float(slope[0]), percentile_interval(slope[1:], corrected(len(chosen)))) for slope in chosen],
        holds=BELOW_ZERO,
        rows=smoothness[smoothness["bottleneck"] > 0],
        figure="bottleneck",
        files=files,
    )
    return pd.DataFrame(rows, columns=["axis", *CELL, "direction", "slope", "low", "high"])


def _collapse(judge: Judge, collapse: pd.DataFrame, table: pd.DataFrame, seed: int, files: Sequence[Path]) -> None:
    widest = collapse[collapse["width"] == collapse["width"].max()]
    same_networks = widest.drop(columns="depth")  # they serve all depths
    inside = table["width"] == table["width"].max()
    ratios = [(kind, column) for kind in ("opposite", "other") for column in [f"{kind}_ratio"] if column in table]
    angles = []
    level = corrected(len(ratios) * int(inside.sum()))
    for name, cell in summary.groups(widest.sort_values(["input_dim", "depth", "network", "input"]), ["width", "input_dim", "depth"]):
        row = table[inside & (table["input_dim"] == name["input_dim"]) & (table["depth"] == name["depth"])].iloc[0]
        angle = cell["angle"].to_numpy().reshape(cell["network"].nunique(), -1)
        for kind, _ in ratios:
            part = angle[:, 1] if kind == "opposite" else angle[:, 2:].mean(axis=1)
            means = summary.mean_replicates(part, seed, "collapse", name["width"], name["input_dim"])
            low, high = percentile_interval(means[1:] / row[f"{kind}_recursion"], level)
            angles.append((float(means[0]) / row[f"{kind}_recursion"], (low, high)))
    judge.add(
        "lemma3.2.angle",
        "Lemma 3.2, layer after layer: the angle between the images of two inputs follows the arc-cosine recursion at every depth.",
        "in the mean, for one layer",
        "mean angle over the recursion's within 20% of 1 at every depth and dimension of the grid, for opposite inputs and for the others,"
        " at the largest width; networks resampled, corrected for their number",
        parts=angles,
        holds=(0.8, 1.2),
        rows=same_networks,
        figure="collapse",
        files=files,
    )
    deep = table[inside & (table["depth"] >= table["input_dim"] ** 3)]
    cells = [(int(row["below"] * row["networks"] + 0.5), int(row["networks"])) for _, row in deep.iterrows()]
    judge.add(
        "thm3.1.pairs",
        "Theorem 3.1 with C = 1: in networks of L >= d^3 layers |f(x) - f(y)| / |f(x)| is at most sqrt(log d / d) for all x, y on the"
        " sphere.",
        "some constant C, for k >= (L d)^20",
        "share of networks whose largest pair is that near >= 90% in every cell with L >= d^3 at the largest width; exact binomial; a"
        " sample of pairs finds no maximum, so at best not contradicted; no width that could be sampled meets the theorem's condition",
        parts=[(hits / n, exact_share(hits, n, corrected(len(cells)))) for hits, n in cells],
        holds=(0.9, 1.0),
        rows=same_networks[widest["depth"] >= widest["input_dim"] ** 3],
        figure="collapse",
        files=files,
        searched=True,
    )
    norms = []
    for _, row in table[inside].iterrows():
        depth, width, dim = (int(row[column]) for column in ("depth", "width", "input_dim"))
        cell = widest[(widest["depth"] == depth) & (widest["input_dim"] == dim)].sort_values(["network", "input"])
        norm = cell["norm"].to_numpy().reshape(cell["network"].nunique(), -1)
        squares = summary.mean_replicates(np.log(norm[:, 1] / norm[:, 0]) ** 2, seed, "collapse", width, dim)
        found = np.sqrt(squares) / row["norm_ratio_law"]
        norms.append((float(found[0]), percentile_interval(found[1:], corrected(int(inside.sum())))))
    judge.add(
        "law.norm-ratio",
        "What remains of the difference at a fixed width: the log of the ratio of two opposite inputs' norms has the predicted deviation,"
        " which stops growing with the depth.",
        "ratio 1 (this project's law)",
        "root mean square over the law's deviation within 20% of 1 at every depth and dimension at the largest width; networks resampled,"
        " corrected for their number",
        parts=norms,
        holds=(0.8, 1.2),
        rows=same_networks,
        figure="collapse",
        files=files,
    )


def _vanishing(judge: Judge, scan: pd.DataFrame, limit: pd.DataFrame, seed: int, files: Sequence[Path]) -> pd.DataFrame:
    """Judges whether single steps still flip in very deep networks, and returns the depths at which half of them no longer do."""
    deep = scan[scan["depth"] >= scan["input_dim"] ** 3]
    kept = [(cell["status"] != "switched").to_numpy() for _, cell in summary.groups(deep, ["width", *SCAN])]
    judge.add(
        "thm3.1.flip",
        "What Theorem 3.1 implies: in networks of L >= d^3 layers a single step flips the sign of at most 10% of the networks.",
        "no flip, for k >= (L d)^20",
        "share that no scanned step flips >= 90% in every cell with L >= d^3; exact binomial, one input a network, corrected; the width is"
        " far below the theorem's",
        parts=[share(cell, corrected(len(kept))) for cell in kept],
        holds=(0.9, 1.0),
        rows=deep,
        figure="depth",
        files=files,
    )
    table, replicates = summary.vanishing_table(scan, limit, seed)
    wide = table["width"].isna().to_numpy()
    parts = []
    if wide.sum() > 1:
        slope = slopes(np.log(replicates[:, wide]), np.log(table.loc[wide, "input_dim"].to_numpy(float)))[:, 0]
        parts.append((float(slope[0]), percentile_interval(slope[1:])))
    judge.add(
        "law.vanishing-depth",
        "In networks of infinite width the depth from which on a single step no longer flips half of the signs grows like sqrt(d).",
        "exponent 0.5 (this project's law)",
        "slope of its log on log d within 0.1 of 0.5; networks resampled",
        parts=parts,
        holds=(0.4, 0.6),
        rows=limit,
        figure="depth",
        files=files,
    )
    return table


def assess(files: Files, deltas: Sequence[float], constant: float, scale: str, seed: int, tables: Path, out: Path) -> None:
    """Judges every claim and writes them, with the tables that they rest on; `files`: the record files of each experiment by its name."""
    read = {name: records.read(paths) for name, paths in files.items()}
    judge = Judge("multilayer", scale, [*CELL, "input_dim"], "random inputs (no data set)")
    made = {"cells": summary.cells(read["flip"]), "constants": summary.constants_table(read["flip"], deltas, constant)}
    _theorem_1(judge, read["flip"], deltas, constant, files["flip"])
    _lemma_2_2(judge, read["flip"], deltas, files["flip"])
    made["layers"] = summary.layer_table(read["layers"], seed)
    _lemma_2_3(judge, read["layers"], made["layers"], deltas, files["layers"])
    made["small"] = _lemma_2_5(judge, read["layers"], deltas, files["layers"])
    made["changes"], replicates = summary.changes(read["smoothness"], seed)
    made["slopes"] = _lemma_2_8(judge, read["smoothness"], made["changes"], replicates, files["smoothness"])
    made["terms"] = summary.terms(read["smoothness"], seed)
    made["collapse"] = summary.collapse_table(read["collapse"], seed)
    _collapse(judge, read["collapse"], made["collapse"], seed, files["collapse"])
    made["scan"] = summary.scan_table(read["scan"], read["limit"])
    made["vanishing"] = _vanishing(judge, read["scan"], read["limit"], seed, [*files["scan"], *files["limit"]])

    parameters = {"deltas": list(deltas), "constant": constant, "scale": scale}
    born = certificate(parameters=parameters, modules=[__name__], inputs=[file for paths in files.values() for file in paths], seed=seed)
    for name, frame in made.items():
        records.write_table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
