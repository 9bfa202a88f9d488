"""Cell summaries on made-up records whose answers are known by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from onestep.singlestep import summary
from onestep.singlestep.summary import ENOUGH, log_slopes, summarise, threshold


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


def test_a_network_with_one_input_has_no_spread() -> None:
    assert summarise(made_up(inputs=1), 0).table["switched_sd"].isna().all()


def test_cells_with_too_few_networks_are_left_out_unless_a_depth_has_no_others() -> None:
    def cell(depth: int, width: int, networks: int) -> pd.DataFrame:
        return pd.DataFrame({"depth": depth, "width": width, "input_dim": 10, "network": np.arange(networks).repeat(2)})

    rows = pd.concat([cell(1, 10, ENOUGH), cell(1, 100, ENOUGH - 1), cell(2, 10, 30), cell(2, 100, 5)])
    kept = summary.well_sampled(rows)
    assert set(zip(kept["depth"], kept["width"], strict=True)) == {(1, 10), (2, 10)}
    assert len(kept) == 2 * (ENOUGH + 30)


def test_what_bounds_ask_of_activations() -> None:
    """Against integrals by quadrature of formulas written here, and the slope of GELU by its own maximum."""

    def mean(function: object) -> float:
        return float(integrate.quad(lambda x: function(x) ** 2 * stats.norm.pdf(x), -12, 12, points=[0.0])[0])  # type: ignore[operator]

    table = summary.activation_table(0.3)
    gelu_slope = lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x)  # noqa: E731
    largest = max(gelu_slope(x) for x in np.linspace(1, 2, 10_001))
    assert table["lipschitz"]["gelu"] == pytest.approx(largest)
    expected = {
        "relu": (lambda x: max(x, 0), lambda x: float(x > 0), 1.0),
        "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2, 1.0),
        "softplus": (lambda x: math.log1p(math.exp(x)) - math.log(2), lambda x: 1 / (1 + math.exp(-x)), 1.0),
        "gelu": (lambda x: x * stats.norm.cdf(x), gelu_slope, largest),
    }
    for name, (value, slope, steepest) in expected.items():
        row = table.loc[name]
        assert row["value"] == pytest.approx(math.sqrt(mean(value)), rel=1e-6)
        assert row["slope_squared"] == pytest.approx(mean(slope) / steepest**2, rel=1e-6)
        assert row["step"] == pytest.approx(math.sqrt(2 / math.pi * mean(value)) / mean(slope), rel=1e-6)
    assert math.isnan(table["proof_width"]["relu"])


def test_variants_beside_their_reference() -> None:
    """Steps 1.5 times as long in the cells that both have; a cell of one alone is left out."""
    reference = summarise(made_up(), 0)
    longer = made_up().query("input_dim < 1000").drop(columns="hidden_scale").assign(variant="bias")
    longer["step"] *= 1.5
    compared = summary.compare(summarise(longer, 0, summary.VARIANT_KEY), reference, summary.activation_table(0.3))
    assert len(compared.table) == 4
    assert np.allclose(compared.table["step_ratio"], 1.5)
    assert np.allclose(compared.table["step_ratio_limit"], np.sqrt(1 + 1 / compared.table["input_dim"]))
    assert compared.step_ratio.shape[1] == 4


def test_weighted_distances_are_scipys_for_repeated_samples() -> None:
    """Ties and infinite values included: integer weights are so many copies of a network."""
    rng = np.random.default_rng(6)
    values = np.round(rng.exponential(size=(12, 2)), 1)
    values[3, 1] = np.inf
    others = np.sort(np.append(np.round(rng.exponential(size=60), 1), np.inf))
    weights = np.stack([np.ones(12), rng.integers(0, 4, 12)]).astype(float)
    found = summary.weighted_distances(weights, values, others)
    for row, counts in enumerate(weights):
        copies = np.repeat(values, counts.astype(int), axis=0).ravel()
        assert found[row] == pytest.approx(stats.ks_2samp(copies, others, method="asymp").statistic)


def lengths(width: int, dim: int, shift: float, networks: int) -> pd.DataFrame:
    """A sample of a uniform law on (shift, 1 + shift): at a distance `shift` from that on (0, 1)."""
    values = (np.arange(networks) + 0.5) / networks + shift
    columns = {"depth": 1, "width": width, "input_dim": dim, "network": np.arange(networks), "input": 0, "status": "switched"}
    return pd.DataFrame(columns | {"perturbation_norm": values})


def test_distances_to_infinite_width_and_how_fast_they_fall() -> None:
    """Laws at a distance of 2 / k, twice that in the other dimension: the slope is -1. The smallest ones are below the floor, 0.07."""
    limit = pd.concat([lengths(1, dim, 0, 4000).drop(columns=["depth", "width"]) for dim in (10, 100)])
    rows = pd.concat([lengths(width, dim, 2 * (1 + (dim == 100)) / width, 400) for width in (10, 20, 40, 1000) for dim in (10, 100)])
    rows.loc[(rows["width"] == 1000) & (rows["network"] < 4), ["perturbation_norm", "status"]] = [np.inf, "unswitched"]
    table = summary.infinite_width_cells(rows, limit)
    narrow = table[table["width"] < 1000]
    assert np.allclose(narrow["distance"], 2 * (1 + (narrow["input_dim"] == 100)) / narrow["width"], atol=0.004)
    assert (table.loc[table["width"] == 1000, "distance"] < table.loc[table["width"] == 1000, "floor"]).all()
    assert np.allclose(table.loc[table["width"] == 1000, "switched"], 0.99)
    assert (table["limit_switched"] == 1).all()
    # Two samples of one law: below the floor in 95% of cases, so that both samples' errors together are larger.
    assert (table["floor"] < table["error"]).all()
    fit = summary.convergence(table, rows, limit, 0).iloc[0]
    assert fit["slope"] == pytest.approx(-1, abs=0.1)
    assert fit["low"] <= fit["slope"] <= fit["high"]
    assert (fit["cells"], fit["narrowest"], fit["widest"]) == (5, 10, 40)
    assert summary.convergence(table[table["width"] == 10], rows, limit, 0).empty


def test_the_bracket_by_hand() -> None:
    """Three networks with all three lengths, one without a perturbation, one dead."""
    rows = pd.DataFrame(
        {
            "width": 10,
            "input_dim": 5,
            "network": range(5),
            "lower_bound": [0.5, 0.8, 0.3, 0.2, np.nan],
            "best_norm": [1.0, 0.9, 0.9, np.nan, np.nan],
            "step_norm": [1.0, 1.0, 1.2, np.nan, np.nan],
            "gradients": [7, 40, 50, 50, 0],
            "status": ["ok", "ok", "ok", "failed", "dead"],
        }
    )
    row = summary.bracket_cells(rows).iloc[0]
    assert (row["networks"], row["ok"], row["violations"], row["step_is_best"], row["gradients"]) == (5, 3, 0, 1, 40)
    assert row["lower_step"] == pytest.approx(0.5)
    assert row["best_step"] == pytest.approx(0.9)
    assert row["lower_best"] == pytest.approx(0.5)
    assert summary.bracket_cells(rows.assign(lower_bound=0.95)).iloc[0]["violations"] == 2
