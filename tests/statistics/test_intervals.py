"""Intervals cover what they should, and resample networks."""

import numpy as np
import pytest
from scipy import stats

from onestep.statistics.intervals import (
    as_columns,
    exact_quantile,
    exact_share,
    percentile_interval,
    resampling_weights,
    share,
    share_difference,
    weighted_quantiles,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (25, 50), (50, 50), (1499, 1500)])
def test_exact_shares_are_scipys_clopper_pearson(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert exact_share(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_a_failure_the_lower_end_is_the_closed_form() -> None:
    assert exact_share(1500, 1500)[0] == pytest.approx(0.025 ** (1 / 1500), abs=1e-12)


def test_a_share_over_a_unit_and_its_exact_interval() -> None:
    estimate, (low, high) = share([True, True, False, False, False])
    assert estimate == 0.4
    assert (low, high) == exact_share(2, 5)
    assert share(np.array([True, False]), 0.99, 0.1) == (5.0, tuple(end / 0.1 for end in exact_share(1, 2, 0.99)))


def test_the_difference_of_two_shares() -> None:
    """Both 100%: the exact ends. Else: the interval holds the true difference in at least 95% of 2,000 draws."""
    ones = np.ones(1500, dtype=bool)
    estimate, (low, high) = share_difference(ones, ones)
    assert estimate == 0
    assert (low, high) == pytest.approx((-(1 - 0.025 ** (1 / 1500)), 1 - 0.025 ** (1 / 1500)))
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(2000):
        _, (low, high) = share_difference(rng.random(80) < 0.97, rng.random(60) < 0.9)
        held += low <= 0.07 <= high
    assert held >= 0.95 * 2000


def test_the_exact_interval_of_a_median_is_the_sign_tests() -> None:
    """20 observations: the 6th and the 15th smallest, which hold the median with 95.9% (sign test)."""
    assert exact_quantile(np.arange(1.0, 21), 0.5) == (10, (6, 15))
    assert 1 - 2 * stats.binom.cdf(5, 20, 0.5) == pytest.approx(0.959, abs=1e-3)


def test_values_that_are_not_independent_count_as_fewer_observations() -> None:
    """Each of the 20 observations three times: the same interval, where they are not taken for 60."""
    thrice = np.arange(1.0, 21).repeat(3)
    assert exact_quantile(thrice, 0.5, 20) == (10, (6, 15))
    assert exact_quantile(thrice, 0.5)[1] != (6, 15)


def test_quantiles_count_what_was_not_found_as_infinitely_far() -> None:
    values = np.append(np.arange(1.0, 91), [np.inf] * 10)
    assert exact_quantile(values, 0.5)[0] == 50
    assert exact_quantile(values, 0.95)[0] == np.inf
    middle, (low, high) = exact_quantile(values, 0.88)
    assert middle == 88
    assert low < 88 < high == np.inf


def test_the_interval_of_a_quantile_covers_it() -> None:
    """The 90% quantile of exponential samples of 100: in at least 95% of 400 repetitions, less three errors."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = exact_quantile(rng.exponential(size=100), 0.9)[1]
        hits += low <= np.log(10) <= high
    assert hits / 400 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)


def test_an_estimate_is_three_columns() -> None:
    assert as_columns("step", (2.0, (1.0, 3.0))) == {"step": 2.0, "step_low": 1.0, "step_high": 3.0}


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


def test_a_network_counts_as_often_as_its_weight_in_a_quantile_and_what_was_not_found_is_beyond_all() -> None:
    values = np.array([[1.0, np.inf], [2.0, np.inf], [3.0, np.inf]])
    assert weighted_quantiles(np.ones((1, 3)), values, 0.5)[0] == 3.0
    assert weighted_quantiles(np.array([[2.0, 1.0, 0.0]]), np.array([[1.0], [2.0], [3.0]]), 0.5)[0] == 1.0
    rng = np.random.default_rng(6)
    values, weights = rng.normal(size=(7, 3)), rng.integers(0, 4, size=(5, 7)).astype(float)
    for probability in (0.05, 0.45, 0.9):
        repeated = [np.repeat(values, row.astype(int), axis=0).ravel() for row in weights]
        expected = [np.quantile(row, probability, method="inverted_cdf") for row in repeated]
        assert weighted_quantiles(weights, values, probability).tolist() == expected
