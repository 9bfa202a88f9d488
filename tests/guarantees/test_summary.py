"""Medians, exponents, lines and ratios of made-up records whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from onestep.guarantees import summary
from onestep.guarantees.summary import EXPONENTS, Medians

from .made import DATA, PUBLISHED, attacked, followed, law, sampled, searched

MEDIAN = stats.halfnorm.ppf(0.5)


def cells(sizes: dict[int, np.ndarray], medians: dict[int, float], norm: str = "l2") -> pd.DataFrame:
    """Residual networks with one input each, by side: |f| over its deviation is what is given, and distances are in proportion."""
    parts = [
        pd.DataFrame(
            {
                "architecture": "resnet", "side": side, "input_dim": 3 * side**2, "norm": norm, "network": np.arange(len(size)), "input": 0,
                "distance": medians[side] * size / MEDIAN, "value": -2 * size, "deviation": 2.0, "gradients": 20,
            }
        )
        for side, size in sizes.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def even(count: int = 61) -> np.ndarray:
    """Sizes spread as evenly as the half-normal law has them, with its median exactly."""
    return stats.halfnorm.ppf((np.arange(count) + 0.5) / count)


# ---------------------------------------------------------------------------------------------- the control


@pytest.fixture(scope="module")
def repeated() -> tuple[np.ndarray, np.ndarray]:
    """Log medians of 120 times 61 networks, raw and with the control taken off; their true median is 1.

    A distance is |f| / s times a factor of its network, half of whose spread |f| knows nothing of.
    """
    rng = np.random.default_rng(0)
    parts = []
    for side in range(120):
        size = abs(rng.standard_normal(61))
        part = cells({side + 4: size}, {side + 4: 1.0})
        parts.append(part.assign(distance=part["distance"] * np.exp(0.15 * rng.standard_normal(61))))
    found = Medians(pd.concat(parts, ignore_index=True), "l2", 0)
    # The factor's median is 1, but that of its product with |N| is not the product of medians: it is computed.
    many = rng.standard_normal(1_000_000)
    truth = np.log(np.median(abs(many) * np.exp(0.15 * rng.standard_normal(len(many)))) / MEDIAN)
    return np.log(found.raw[0]) - truth, np.log(found.controlled[0]) - truth


def test_the_control_lowers_the_spread_of_medians(repeated: tuple[np.ndarray, np.ndarray]) -> None:
    """To less than half the deviation, that is 9 times the samples: F test at the level 1e-4. With the wrong sign it raises it."""
    raw, controlled = repeated
    limit = stats.f.ppf(1e-4, len(raw) - 1, len(raw) - 1)

    def halved(medians: np.ndarray) -> bool:
        return bool(medians.var(ddof=1) < limit * raw.var(ddof=1) / 1.5)

    assert halved(controlled)
    assert not halved(2 * raw - controlled)
    assert (2 * raw - controlled).var() > 2 * raw.var()


def test_the_control_leaves_the_expected_median_where_it_is(repeated: tuple[np.ndarray, np.ndarray]) -> None:
    """t test at the level 1e-4; a control that took the mean of |N|, 0.80, for its median, 0.67, would be caught."""
    raw, controlled = repeated
    assert stats.ttest_1samp(controlled, 0).pvalue > 1e-4
    slope = np.polyfit(raw, raw - controlled, 1)[0]
    assert slope > 0.5
    assert stats.ttest_1samp(controlled + slope * np.log(np.sqrt(2 / np.pi) / MEDIAN), 0).pvalue < 1e-4


def test_intervals_cover_the_true_median_as_often_as_they_say(repeated: tuple[np.ndarray, np.ndarray]) -> None:
    """Medians of |N| by 61 networks, 120 times: 95% of the intervals do, a binomial count at the level 1e-4; half as wide they do not."""
    rng = np.random.default_rng(1)
    found = Medians(cells({side + 4: abs(rng.standard_normal(61)) for side in range(120)}, dict.fromkeys(range(4, 124), 1.0)), "l2", 0)
    table = found.table
    least = stats.binom.ppf(1e-4, len(table), 0.95)
    assert ((table["median_low"] <= 1) & (table["median_high"] >= 1)).sum() >= least
    half = (table["median"] - 1).abs() <= (table["median_high"] - table["median_low"]) / 4
    assert half.sum() < least
    # All of the distance's spread is that of |f|: the control takes all of it off.
    assert table["controlled"].to_numpy() == pytest.approx(1, abs=0.03)


def test_what_was_not_found_is_infinitely_far_and_counted() -> None:
    rows = cells({12: even(9)}, {12: 1.0})
    rows.loc[[0, 1], "distance"] = np.nan  # the two nearest
    table = Medians(rows, "l2", 0).table
    assert (table["failed"].item(), table["networks"].item(), table["inputs"].item()) == (2, 9, 1)
    assert table["median"].item() == pytest.approx(even(9)[6] / MEDIAN)  # two places farther


# ---------------------------------------------------------------------------------------------- exponents and ratios


@pytest.mark.parametrize(("norm", "mean"), [("l1", 1.0), ("l2", 0.5), ("linf", 0.0)])
@pytest.mark.parametrize("exponent", [0.5, -0.37])
def test_slopes_are_the_exponents_of_the_medians(norm: str, mean: float, exponent: float) -> None:
    """Relative distances are divided by a mean length that grows with this exponent."""
    sides = [12, 24, 60]
    sizes, medians = {side: even() for side in sides}, {side: 0.7 * (3 * side**2) ** exponent for side in sides}
    found = Medians(cells(sizes, medians, norm), norm, 0)
    assert found.slope("resnet")[0] == pytest.approx(exponent)
    assert found.slope("resnet", controlled=False)[0] == pytest.approx(exponent)
    assert found.slope("resnet", relative=True)[0] == pytest.approx(exponent - mean)
    assert np.isnan(found.slope("lenet")[0])
    if norm == "l1":
        beside = {side: median / np.log(3 * side**2) ** 0.5 for side, median in medians.items()}
        assert Medians(cells(sizes, beside, norm), norm, 0).slope("resnet", corrected=True)[0] == pytest.approx(exponent)
        assert Medians(cells(sizes, beside, norm), norm, 0).slope("resnet")[0] < exponent - 0.05
    else:
        assert found.slope("resnet", corrected=True) == found.slope("resnet")


def test_the_mean_lengths_of_images_are_those_of_uniform_pixels() -> None:
    images = np.random.default_rng(0).random((200, 3000))
    for norm, order in (("l1", 1), ("l2", 2), ("linf", np.inf)):
        mean = np.linalg.norm(images, order, axis=1).mean()
        assert summary.relative_to(norm, np.array([3000.0]))[0] == pytest.approx(mean, rel=2e-3)


def test_an_interval_of_a_slope_is_as_wide_as_slopes_spread() -> None:
    """40 times 4 sides of 31 networks: deviations within a third of each other, where those of single medians would be 3 times as large."""
    rng, sides = np.random.default_rng(2), [12, 20, 36, 60]
    slopes, reaches = [], []
    for index in range(40):
        found = Medians(cells({side: abs(rng.standard_normal(31)) for side in sides}, dict.fromkeys(sides, 1.0)), "l2", index)
        slope, (low, high) = found.slope("resnet", controlled=False)
        slopes.append(slope)
        reaches.append((high - low) / (2 * 1.96))
    assert np.mean(reaches) == pytest.approx(np.std(slopes), rel=0.35)


def test_the_published_file_has_the_authors_medians_whose_slopes_are_near_those_of_all_13_sides() -> None:
    """EXPERIMENTS: 0.424, 0.011, -0.537 with standard errors 0.015, 0.020, 0.020 over 13 sides; the file has 7 of them."""
    published = summary.read_published(PUBLISHED)
    table = summary.exponents(summary.medians(sampled(), 0), published)
    for norm, slope, error in (("l1", 0.424, 0.015), ("l2", 0.011, 0.020), ("linf", -0.537, 0.020)):
        told = published[published["norm"] == norm].sort_values("n")
        assert told["image_side"].tolist() == [12, 20, 28, 36, 44, 52, 60]
        assert (told["n"] == 3 * told["image_side"] ** 2).all()
        mine = table[(table["norm"] == norm) & (table["architecture"] == "resnet")]["published"].item()
        assert mine == pytest.approx(stats.linregress(np.log(told["n"]), np.log(told["median"])).slope)
        assert abs(mine - slope) < 2 * error * np.sqrt(13 / 7)
    assert table.loc[table["architecture"] != "resnet", "published"].isna().all()


def published_medians(factors: dict[int, float], spread: float) -> pd.DataFrame:
    """Medians that ours are these factors of, with 45th and 55th percentiles this far apart in the logarithm."""
    rows = [{"image_side": side, "n": 3 * side**2, "norm": "l2", "median": 1 / factor} for side, factor in factors.items()]
    frame = pd.DataFrame(rows)
    return frame.assign(p45=frame["median"] * np.exp(-spread / 2), p55=frame["median"] * np.exp(spread / 2))


def test_the_ratio_to_the_published_medians_is_a_geometric_mean_and_its_interval_has_the_noise_of_both() -> None:
    found = Medians(cells({side: even() for side in (12, 20, 24)}, dict.fromkeys((12, 20, 24), 1.0)), "l2", 0)
    # Ours are exact here, up to what the resampling of evenly spread sizes leaves of them.
    ratio, (low, high) = found.ratio("resnet", published_medians({12: 1.1, 20: 1.3, 28: 9.0}, 0.2))
    assert ratio == pytest.approx(np.sqrt(1.1 * 1.3))
    theirs = 0.5 * 0.2 / 0.1 / np.sqrt(summary.PUBLISHED_SAMPLES) / np.sqrt(2)
    assert np.log(high / low) / (2 * 1.96) == pytest.approx(theirs, rel=0.02)
    noisy, (low, high) = found.ratio("resnet", published_medians({12: 1.1, 20: 1.3}, 0.2), controlled=False)
    ours = np.log(found.raw[1:, :2]).mean(axis=1).std(ddof=1)
    assert np.log(high / low) / (2 * 1.96) == pytest.approx(np.hypot(ours, theirs), rel=0.01)
    assert ours > theirs
    assert np.isnan(found.ratio("resnet", published_medians({28: 1.0}, 0.2))[0])
    table = found.beside(published_medians({12: 1.1, 20: 1.3}, 0.2))
    deviation = np.log([1.1, 1.3]) / (theirs * np.sqrt(2))
    assert table["deviations"].to_numpy() == pytest.approx([*deviation, np.nan], rel=0.05, nan_ok=True)
    assert noisy == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize(("norm", "constant", "start"), [("l1", 0.27, 80.0), ("linf", 0.8, -150.0), ("l2", 0.56, 0.0)])
def test_the_authors_curve_is_found_again(norm: str, constant: float, start: float) -> None:
    n = 3 * np.arange(12.0, 61, 4) ** 2
    table = pd.DataFrame({"norm": norm, "input_dim": n, "median": constant * (n - start) ** EXPONENTS[norm]})
    assert summary.fitted(table, norm) == pytest.approx((constant, start), rel=1e-3)


def test_the_law_stands_beside_what_was_found_quantile_by_quantile() -> None:
    rows, drawn = sampled(), law()
    table = summary.law(rows, drawn, 0)
    assert len(table) == 3 * 2 * len(summary.PERCENTS)
    assert set(table["side"]) == {12, 60}
    told = table["linear"] / table["found"]
    assert told.to_numpy() == pytest.approx(0.95, rel=0.05)  # as the records are made, but for their noise
    middle = table[table["percent"].between(20, 90)]
    assert (middle["law"] / middle["linear"]).to_numpy() == pytest.approx(1, abs=0.12)
    assert ((table["found_low"] <= table["found"]) & (table["found"] <= table["found_high"])).all()


# ---------------------------------------------------------------------------------------------- rays, and the second search


def test_ray_quantiles_and_their_exponent() -> None:
    """Half of the rays meet the boundary at about half of ||x||."""
    cells, fits = summary.ray_quantiles(followed(), 0)
    assert (cells["switched"] == 0.5).all()
    assert (cells["quantile"] / np.sqrt(cells["input_dim"] / 3)).to_numpy() == pytest.approx(0.5, rel=0.1)
    slope, (low, high) = fits["resnet"]
    assert slope == pytest.approx(0.5, abs=0.03)
    assert low <= slope <= high
    assert np.isnan(fits["periodic"][0])  # one side has no slope


def test_a_ray_quantile_beyond_the_cap_is_not_known_and_neither_is_the_exponent() -> None:
    rows = followed()
    few = (rows["side"] == 32) & (rows["network"] >= 4)  # 2 of 100 are left that meet the boundary: fewer than 5%
    rows.loc[few, "length"] = np.nan
    cells, fits = summary.ray_quantiles(rows, 0)
    assert np.isinf(cells.set_index(["architecture", "side"]).loc[("resnet", 32), "quantile"])
    assert np.isfinite(cells.set_index(["architecture", "side"]).loc[("resnet", 20), "quantile"])
    assert np.isnan(fits["resnet"][0])


def test_the_second_search_is_counted_where_it_ends_nearer_by_more_than_3_percent() -> None:
    rows = searched(0.98)
    first = rows["norm"] == "l1"
    rows.loc[first & (rows["network"] < 7), "second"] = 0.9 * rows["distance"]
    rows.loc[first & (rows["network"] == 0), "second"] = 0.8 * rows["distance"]
    rows.loc[first & (rows["network"] == 50), "second"] = np.nan  # it found nothing
    table = summary.second_search(rows).set_index("norm")
    assert table["nearer"].to_dict() == {"l1": 7, "l2": 0, "linf": 0}
    assert table.loc["l1", "smallest_ratio"] == pytest.approx(0.8)
    assert table["median_ratio"].to_numpy() == pytest.approx(0.98)
    assert (table["samples"] == 100).all()


# ---------------------------------------------------------------------------------------------- trained networks


def those(rows: pd.DataFrame, **where: str) -> pd.DataFrame:
    return rows[(rows[[*where]] == [*where.values()]).all(axis=1)]


def told(table: pd.DataFrame, **where: str) -> pd.Series:
    (_, row), *others = those(table, **where).iterrows()
    assert not others
    return row


def test_uniform_distances_lie_on_the_line_and_others_do_not() -> None:
    where = {"dataset": "mnist-odd-even", "state": "trained", "kind": "random"}
    row = told(summary.lines(those(attacked(), **where), 0), **where)
    assert (row["start"], row["middle"]) == pytest.approx((0, 0), abs=1e-12)
    assert row["line"] == pytest.approx(1 / (10 * 0.5))  # the median of trained ones is half of that before
    assert row["median"] == pytest.approx(2.5, rel=0.01)
    assert row["start_low"] <= row["start_high"] < 0.02
    assert (row["networks"], row["images"], row["failed"]) == (30, 21, 0)
    # The share within r goes with r^2. By hand: the line fitted at shares s up to 1/4, r = sqrt(s), has the slope 0.4.
    row = told(summary.lines(those(attacked(power=2.0), **where), 0), **where)
    steps = np.sqrt((np.arange(630) + 0.5) / 630)
    shares, below = steps**2, steps**2 <= 0.25
    slope = (steps[below] @ shares[below]) / (steps[below] @ steps[below])
    assert slope == pytest.approx(0.4, rel=0.01)
    assert row["line"] * 5 == pytest.approx(slope)
    assert row["middle"] == pytest.approx(0.6 - 0.4 * np.sqrt(0.6), abs=0.01)
    assert row["start"] == pytest.approx(0.25 - 0.4 * 0.5, abs=0.01)


def test_images_whose_class_nothing_changes_are_off_the_line_and_counted() -> None:
    rows = attacked()
    far = (rows["dataset"] == "cifar10-groups") & (rows["input"] >= 10) & (rows["state"] == "trained") & (rows["kind"] == "random")
    rows.loc[far, "distance"] = np.nan
    where = {"dataset": "cifar10-groups", "state": "trained", "kind": "random"}
    row = told(summary.lines(those(rows, **where), 0), **where)
    assert row["failed"] == far.sum()
    assert (row["start"], row["middle"]) == pytest.approx((0, np.inf), abs=1e-12)


def test_ratios_are_geometric_means_over_networks() -> None:
    rows = attacked()
    before = rows["network"].eq(0) & rows["state"].eq("random") & rows["kind"].eq("random")
    rows.loc[before, "distance"] *= 2.0
    table = summary.ratios(rows)
    assert len(table) == 6
    row = told(table, dataset="mnist-odd-even", kind="random")
    logs = np.log([0.25] + [0.5] * 29)
    reach = stats.t.ppf(0.975, 29) * logs.std(ddof=1) / np.sqrt(30)
    expected = np.exp([logs.mean(), logs.mean() - reach, logs.mean() + reach])
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == pytest.approx(tuple(expected))
    assert told(table, dataset="cifar10-groups", kind="test")["ratio"] == pytest.approx(0.3, rel=1e-9)
    assert set(rows["data"]) == set(DATA.values())
