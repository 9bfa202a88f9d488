"""The experiments' records: their columns, what they mean, and that they do not depend on how the work is split."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sphere import random_inputs

from onestep import records
from onestep.errors import Mistake
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.provenance import read_certificate
from onestep.seeds import stream
from onestep.singlestep import experiment

from .conftest import COEFFICIENTS, DIMS, NETWORKS, REACH, Records


def dense(network: int, depth: int, width: int, dim: int) -> RandomNetwork:
    """A network of the records, once more from its seed."""
    name = ("singlestep", depth, width, dim, "network", network)
    return RandomNetwork.sample([stream(1, *name)], Shape(dim, (width,) * depth), kind="dense")


def test_sample_has_the_columns_that_others_rely_on(recorded: Records) -> None:
    frame = records.read(recorded["sample"][:1])
    expected = "depth width input_dim hidden_scale network input value gradient_norm step perturbation_norm status"
    assert list(frame.columns) == expected.split()
    assert set(frame["hidden_scale"]) == {"he", "unit"}
    assert set(frame["status"]) <= {"switched", "unswitched", "dead"}
    assert len(frame) == len(DIMS) * NETWORKS * 2 * 2
    assert frame["step"].notna().equals(frame["status"] == "switched")
    assert read_certificate(recorded["sample"][0])["parameters"]["seed"] == 1


def test_a_network_rebuilt_from_its_seed_changes_sign_at_the_recorded_step(recorded: Records) -> None:
    """Depth 2, width 60, d = 60: the value just before and just behind x + eta grad f(x), evaluated from scratch."""
    frame = records.read([file for file in recorded["sample"] if file.stem == "sample-2-60"])
    rows = frame[(frame["hidden_scale"] == "he") & (frame["input_dim"] == 60) & (frame["network"] < 5) & (frame["status"] == "switched")]
    assert len(rows) > 5
    for row in rows.itertuples():
        net = dense(row.network, 2, 60, 60)
        x = random_inputs([stream(1, "singlestep", 2, 60, 60, "inputs", row.network)], 2, 60)[:, row.input : row.input + 1]
        value, gradient = net.value_and_gradient(x)
        assert value.item() == pytest.approx(row.value, rel=1e-12)
        assert gradient.norm().item() == pytest.approx(row.gradient_norm, rel=1e-12)
        before, behind = (
            net.value_and_gradient(x - np.sign(row.value) * row.step * part * gradient)[0].item() for part in (1 - 1e-6, 1 + 1e-6)
        )
        assert before * row.value > 0 > behind * row.value
        assert row.perturbation_norm == pytest.approx(row.step * row.gradient_norm, rel=1e-12)


def test_both_hidden_scales_are_one_network_rescaled(recorded: Records) -> None:
    frame = records.read([file for file in recorded["sample"] if file.stem.startswith("sample-2-")])
    wide = frame.set_index(["width", "input_dim", "network", "input", "hidden_scale"]).unstack("hidden_scale")
    factor = 2**-0.5
    for column, power in (("value", 1), ("gradient_norm", 1), ("step", -1), ("perturbation_norm", 0)):
        both = wide[column].dropna()
        assert np.allclose(both["unit"], both["he"] * factor**power, rtol=1e-12)
    # What the larger unit step takes beyond the cap is unswitched there, and nothing else differs.
    lost = (wide["status"]["he"] == "switched") & (wide["status"]["unit"] == "unswitched")
    assert (wide["step"]["he"][lost] / factor >= 20).all()
    assert (wide["status"]["he"] == wide["status"]["unit"])[~lost].all()


@pytest.mark.parametrize("depth", [1, 3])
def test_records_are_the_same_bytes_however_the_networks_are_split(tmp_path: Path, depth: int) -> None:
    def run(name: str, first: int, networks: int, dims: list[int]) -> pd.DataFrame:
        experiment.sample(depth, 40, dims, first, networks, 2, 5, 20.0, "cpu", tmp_path / name)
        return records.read([tmp_path / name])

    key = ["input_dim", "network", "input", "hidden_scale"]
    whole = run("whole.parquet", 0, 150, [10, 60]).sort_values(key, ignore_index=True)
    pieces = [run(f"{first}.parquet", first, networks, [10, 60]) for first, networks in ((0, 7), (7, 60), (67, 83))]
    together = pd.concat(pieces).sort_values(key, ignore_index=True)
    alone = run("alone.parquet", 0, 150, [60]).sort_values(key, ignore_index=True)
    for column in whole.columns:
        assert whole[column].to_numpy().tobytes() == together[column].to_numpy().tobytes() or whole[column].equals(together[column])
        assert whole.loc[whole["input_dim"] == 60, column].reset_index(drop=True).equals(alone[column])


@pytest.mark.parametrize("name", ["sample", "universal", "fixed", "variants", "hessian"])
def test_on_a_gpu_that_holds_few_networks_the_records_are_the_same_to_rounding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 64 networks, of which networks 60 to 139 are wanted; the GPU is full at 11."""
    run = {
        "sample": lambda out: experiment.sample(2, 30, [10, 20], 60, 80, 2, 5, 20.0, "cpu", out),
        "universal": lambda out: experiment.universal(30, [10, 20], 60, 80, 2, REACH, 5, 20.0, "cpu", out),
        "fixed": lambda out: experiment.fixed(30, [10, 20], 60, 80, 2, COEFFICIENTS, 5, "cpu", out),
        "variants": lambda out: experiment.variants("gelu", 30, [10, 20], 60, 80, 2, 5, 20.0, "cpu", out),
        "hessian": lambda out: experiment.hessian("gelu", [2], [10, 20], 60, 80, 5, "cpu", out),
    }[name]
    run(tmp_path / "whole.parquet")
    forward, sizes = RandomNetwork.forward, []

    def full(self: RandomNetwork, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        if len(x) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(RandomNetwork, "forward", full)
    run(tmp_path / "halves.parquet")
    assert max(sizes) == 8
    whole, halves = (records.read([tmp_path / f"{part}.parquet"]) for part in ("whole", "halves"))
    pd.testing.assert_frame_equal(whole, halves, rtol=1e-9)
    rays = [read_certificate(tmp_path / f"{part}.parquet").get("rays") for part in ("whole", "halves")]
    assert rays[0] == rays[1]


def test_the_first_inputs_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    for name, inputs in (("two", 2), ("five", 5)):
        experiment.sample(1, 30, [20], 0, 10, inputs, 5, 20.0, "cpu", tmp_path / f"{name}.parquet")
    two, five = (records.read([tmp_path / f"{name}.parquet"]) for name in ("two", "five"))
    common = five[five["input"] < 2].reset_index(drop=True)
    assert np.allclose(two["value"], common["value"], rtol=1e-12)


def test_the_experiments_look_at_the_same_networks(recorded: Records) -> None:
    key = ["width", "input_dim", "network", "input"]
    sample = records.read([file for file in recorded["sample"] if "sample-1-" in file.stem])
    sample = sample[sample["hidden_scale"] == "he"].set_index(key)["value"]
    universal = records.read(recorded["universal"]).set_index(key)["value"]
    fixed = records.read(recorded["fixed"]).query("activation == 'relu'")
    fixed = fixed[fixed["coefficient"] == 1.0].set_index(key)["value"]
    assert np.allclose(universal, sample.loc[universal.index], rtol=1e-12)
    assert np.allclose(fixed, sample.loc[fixed.index], rtol=1e-12)


def test_the_universal_direction_is_the_signed_sum_of_the_weights(recorded: Records) -> None:
    row = records.read(recorded["universal"]).query("width == 60 and input_dim == 60 and network == 3 and input == 0").iloc[0]
    net = dense(3, 1, 60, 60)
    direction = (net.output[0, :, None] * net.layers[0].weights[0]).sum(0)
    assert row["universal_norm"] == pytest.approx(direction.norm().item(), rel=1e-12)
    x = random_inputs([stream(1, "singlestep", 1, 60, 60, "inputs", 3)], 1, 60)
    if row["status"] == "switched":
        behind = net.value_and_gradient(x - np.sign(row["value"]) * row["step"] * (1 + 1e-6) * direction)[0].item()
        assert behind * row["value"] < 0


def test_the_fixed_step_flips_what_its_first_root_says(recorded: Records) -> None:
    """While the ray crosses once, the step c / ||grad f||^2 flips exactly the samples whose smallest step is shorter."""
    key = ["width", "input_dim", "network"]
    first = records.read([file for file in recorded["sample"] if "sample-1-" in file.stem]).query("hidden_scale == 'he' and input == 0")
    fixed = records.read(recorded["fixed"]).query("activation == 'relu' and status != 'dead'").join(first.set_index(key)["step"], on=key)
    assert set(fixed["coefficient"]) == set(COEFFICIENTS)
    small = fixed[fixed["coefficient"] <= 2]
    shorter = small["step"].fillna(np.inf) < small["coefficient"] / small["gradient_norm"] ** 2
    flipped = small["status"] == "switched"
    assert not (flipped & ~shorter).any()  # a flip needs a root before it
    assert (flipped == shorter).mean() > 0.98  # a second crossing is rare


def test_a_dead_network_is_dead_in_every_experiment(tmp_path: Path) -> None:
    """k = 2: about a quarter of the networks are 0 at x, though the universal direction would wake some of them up again."""
    experiment.sample(1, 2, [20], 0, 200, 1, 3, 20.0, "cpu", tmp_path / "sample.parquet")
    experiment.universal(2, [20], 0, 200, 1, 4.0, 3, 20.0, "cpu", tmp_path / "universal.parquet")
    experiment.fixed(2, [20], 0, 200, 1, [1.0], 3, "cpu", tmp_path / "fixed.parquet")
    sample, universal, fixed = (records.read([tmp_path / f"{name}.parquet"]) for name in ("sample", "universal", "fixed"))
    dead = sample.query("hidden_scale == 'he'")["value"].to_numpy() == 0
    assert 20 < dead.sum() < 90
    for frame in (sample.query("hidden_scale == 'he'"), universal, fixed):
        assert ((frame["status"] == "dead").to_numpy() == dead).all()
    assert universal["step"][dead].isna().all()


def test_the_fixed_perturbation_is_the_same_for_all_inputs_of_a_network(recorded: Records) -> None:
    rows = records.read(recorded["universal"]).query("width == 60 and input_dim == 60 and network == 3")
    net = dense(3, 1, 60, 60)
    direction = (net.output[0, :, None] * net.layers[0].weights[0]).sum(0)
    perturbation = REACH * direction / direction.norm()
    x = random_inputs([stream(1, "singlestep", 1, 60, 60, "inputs", 3)], 2, 60)
    moved = x - torch.tensor(np.sign(rows["value"].to_numpy()))[None, :, None] * perturbation
    assert np.allclose(net.value_and_gradient(moved)[0][0], rows["fixed_value"], rtol=1e-10)


@pytest.mark.parametrize(("depth", "width", "dim"), [(2, 3000, 30), (1, 300, 5000), (3, 10_000, 40)])
def test_wide_networks_are_drawn_without_their_matrices_and_split_the_same(tmp_path: Path, depth: int, width: int, dim: int) -> None:
    for name, first, networks in (("whole", 0, 3), ("one", 0, 1), ("two", 1, 2)):
        experiment.sample(depth, width, [dim], first, networks, 2, 0, 20.0, "cpu", tmp_path / f"{name}.parquet")
    precision = "float32" if width >= 10_000 else "float64"
    held = {"widths": [width] * depth, "input_dim": dim, "how": f"matrix-free, {precision}"}
    assert read_certificate(tmp_path / "whole.parquet")["held"] == [held]
    whole, one, two = (records.read([tmp_path / f"{name}.parquet"]) for name in ("whole", "one", "two"))
    together = pd.concat([one, two]).sort_values(["network", "hidden_scale", "input"], ignore_index=True)
    pd.testing.assert_frame_equal(whole.sort_values(["network", "hidden_scale", "input"], ignore_index=True), together, check_exact=True)
    assert whole["network"].nunique() == 3


def test_narrow_networks_are_dense(recorded: Records) -> None:
    assert {cell["how"] for cell in read_certificate(recorded["sample"][0])["held"]} == {"dense, float64"}


@pytest.mark.parametrize("depth", [1, 3])
def test_dense_and_matrix_free_networks_give_the_same_shares_and_medians(tmp_path: Path, depth: int) -> None:
    """1,000 networks of either kind: means within four standard errors of their difference."""
    frames = []
    for kind in ("dense", "matrix-free"):
        experiment.sample(depth, 20, [30], 0, 1000, 1, 3, 20.0, "cpu", tmp_path / f"{kind}.parquet", kind)
        frame = records.read([tmp_path / f"{kind}.parquet"]).query("hidden_scale == 'he'")
        frames.append(
            pd.DataFrame({"switched": frame["status"] == "switched", "norm": frame["gradient_norm"], "size": frame["value"].abs()})
        )
    one, other = frames
    error = np.sqrt((one.astype(float).var() + other.astype(float).var()) / 1000)
    assert ((one.mean() - other.mean()).abs() <= 4 * error).all()


@pytest.mark.parametrize("dim", [1, 5])
@pytest.mark.parametrize(("depth", "width"), [(0, 7), (1, 1), (3, 1), (6, 2)])
def test_the_smallest_networks_have_documented_outcomes(tmp_path: Path, depth: int, width: int, dim: int) -> None:
    """Linear functions switch at |f| / ||grad f||^2 where that is below the cap; networks a neuron wide keep their sign or die."""
    experiment.sample(depth, width, [dim], 0, 100, 2, 3, 20.0, "cpu", tmp_path / "small.parquet")
    frame = records.read([tmp_path / "small.parquet"]).query("hidden_scale == 'he'")
    assert len(frame) == 200
    assert ((frame["value"] == 0) == (frame["status"] == "dead")).all()
    if depth == 0:
        expected = frame["value"].abs() / frame["gradient_norm"] ** 2
        assert np.allclose(frame["step"].dropna(), expected[expected < 20], rtol=1e-12)
        assert ((frame["status"] == "switched") == (expected < 20)).all()
    elif width == 1:
        assert (frame["status"] != "switched").all()  # one neuron a layer: f keeps its sign or dies
    else:
        assert "dead" in set(frame["status"])


@pytest.mark.parametrize("variant", experiment.VARIANTS)
def test_a_variant_changes_sign_at_its_recorded_step(tmp_path: Path, variant: str) -> None:
    experiment.variants(variant, 40, [30], 0, 20, 2, 1, 20.0, "cpu", tmp_path / "v.parquet")
    frame = records.read([tmp_path / "v.parquet"])
    shape = Shape(30, (40,), **experiment.VARIANTS[variant])
    switched = 0
    for row in frame.itertuples():
        net = RandomNetwork.sample([stream(1, "singlestep", 1, 40, 30, "network", row.network)], shape, kind="dense")
        x = net.inputs([stream(1, "singlestep", 1, 40, 30, "inputs", row.network)], 2)[:, row.input : row.input + 1]
        value, gradient = net.value_and_gradient(x)
        assert value.item() == pytest.approx(row.value, rel=1e-12)
        if row.status == "switched":
            switched += 1
            before, behind = (net.forward(x - np.sign(row.value) * row.step * part * gradient)[1].item() for part in (1 - 1e-6, 1 + 1e-6))
            assert before * row.value > 0 > behind * row.value
    assert switched > 30


@pytest.mark.parametrize("activation", ["tanh", "softplus", "gelu"])
def test_the_hessian_norm_is_that_of_automatic_differentiation(tmp_path: Path, activation: str) -> None:
    experiment.hessian(activation, [1, 3], [4], 0, 3, 1, "cpu", tmp_path / "h.parquet")
    functions = {"tanh": torch.tanh, "softplus": torch.nn.functional.softplus, "gelu": torch.nn.functional.gelu}
    frame = records.read([tmp_path / "h.parquet"])
    assert sorted(frame["width"].unique()) == [4, 12]
    for row in frame.itertuples():
        name = ("singlestep", 1, row.width, 4)
        net = RandomNetwork.sample([stream(1, *name, "network", row.network)], Shape(4, (row.width,), activation), kind="dense")
        (x,) = random_inputs([stream(1, *name, "inputs", row.network)], 1, 4)[0]
        W, a = net.layers[0].weights[0], net.output[0]
        hessian = torch.autograd.functional.hessian(lambda z, W=W, a=a: a @ functions[activation](W @ z), x)
        assert row.hessian_norm == pytest.approx(torch.linalg.matrix_norm(hessian, 2).item(), rel=1e-10)


def test_the_bracket_holds_the_single_step_the_best_perturbation_and_the_bound(tmp_path: Path) -> None:
    experiment.bracket(80, [15, 40], 0, 15, 1, 20.0, tmp_path / "b.parquet")
    frame = records.read([tmp_path / "b.parquet"])
    ok = frame[frame["status"] == "ok"]
    assert len(frame) == 30
    assert len(ok) >= 25
    assert (ok["lower_bound"] <= ok["best_norm"]).all()
    assert (ok["best_norm"] <= ok["step_norm"] * (1 + 1e-9)).mean() > 0.95
    assert (ok["lower_bound"] / ok["step_norm"]).median() > 0.7  # a bound worth its name
    assert (ok["best_norm"] < 0.999 * ok["step_norm"]).mean() > 0.5  # and a step that is not the best


def test_at_infinite_width_the_records_are_of_the_limit_law(tmp_path: Path) -> None:
    experiment.limit([3, 1000], 4000, 1, 20.0, tmp_path / "l.parquet")
    frame = records.read([tmp_path / "l.parquet"])
    assert (frame["step"].notna() == (frame["status"] == "switched")).all()
    at = {dim: frame[frame["input_dim"] == dim] for dim in (3, 1000)}
    # f(x) ~ N(0, 1/2) at every dimension; the squared gradient is f(x)^2 / d + chi^2_{d-1} / (2 d), of mean 1/2.
    for rows in at.values():
        assert stats.kstest(rows["value"], stats.norm(0, 0.5**0.5).cdf).pvalue > 1e-4
        assert rows["gradient_norm"].pow(2).mean() == pytest.approx(0.5, abs=0.03)
    assert (at[1000]["status"] == "switched").all()
    assert 0.7 < (at[3]["status"] == "switched").mean() < 0.9


def test_what_memory_cannot_hold_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"width 1,000,000,000, depth 6, dimension 10: about .* GB of memory are needed"):
        experiment.sample(6, 10**9, [10], 0, 1, 1, 0, 20.0, "cpu", tmp_path / "never.parquet")
    assert not list(tmp_path.iterdir())
