"""Records that follow given laws, but for a little noise of each network."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from onestep import records
from onestep.guarantees import kernels, rays, second, trained
from onestep.guarantees.experiment import SAMPLE_COLUMNS
from onestep.guarantees.summary import EXPONENTS
from onestep.networks.residual import ARCHITECTURES

PUBLISHED = Path(__file__).parents[2] / "workflow/resources/guarantees_figure1.csv"
SIDES = {
    "resnet": [12, 28, 60], "lenet": [16, 56], "convolutional": [16, 56], "fully-connected": [16, 56], "periodic": [8],
    "periodic-pooled": [8],
}  # fmt: skip
NETWORKS, TRAINED, IMAGES = 100, 30, 21
DELTAS = [0.1, 0.3]
LEVELS = {"l1": 10.3 / np.sqrt(2700 / np.log(2700)), "l2": 0.56, "linf": 0.0155 * np.sqrt(2700)}
"""Constants with which the medians go through the middle of the published ones."""


def _cell(architecture: str, side: int) -> dict[str, object]:
    return {"architecture": architecture, "side": side, "input_dim": 3 * side**2}


def sampled(exponents: dict[str, float] | None = None, level: float = 1.0, shortest: float = 0.0) -> pd.DataFrame:
    """Medians `level` times c n^e, in l1 beside 1 / sqrt(ln n); this share of the l1 distances is 0. |f| is half-normal."""
    powers = EXPONENTS | (exponents or {})
    rng, rows = np.random.default_rng(0), []
    for architecture, sides in SIDES.items():
        for side in sides:
            n = 3 * side**2
            size = rng.permutation(stats.halfnorm.ppf((np.arange(NETWORKS) + 0.5) / NETWORKS))
            noise = np.exp(0.02 * rng.standard_normal(NETWORKS))
            for norm, power in powers.items():
                # Turned about the middle of the range, so that the level stays.
                middle = LEVELS[norm] * 2700 ** EXPONENTS[norm] * (n / 2700) ** power / (np.log(n) ** 0.5 if norm == "l1" else 1)
                distance = level * middle * size / stats.halfnorm.ppf(0.5) * noise
                found = np.where(np.arange(NETWORKS) < shortest * NETWORKS, 0, distance) if norm == "l1" else distance
                part = _cell(architecture, side) | {
                    "norm": norm, "network": np.arange(NETWORKS), "input": 0, "distance": found, "first_order": 0.95 * distance,
                    "gradients": 20, "value": 3.0 * size, "deviation": 3.0, "input_norm": np.sqrt(n / 3), "status": "ok",
                }  # fmt: skip
                rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(SAMPLE_COLUMNS)]


def searched(ratio: float = 0.99) -> pd.DataFrame:
    """A second search that comes this near."""
    rows = sampled().query("architecture == 'resnet' and side == 12")
    return rows.assign(second=ratio * rows["distance"], effort="fast")[list(second.COLUMNS)]


def followed(exponent: float = 0.5, level: float = 0.5) -> pd.DataFrame:
    """Half of the directions meet the boundary, at about `level` ||x||; at another exponent, turned about the middle of the range."""
    rng, rows = np.random.default_rng(1), []
    for architecture, sides in {"resnet": [12, 20, 32], "periodic": [8], "periodic-pooled": [8]}.items():
        for side in sides:
            norm = side * (side / 20) ** (2 * exponent - 1)
            length = np.where(np.arange(NETWORKS) % 2, np.nan, level * norm * np.exp(0.02 * rng.standard_normal(NETWORKS)))
            part = _cell(architecture, side) | {
                "network": np.arange(NETWORKS), "input": 0, "length": length, "cap": 3.0 * side, "value": 1.0, "deviation": 1.0,
                "input_norm": float(side), "status": np.where(np.isnan(length), "unswitched", "switched"),
            }  # fmt: skip
            rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(rays.COLUMNS)]


def law() -> pd.DataFrame:
    """The first-order law of the residual networks of `sampled`."""
    rows, draws = [], 200
    size = stats.halfnorm.ppf((np.arange(draws) + 0.5) / draws) / stats.halfnorm.ppf(0.5)
    for side in (12, 60):
        n = 3 * side**2
        for norm, power in EXPONENTS.items():
            middle = LEVELS[norm] * n**power / (np.log(n) ** 0.5 if norm == "l1" else 1)
            own = {"norm": norm, "network": np.arange(draws), "input": 0, "distance": 0.95 * middle * size, "status": "ok"}
            rows.append(pd.DataFrame(_cell("resnet", side) | own))
    return pd.concat(rows, ignore_index=True)[list(kernels.LAW_COLUMNS)]


def proved(certificate: float = 1.0, met: float = 0.9) -> pd.DataFrame:
    """Certificates of the theorem's setting; `met`: what ascents found elsewhere, over what the theorem would allow."""
    rows = []
    for architecture in ("convolutional", "fully-connected", "periodic", "periodic-pooled"):
        stretch = ARCHITECTURES[architecture].stretch(8)
        inside = architecture != "convolutional"
        part = _cell(architecture, 8) | {
            "network": 0, "input": 0, "stretch": stretch, "certificate": certificate if inside else 1.5, "deviation_ratio": 0.1,
            "distance_ratio": 0.1 * stretch * (0.9 if inside else met), "status": "ok",
        }  # fmt: skip
        rows.append(part)
    return pd.DataFrame(rows)[list(kernels.KERNEL_COLUMNS)]


