"""Intervals cover what they should, and resample networks."""

import numpy as np
import pytest
from scipy import stats

from onestep.statistics.intervals import exact_share, percentile_interval, resampling_weights


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (25, 50), (50, 50), (1499, 1500)])
def test_exact_shares_are_scipys_clopper_pearson(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert exact_share(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_a_failure_the_lower_end_is_the_closed_form() -> None:
    assert exact_share(1500, 1500)[0] == pytest.approx(0.025 ** (1 / 1500), abs=1e-12)


def test_resampling_keeps_the_number_of_networks_and_starts_with_the_sample() -> None:
    weights = resampling_weights(30, 1, "a", replicates=200)
    assert weights.shape == (201, 30)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 30).all()
    assert np.array_equal(weights, resampling_weights(30, 1, "a", replicates=200))
    assert not np.array_equal(weights, resampling_weights(30, 1, "b", replicates=200))


def coverage(by_network: bool) -> float:
    """Share of 300 experiments, 40 networks x 10 inputs with intraclass correlation 0.8, whose interval contains the mean 0."""
    rng = np.random.default_rng(5)
    covered = 0
    for experiment in range(300):
        values = rng.normal(0, np.sqrt(0.8), (40, 1)) + rng.normal(0, np.sqrt(0.2), (40, 10))
        units = values.mean(1) if by_network else values.ravel()
        weights = resampling_weights(len(units), experiment, "coverage", replicates=300)
        low, high = percentile_interval((weights @ units / weights.sum(1))[1:])
        covered += low <= 0 <= high
    return covered / 300


def test_resampling_networks_covers_and_resampling_inputs_does_not() -> None:
    """Binomial(300, 0.95) is below 0.90 with probability 3e-4; resampling inputs covers only about half of the time."""
    assert coverage(by_network=True) > 0.90
    assert coverage(by_network=False) < 0.75


def test_replicates_that_are_not_numbers_say_nothing() -> None:
    assert percentile_interval(np.array([1.0, np.nan])) == (-np.inf, np.inf)
    assert percentile_interval(np.array([1.0] * 98 + [np.inf] * 2))[1] == 1.0
