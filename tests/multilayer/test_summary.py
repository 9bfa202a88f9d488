"""Cell summaries on made-up records whose answers are known by hand."""

import numpy as np
import pandas as pd
import pytest

from onestep.multilayer import summary
from onestep.statistics.intervals import exact_share


def flips(distances: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"network": range(len(distances)), "input": 0, "opposite_norm": distances, "perturbation_norm": distances})
    return frame.assign(
        profile="equal", depth=1, width=9, bottleneck=0, input_dim=9, value=1.0, gradient_norm=1.0,
        status=np.where(np.isfinite(distances), "switched", "unswitched"),
        opposite=np.where(np.isfinite(distances), "reached", "unreached"),
    )  # fmt: skip


def test_the_constant_is_the_quantile_of_the_lengths_over_the_theorems_root() -> None:
    frame = flips([*np.arange(1.0, 10), np.nan])
    table = summary.constants_table(frame, [0.5], 3.0)
    assert table["constant"].item() == pytest.approx(5 / np.sqrt(np.log(2)))
    # c3 = 3 reaches 3 sqrt(log 2) = 2.5: two networks.
    assert table["within"].item() == 0.2
    assert (table["within_low"].item(), table["within_high"].item()) == pytest.approx(exact_share(2, 10))
    cells = summary.cells(frame)
    assert cells["reached"].item() == 0.9
    assert cells["opposite"].item() == 5


def test_pairs_of_values() -> None:
    ratios = summary.pair_ratios(np.array([[1.0, 2.0, -1.0]]))
    assert sorted(ratios[0]) == [0.5, 1, 1.5, 2, 2, 3]
    assert np.isinf(summary.pair_ratios(np.array([[0.0, 2.0]]))).any()


@pytest.mark.parametrize(
    ("shares", "depth"),
    [
        ([1.0, 0.9, 0.1], 10**1.5),  # halfway from 0.9 to 0.1, in log depth
        ([0.4, 0.3, 0.0], 1.0),  # never above: the grid's start
        ([1.0, 0.9, 0.8], 100.0),  # never below: its end
        ([1.0, 0.2, 0.6], 100.0),  # for good, not for once
    ],
)
def test_the_depth_beyond_which_shares_stay_below_one_half(shares: list[float], depth: float) -> None:
    assert summary.vanishing_depth(np.array([shares]), np.array([1.0, 10, 100]))[0] == pytest.approx(depth)


def test_means_leave_out_what_is_not_defined_and_resample_networks() -> None:
    means = summary.mean_replicates([1.0, 3.0, np.nan], 0, "test")
    assert means[0] == 2
    assert set(np.round(means[np.isfinite(means)], 6)) <= {1, 3, 2, round(5 / 3, 6), round(7 / 3, 6), 1.5, 2.5}
