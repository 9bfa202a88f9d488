"""95% intervals. Inputs of one network are correlated, so networks are resampled, never inputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from onestep.seeds import stream

Array = NDArray[np.float64]
Interval = tuple[float, float]
Estimate = tuple[float, Interval]

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


def share(counted: Any, level: float = LEVEL, unit: float = 1.0) -> Estimate:
    """The share of independent observations [n] that are counted, over `unit`, and its exact interval."""
    hits, n = int(np.sum(counted)), len(counted)
    low, high = exact_share(hits, n, level)
    return hits / n / unit, (low / unit, high / unit)


def share_difference(one: Any, other: Any, level: float = LEVEL) -> Estimate:
    """The difference of two shares of independent observations, and its interval: Newcombe's, from the exact intervals of both.

    Its ends are the exact ends where both shares are 100%, and it does not collapse there.
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = share(one, level), share(other, level)
    return a - b, (a - b - float(np.hypot(a - a_low, b_high - b)), a - b + float(np.hypot(a_high - a, b - b_low)))


def exact_quantile(values: Any, probability: float, observations: int | None = None, level: float = LEVEL) -> Estimate:
    """A quantile of values [n], infinite ones included, and the quantiles at the ends of the probability's exact interval.

    `observations`: how many independent ones the values are, where they are not all: the networks that have several inputs each.
    """
    n = len(values) if observations is None else observations
    low, high = exact_share(probability * n, n, level)
    ends = np.quantile(np.asarray(values, dtype=np.float64), [low, probability, high], method="inverted_cdf")
    return float(ends[1]), (float(ends[0]), float(ends[2]))


def as_columns(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate and its interval as three columns of a table."""
    middle, (low, high) = estimate
    return {name: middle, f"{name}_low": low, f"{name}_high": high}


def corrected(parts: int) -> float:
    """The level of each of several intervals that hold together at LEVEL (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(parts, 1)


def t_interval(values: Array, level: float = LEVEL) -> Estimate:
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


def weighted_quantiles(weights: Array, values: Array, probability: float) -> Array:
    """Quantiles [R] of values [networks, inputs] in which each network counts as often as its weight [R, networks] says."""
    order = np.argsort(values, axis=None)
    cumulated = np.repeat(weights, values.shape[1], axis=1)[:, order].cumsum(axis=1)
    quantiles: Array = values.ravel()[order[(cumulated >= probability * cumulated[:, -1:]).argmax(axis=1)]]
    return quantiles