RATIOS = {
    "mnist-odd-even": {"random": 0.5, "training": 1.0, "test": 1.0},
    "cifar10-groups": {"random": 0.3, "training": 0.3, "test": 0.3},
}
DATA = {"mnist-odd-even": "STAND-IN for MNIST", "cifar10-groups": "STAND-IN for CIFAR-10"}


def attacked(
    ratios: dict[str, dict[str, float]] = RATIOS,
    power: float = 1.0,
    accuracy: float = 0.99,
    gap: float = 0.163,
    networks: int = TRAINED,
    whole: bool = True,
) -> pd.DataFrame:
    """Trained networks whose median distance is so many times that before training, and whose share within r goes with r ** power."""
    rng, rows = np.random.default_rng(2), []
    network, image = np.repeat(np.arange(networks), IMAGES), np.tile(np.arange(IMAGES), networks)
    # Together an exact grid of shares.
    share = (image + (network + 0.5) / networks) / IMAGES
    for dataset, kinds in ratios.items():
        # Random images lie on the grid exactly, others as near as their network's own noise lets them.
        noise = np.exp(0.02 * rng.standard_normal(networks))[network]
        test_accuracy = (accuracy - gap + 0.002 * rng.standard_normal(networks))[network]
        for kind, ratio in kinds.items():
            before = 10 * share ** (1 / power) * (1 if kind == "random" else noise)
            for state, distance in (("trained", ratio * before), ("random", before)):
                part = {
                    "data": DATA[dataset], "dataset": dataset, "network": network, "state": state, "kind": kind, "input": image,
                    "norm": "l1", "distance": distance, "gradients": 30, "value": 1.0, "correct": kind != "random",
                    "train_accuracy": accuracy, "test_accuracy": test_accuracy, "images": 60_000, "epochs": 15, "filters": 1.0,
                    "whole": whole, "status": "ok",
                }  # fmt: skip
                rows.append(pd.DataFrame(part))
    frame = pd.concat(rows, ignore_index=True)[list(trained.ATTACK_COLUMNS)]
    return frame.sort_values(
        ["dataset", "network", "state", "kind"], ascending=[False, True, False, True], kind="stable", ignore_index=True
    )


def shown(datasets: tuple[str, ...] = ("mnist-odd-even", "cifar10-groups")) -> pd.DataFrame:
    """Two images of each data set, of 4 x 4 pixels, with a change in each norm."""
    rng, rows = np.random.default_rng(3), []
    for dataset in datasets:
        channels = 1 if dataset.startswith("mnist") else 3
        for index in range(2):
            original = rng.random(16 * channels)
            for norm in EXPONENTS:
                part = {
                    "data": DATA[dataset], "dataset": dataset, "network": 0, "input": index, "norm": norm,
                    "pixel": np.repeat(np.arange(16), channels), "channel": np.tile(np.arange(channels), 16), "original": original,
                    "change": 0.1 * rng.standard_normal(16 * channels), "distance": 0.4, "value": 1.0, "status": "ok",
                }  # fmt: skip
                rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(trained.EXAMPLE_COLUMNS)]


MADE = {
    "sample": (sampled, SAMPLE_COLUMNS),
    "search": (searched, second.COLUMNS),
    "rays": (followed, rays.COLUMNS),
    "law": (law, kernels.LAW_COLUMNS),
    "kernels": (proved, kernels.KERNEL_COLUMNS),
    "attack": (attacked, trained.ATTACK_COLUMNS),
    "examples": (shown, trained.EXAMPLE_COLUMNS),
}


@functools.cache
def _lawful(name: str) -> pd.DataFrame:
    return MADE[name][0]()


def written(folder: Path, **frames: pd.DataFrame) -> dict[str, list[Path]]:
    """Record files of every experiment: those given, and those that follow the laws."""
    files = {name: [folder / f"{name}.parquet"] for name in MADE}
    for name, (_, columns) in MADE.items():
        records.write(files[name][0], frames[name] if name in frames else _lawful(name), columns, {"seed": 0})
    return files
