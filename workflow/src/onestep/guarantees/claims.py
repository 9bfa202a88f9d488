"""The claims of `guarantees`, each with its rule, judged from the records.

All rules were written before the first laptop run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from onestep import claims, records
from onestep.claims import Judge, Part
from onestep.guarantees import summary
from onestep.guarantees.summary import EXPONENTS, KEY, Medians
from onestep.provenance import certificate
from onestep.statistics.intervals import as_columns, corrected, share, t_interval

NAMES = {"l1": "l1", "l2": "l2", "linf": "l-infinity"}
WORDS = {"l1": "sqrt(n)", "l2": "n^0", "linf": "1/sqrt(n)"}
ENOUGH = 30
"""Networks from which on they are resampled; what fewer are asked for is a t interval over networks."""
SETTING = ("periodic", "periodic-pooled", "fully-connected")
"""The architectures that meet Theorem 1's setting: periodic, not strided, pooled before a nonlinearity only."""


def _exponents(judge: Judge, found: Mapping[str, Medians], rows: pd.DataFrame, published: pd.DataFrame, files: Sequence[Path]) -> None:
    """Claims 1 and 2, and the published medians themselves."""
    resnet = rows[rows["architecture"] == "resnet"]
    for norm, medians in found.items():
        exponent, own = EXPONENTS[norm], resnet[resnet["norm"] == norm]
        beside = ", beside 1/sqrt(ln n) as the first-order law has it" if norm == "l1" else ""
        resampled = "networks resampled, each median with the control by |f| taken off"
        judge.add(
            f"claim1.{norm}",
            f"The {NAMES[norm]} distance of random images grows as {WORDS[norm]} in random residual networks, up to logarithms.",
            f"exponent {exponent:g}",
            f"slope of the log median on log n{beside}, within 0.05 of {exponent:g}; {resampled}",
            parts=[medians.slope("resnet", corrected=True)],
            holds=(exponent - 0.05, exponent + 0.05),
            rows=own,
            figure="distances",
            files=files,
        )
        judge.add(
            f"claim2.{norm}",
            f"The relative {NAMES[norm]} distance falls as 1/sqrt(n).",
            "exponent -0.5",
            f"slope of the log of the median over the mean length of images on log n, within 0.1 of -0.5; {resampled}",
            parts=[medians.slope("resnet", relative=True)],
            holds=(-0.6, -0.4),
            rows=own,
            figure="relative",
            files=files,
        )
        judge.add(
            f"figure1.{norm}",
            f"The authors' own {NAMES[norm]} medians (Figure 1) are found again.",
            "their medians",
            f"geometric mean of the ratios of the medians at the sides that have both within 0.8 .. 1.2; {resampled}, and the published"
            " medians' own noise",
            parts=[medians.ratio("resnet", published)],
            holds=(0.8, 1.2),
            rows=own[own["side"].isin(published["image_side"])],
            figure="distances",
            files=files,
        )


def _trained(judge: Judge, rows: pd.DataFrame, lines: pd.DataFrame, ratios: pd.DataFrame, files: Sequence[Path]) -> None:
    """Claims 3, 4 and 5."""
    for dataset, own in rows.groupby("dataset", sort=False):
        title = "MNIST" if str(dataset).startswith("mnist") else "CIFAR-10"
        for region, limit, low, high in summary.REGIONS:
            told = lines[(lines["dataset"] == dataset) & (lines["state"] == "trained") & (lines["kind"] == "random")]
            judge.add(
                f"claim3.{dataset}.{region}",
                f"The share of random images with an adversarial example within r is linear in r up to {high:.0%} (trained on {title}).",
                "linear",
                f"largest deviation of the share from the line through 0 fitted up to 25%, between {low:.0%} and {high:.0%}, at most"
                f" {limit:g}; networks resampled, at least {ENOUGH} of them",
                parts=[(row[region], (row[f"{region}_low"], row[f"{region}_high"])) for row in told.to_dict("records")],
                holds=(0.0, limit),
                rows=own[own["kind"] == "random"],
                figure="percentiles",
                files=files,
                needed=ENOUGH,
            )
        networks = own.drop_duplicates("network")
        worst = float(networks["train_accuracy"].min())
        judge.add(
            f"claim4.accuracy.{dataset}",
            f"Every network is right on more than 98% of the images of {title} that it was trained on.",
            "above 98%",
            "the smallest training accuracy of all networks above 98%; a statement about these networks, so that it has no interval",
            parts=[(worst, (worst, worst))],
            holds=(float(np.nextafter(0.98, 1)), 1.0),
            rows=own,
            figure="trained",
            files=files,
        )
        if title == "CIFAR-10":
            whole = networks[networks["whole"]]
            gap = 100 * (whole["train_accuracy"] - whole["test_accuracy"]).to_numpy()
            judge.add(
                f"claim4.gap.{dataset}",
                "CIFAR-10's gap between training and test accuracy is 16.3 points.",
                "16.3 points",
                "mean gap over networks trained on all training images within 2 points of 16.3; t interval over networks",
                parts=[t_interval(gap)] if len(gap) > 1 else [],
                holds=(14.3, 18.3),
                rows=own[own["whole"]],
                figure="trained",
                files=files,
            )
        for kind in ("random", "training", "test"):
            lowered = (title, kind) == ("MNIST", "random")
            low, high = (0.2, 0.5) if title == "CIFAR-10" else (0.0, float(np.nextafter(1, 0))) if lowered else (0.8, 1.25)
            words = "lowers" if title == "CIFAR-10" or lowered else "hardly changes"
            told = ratios[(ratios["dataset"] == dataset) & (ratios["kind"] == kind)]
            judge.add(
                f"claim5.{dataset}.{kind}",
                f"Training on {title} {words} the l1 distance of {kind} images{' by half an order of magnitude' * (title == 'CIFAR-10')}.",
                {"CIFAR-10": "about 0.3"}.get(title, "below 1" if lowered else "about 1"),
                "median distance of trained networks over that of the same ones before, network by network, their geometric mean"
                f" {'below 1' if lowered else f'within {low:g} .. {high:g}'}; t interval over networks",
                parts=[(row["ratio"], (row["ratio_low"], row["ratio_high"])) for row in told.to_dict("records")],
                holds=(low, high),
                rows=own[own["kind"] == kind],
                figure="trained",
                files=files,
            )


