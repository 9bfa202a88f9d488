"""Cell summaries on made-up records whose answers are known by hand."""

import numpy as np
import pandas as pd
import pytest

from onestep.singlestep.summary import log_slopes, summarise, threshold, weighted_medians


def made_up(networks: int = 30, inputs: int = 3) -> pd.DataFrame:
    """Step = 2 d^-0.1 in every sample of every cell, gradient norm = k^0.2, every fourth network unswitched at its first input."""
    rows = []
    for width in (10, 100):
        for dim in (10, 100, 1000):
            for network in range(networks):
                for index in range(inputs):
                    lost = network % 4 == 0 and index == 0
                    step = np.nan if lost else 2 * dim**-0.1
                    rows.append((1, width, dim, "he", network, index, 0.1, width**0.2, step, step, "unswitched" if lost else "switched"))
    names = "depth width input_dim hidden_scale network input value gradient_norm step perturbation_norm status"
    return pd.DataFrame(rows, columns=names.split())


def test_shares_means_and_sizes() -> None:
    table = summarise(made_up(), 0).table
    assert len(table) == 6
    assert (table["samples"] == 90).all()
    assert np.allclose(table["switched"], 1 - 8 / 90)
    assert np.allclose(table["step"], 2 * table["input_dim"] ** -0.1)
    assert np.allclose(table["gradient"], table["width"] ** 0.2)
    # Band: 8 networks of 30 have share 2/3, the others 1.
    assert np.allclose(table["switched_sd"], np.std([2 / 3] * 8 + [1] * 22))


def test_joint_slopes_of_the_cells() -> None:
    cells = summarise(made_up(), 0)
    steps, gradients = log_slopes(cells, cells.step), log_slopes(cells, cells.gradient)
    assert np.allclose(steps["input_dim"], -0.1)
    assert np.allclose(steps["width"], 0, atol=1e-12)
    assert np.allclose(gradients["width"], 0.2)


def test_an_unswitched_sample_counts_as_beyond_every_other_in_the_median() -> None:
    values = np.array([[1.0, np.inf], [2.0, np.inf], [3.0, np.inf]])
    assert weighted_medians(np.ones((1, 3)), values)[0] == 3.0
    assert weighted_medians(np.array([[2.0, 1.0, 0.0]]), np.array([[1.0], [2.0], [3.0]]))[0] == 1.0


@pytest.mark.parametrize(
    ("shares", "reached"),
    [
        ([0.5, 0.98, 1.0], 10 ** (1.5)),  # halfway between the second and third point, in log d
        ([0.99, 1.0, 1.0], 1.0),  # reached at once: the grid's start
        ([0.5, 0.6, 0.7], 100.0),  # never reached: the grid's end
        ([1.0, 0.98, 1.0], 10 ** (1.5)),  # for good, not for once
    ],
)
def test_the_threshold_is_where_the_share_stays_at_99_percent(shares: list[float], reached: float) -> None:
    assert threshold(np.array([shares]), np.array([1.0, 10, 100]))[0] == pytest.approx(reached)


def test_intervals_widen_when_inputs_of_a_network_agree() -> None:
    """Same marginal scatter, once between inputs and once between networks: resampling networks must see the difference."""
    rng = np.random.default_rng(0)
    frame = made_up(networks=50, inputs=10).query("width == 10 and input_dim == 10").assign(status="switched", step=1.0)
    inputs = frame.assign(gradient_norm=1 + 0.1 * rng.standard_normal(len(frame)))
    networks = frame.assign(gradient_norm=1 + 0.1 * np.repeat(rng.standard_normal(50), 10))
    width = [float((row["gradient_high"] - row["gradient_low"]).iloc[0]) for row in (summarise(f, 0).table for f in (inputs, networks))]
    assert width[1] > 2 * width[0]
