"""Records that follow given laws, but for a little noise of each run."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from onestep import records
from onestep.lazy import adversarial, ball
from onestep.lazy.experiment import ATTACK_COLUMNS, BRACKET_COLUMNS, JOURNEY_COLUMNS

DIMS, RADII, RUNS, IMAGES = [25, 100, 196, 400, 784], [10.0, 40.0], 4, 50
EXPONENTS = {"gradient_norm": 0.5, "step": -1.0, "relative": -0.5}
GAMMAS = [0.1, 0.3]
DATA = "STAND-IN for images"


def attacked(exponents: dict[str, float] | None = None, wrong: int = 0, growth: float = 0.3, runs: int = RUNS) -> pd.DataFrame:
    """Records in which the means go with these powers of d and grow with C0, but for a little noise of each run."""
    powers = EXPONENTS | (exponents or {})
    rng, rows = np.random.default_rng(0), []
    for protocol, norm, bias in (("corrected", "unit", "none"), ("corrected", "pixels", "torch"), ("as_published", "unit", "none")):
        for c0 in [*RADII, np.inf] if protocol == "corrected" else RADII:
            for dim in DIMS:
                for run in range(runs):
                    noise = np.exp(0.01 * rng.standard_normal(3))
                    more = np.exp(growth * np.log(min(c0, 100.0) / 10))
                    step = 0.045 * (dim / 784) ** powers["step"] * noise[0] * more * (1 + 0.1 * rng.standard_normal(IMAGES))
                    gradient = dim ** powers["gradient_norm"] * noise[1] * more
                    length = 1.0 if norm == "unit" else 5.0
                    part = {
                        "c0": c0, "width": 1000, "input_dim": dim, "run": run, "input": np.arange(IMAGES), "value": 1.0,
                        "gradient_norm": gradient, "step": step,
                        "perturbation_norm": dim ** powers["relative"] * length * noise[2] * more, "input_norm": length,
                        "correct": np.arange(IMAGES) >= wrong, "status": "switched", "data": DATA, "protocol": protocol,
                        "norm": norm, "bias": bias, "ended": "left",
                    }  # fmt: skip
                    rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(ATTACK_COLUMNS)]


def robust(gone: float = 5.0, safe: float = 26.0, tilt: float = 0.0, wrong: float = 0.0, steps: int = 3) -> pd.DataFrame:
    """Figure 4 where the robust accuracy falls to 1% at ||delta|| = gone / sqrt(d), and reaches 99% at V = safe / sqrt(m).

    `tilt`: added to both exponents; `wrong`: the share of test images that are wrong without an attack.
    """
    rng, rows, images = np.random.default_rng(1), [], 400

    def cell(panel: str, width: int, dim: int, budget: float, radius: float, run: int, share: float) -> None:
        right = np.arange(images) < np.round(share * images)
        margin = np.where(np.arange(images) >= images * (1 - wrong), -1.0, 1.0)
        attacked = np.where(right, 0.5, -0.5)
        rows.append(
            pd.DataFrame(
                {
                    "panel": panel, "data": DATA, "protocol": "corrected", "width": width, "input_dim": dim, "budget": budget,
                    "radius": radius, "run": run, "epochs": 3, "stop": "no gain", "trained": share, "steps": steps,
                    "input": np.arange(images), "margin": margin, "attacked": attacked,
                    "reference": np.where(run == 0, attacked, np.nan), "status": np.where(right, "robust", "broken"),
                }
            )
        )  # fmt: skip

    for run in range(3):
        noise = 1 + 0.01 * rng.standard_normal()
        for dim in (64, 196, 784):
            for scaled in (2.0, 3.0, 4.0, 4.5, 5.5):
                place = scaled * noise / (dim / 196) ** tilt
                cell("budgets", 1000, dim, scaled / dim**0.5, 0.316, run, float(special.ndtr((gone - 1 - place) / 0.43)))
        for width in (800, 1200, 2700):
            for scaled in (8.0, 14.0, 20.0, 24.0, 32.0):
                place = scaled * noise / (width / 1200) ** tilt
                cell("radii", width, 784, 0.2, scaled / width**0.5, run, float(special.ndtr((place - safe + 6) / 2.58)))
    return pd.concat(rows, ignore_index=True)[list(adversarial.COLUMNS)]


def balls(highest: float = 5.0, certain: float = 8.0, power: float = -0.5) -> pd.DataFrame:
    """Starts of which nothing breaks a lemma, unless `highest` does, and whose images are flipped within certain * d ** power."""
    rng, rows, networks = np.random.default_rng(2), [], 60
    for c0 in RADII:
        for dim in (100, 400, 784):
            part = {
                "c0": c0, "width": 1000, "input_dim": dim, "network": np.repeat(np.arange(networks), 2),
                "input": np.tile([3, 7], networks), "value": 0.5, "gradient_norm": dim**0.5, "lowest": -5.0, "highest": highest,
                "changeable": 50, "certain": certain * dim**power * (1 + 0.001 * rng.standard_normal(2 * networks)), "status": "certain",
                "data": DATA,
            }  # fmt: skip
            rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)[list(ball.COLUMNS)]


def brackets(change: float = -0.2) -> pd.DataFrame:
    """Steps a tenth longer than the smallest perturbation, bounds half as long; the gradient's relative change goes with d ** change."""
    rows = attacked()
    rows = rows[(rows["protocol"] == "corrected") & (rows["run"] == 0)]
    found = rows["perturbation_norm"] / 1.1
    changes = {"found": found, "bound": found / 2, "gradient_change": rows["gradient_norm"] * rows["input_dim"] ** change}
    return rows.assign(**changes)[list(BRACKET_COLUMNS)]


def journeys() -> pd.DataFrame:
    """Two trainings without a ball."""
    rows = [
        pd.DataFrame(
            {
                "c0": np.inf, "width": 1000, "input_dim": dim, "run": 0, "steps": [100, 1000, 10000], "epochs": [0.1, 1.0, 10.0],
                "farthest": [1.0, 10.0, 50.0], "median": [1.0, 5.0, 10.0], "changed": [0.0, 0.01, 0.1], "alignment": [1.0, 0.9, 0.8],
                "data": DATA, "protocol": "corrected", "norm": norm, "bias": "none", "ended": "learned",
            }
        )
        for dim in (25, 784) for norm in ("unit", "pixels")
    ]  # fmt: skip
    return pd.concat(rows, ignore_index=True)[list(JOURNEY_COLUMNS)]


def written(folder: Path, **frames: pd.DataFrame) -> dict[str, list[Path]]:
    """Record files of every experiment: those given, and those that follow the laws."""
    made = {
        "attack": (attacked, ATTACK_COLUMNS),
        "bracket": (brackets, BRACKET_COLUMNS),
        "journey": (journeys, JOURNEY_COLUMNS),
        "adversarial": (robust, adversarial.COLUMNS),
        "check": (lambda: pd.concat([robust(), robust(steps=100)]).query("panel == 'budgets' and run == 0"), adversarial.COLUMNS),
        "ball": (balls, ball.COLUMNS),
    }
    files = {}
    for name, (rows, columns) in made.items():
        files[name] = [folder / f"{name}.parquet"]
        records.write(files[name][0], frames[name] if name in frames else rows(), columns, {"seed": 0})
    return files