def bounds(rows: pd.DataFrame, deltas: Sequence[float]) -> pd.DataFrame:
    """For each architecture, side and delta: the radius that Theorem 1 guarantees, and the share of attacked l1 distances below it."""
    made = []
    own = summary.first_inputs(rows[rows["norm"] == "l1"])
    cells = [(dict(zip(KEY, name, strict=True)), cell) for name, cell in own.groupby(KEY)]
    level = corrected(len(cells) * len(deltas))
    for name, cell in cells:
        for delta in deltas:
            radius = summary.guaranteed(cell, delta)
            distance = cell["distance"].fillna(np.inf)
            row = name | {"delta": delta, "stretch": summary.stretch(cell), "networks": len(cell), "radius": float(np.median(radius))}
            row |= {"quantile": float(np.quantile(distance, delta, method="inverted_cdf"))}
            made.append(row | as_columns("share", share(distance < radius, level, delta)))
    return pd.DataFrame(made)


def _told(table: pd.DataFrame) -> list[Part]:
    """The parts of a claim about shares: those of cells with at least 4 / delta networks."""
    chosen = table[table["networks"] >= 4 / table["delta"]]
    return [(row["share"], (row["share_low"], row["share_high"])) for row in chosen.to_dict("records")]


def _theorem(judge: Judge, rows: pd.DataFrame, table: pd.DataFrame, kernels: pd.DataFrame, files: Mapping[str, Sequence[Path]]) -> None:
    """Claims 6 and 7."""
    for name, inside, words in (
        ("setting", True, "of the theorem's setting"),
        ("beyond", False, "outside the theorem's setting (zeros beyond the edges, strides)"),
    ):
        chosen = table[table["architecture"].isin(SETTING) == inside]
        judge.add(
            f"claim6.{name}",
            f"Corollary 1: with probability 1 - delta there is no boundary within r(delta) in l1 (random networks {words}).",
            "at most delta",
            "share of attacked distances below r(delta), over delta, at most 1 for every architecture, side and delta for which there are"
            " 4 / delta networks, one input each; exact binomial intervals, corrected for their number; an attack can refute it alone",
            parts=_told(chosen),
            holds=(0.0, 1.0),
            rows=summary.first_inputs(rows[(rows["norm"] == "l1") & (rows["architecture"].isin(SETTING) == inside)]),
            figure="bounds",
            files=files["sample"],
            searched=True,
        )
    own = kernels[kernels["architecture"].isin(SETTING)]
    proved = float(own["certificate"].max()) if len(own) else np.nan
    judge.add(
        "claim7.setting",
        "Theorem 2: sqrt(K(x, x)) >= C ||x|| and d(x, y) <= M C ||x - y|| for some C, on the kernels of the theorem's setting.",
        "for all x, y",
        "an upper bound on sup (d / ||x - y||) / (M inf (sqrt K / ||x||)), by proof, at most 1 up to rounding for every architecture and"
        " side",
        parts=[(proved, (proved, proved))],
        holds=(0.0, 1 + 1e-9),
        rows=own,
        figure="bounds",
        files=files["kernels"],
    )
    other = kernels[~kernels["architecture"].isin(SETTING)]
    met = float((other["distance_ratio"] / (other["stretch"] * other["deviation_ratio"])).max()) if len(other) else np.nan
    judge.add(
        "claim7.beyond",
        "Theorem 2 outside its setting: with zeros beyond the edges, too.",
        "not claimed",
        "the largest d / ||x - y|| found, over M times the smallest sqrt K / ||x|| found, at most 1; an ascent can refute it alone",
        parts=[(met, (met, met))],
        holds=(0.0, 1 + 1e-9),
        rows=other,
        figure="bounds",
        files=files["kernels"],
        searched=True,
    )


