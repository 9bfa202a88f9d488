"""95% intervals. Inputs of one network are correlated, so networks are resampled, never inputs."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from onestep.seeds import stream

Array = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
REPLICATES = 1000


def exact_share(successes: float, trials: int, level: float = LEVEL) -> Interval:
    """Clopper-Pearson interval of a share, successes out of independent trials; it does not collapse at 0 or 100%.

    `successes` need not be whole: a share measured on several inputs of each of n networks is given as share * n, which counts
    each network as a single observation and so errs on the wide side.
    """
    tail = (1 - level) / 2
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes >= trials else float(stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def corrected(parts: int) -> float:
    """The level of each of several intervals that hold together at LEVEL (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(parts, 1)


def t_interval(values: Array, level: float = LEVEL) -> tuple[float, Interval]:
    """Mean of a few independent values and its t interval; all reals for fewer than two."""
    mean, n = float(np.mean(values)) if len(values) else np.nan, len(values)
    if n < 2:
        return mean, (-np.inf, np.inf)
    reach = float(stats.t.ppf(0.5 + level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, (mean - reach, mean + reach)


def percentile_interval(replicates: Array, level: float = LEVEL) -> Interval:
    """The central interval of bootstrap replicates [R]; infinite ones count as such, and without any finite order it is all reals."""
    tail = (1 - level) / 2
    ordered = np.sort(replicates)
    if np.isnan(ordered).any():
        return -np.inf, np.inf
    low, high = np.quantile(ordered, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def resampling_weights(networks: int, seed: int, *name: str | int, replicates: int = REPLICATES) -> Array:
    """How often each network stands in each bootstrap sample, [R + 1, networks]; row 0 is the sample itself (ones)."""
    drawn = stream(seed, "bootstrap", *name).integers(networks, size=(replicates, networks)) + networks * np.arange(replicates)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * networks).reshape(replicates, networks)
    return np.concatenate([np.ones((1, networks)), counts.astype(np.float64)])