def ray_shares(rows: pd.DataFrame, deltas: Sequence[float]) -> pd.DataFrame:
    """For each architecture, side and delta: the share of random directions along which the class changes within the theorem's length."""
    made = []
    cells = [(dict(zip(KEY, name, strict=True)), cell) for name, cell in rows.groupby(KEY)]
    level = corrected(len(cells) * len(deltas))
    for name, cell in cells:
        for delta in deltas:
            radius = summary.guaranteed_along(cell, delta)
            row = name | {"delta": delta, "stretch": summary.stretch(cell), "networks": len(cell), "radius": float(np.median(radius))}
            made.append(row | as_columns("share", share(cell["length"].fillna(np.inf) < radius, level, delta)))
    return pd.DataFrame(made)


def _rays(judge: Judge, rows: pd.DataFrame, seed: int, deltas: Sequence[float], files: Sequence[Path]) -> None:
    """Claim 8."""
    judge.add(
        "claim8.share",
        "Theorem 1, second part: along a fixed direction the class stays up to pi ||x|| delta / (2 M + pi) with probability 1 - delta.",
        "at most delta",
        "share of networks that change their class before, over delta, at most 1 for every architecture, side and delta for which there are"
        " 4 / delta networks; exact binomial intervals, corrected for their number",
        parts=_told(ray_shares(rows, deltas)),
        holds=(0.0, 1.0),
        rows=rows,
        figure="rays",
        files=files,
    )
    _, slopes = summary.ray_quantiles(rows, seed)
    judge.add(
        "claim8.exponent",
        "The length along a fixed direction grows as sqrt(n).",
        "exponent 0.5",
        f"slope of the log of its {summary.LOW_QUANTILE:.0%} quantile on log n within 0.05 of 0.5, residual networks; networks resampled",
        parts=[slopes["resnet"]] if "resnet" in slopes else [],
        holds=(0.45, 0.55),
        rows=rows[rows["architecture"] == "resnet"],
        figure="rays",
        files=files,
    )


def assess(
    files: Mapping[str, Sequence[Path]], published_file: Path, deltas: Sequence[float], scale: str, seed: int, tables: Path, out: Path
) -> None:
    """Judges every claim and writes them, with the tables that they rest on; `files`: the record files of each experiment by its name."""
    rows, search, rays, law, kernels, attacked = (
        records.read(files[name]) for name in ("sample", "search", "rays", "law", "kernels", "attack")
    )
    published = summary.read_published(published_file)
    images = " and ".join(attacked["data"].unique())
    judge = Judge("guarantees", scale, [*KEY, "dataset"], f"random images; trained networks: {images}")
    found = summary.medians(rows, seed)
    _exponents(judge, found, rows, published, files["sample"])
    lines, ratios = summary.lines(attacked, seed), summary.ratios(attacked)
    _trained(judge, attacked, lines, ratios, files["attack"])
    table = bounds(rows, deltas)
    _theorem(judge, rows, table, kernels, files)
    _rays(judge, rays, seed, deltas, files["rays"])
    made = {
        "medians": pd.concat([medians.beside(published) for medians in found.values()]),
        "exponents": summary.exponents(found, published),
        "law": summary.law(rows, law, seed),
        "search": summary.second_search(search),
        "rays": ray_shares(rays, deltas).merge(summary.ray_quantiles(rays, seed)[0][[*KEY, "quantile", "switched"]], on=KEY),
        "kernels": kernels.drop(columns=["network", "input", "status"]),
        "bounds": table,
        "trained": lines,
        "ratios": ratios,
    }
    inputs = [file for paths in files.values() for file in paths]
    born = certificate(parameters={"scale": scale}, modules=[__name__], inputs=[*inputs, published_file], seed=seed)
    for name, frame in made.items():
        records.write_table(tables / f"{name}.csv", frame, born)
    claims.write(out, judge.claims, born)
