"""The experiments' records: their columns, what they mean, and that they do not depend on how the work is split."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onestep import records
from onestep.errors import Mistake
from onestep.multilayer import depth, experiment
from onestep.multilayer.experiment import Cell
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.provenance import read_certificate
from onestep.theory import kernels

from .conftest import NETWORKS, Records

COLUMNS = {name: getattr(experiment, f"{name.upper()}_COLUMNS") for name in ("flip", "layers", "smoothness")}
COLUMNS |= {name: getattr(depth, f"{name.upper()}_COLUMNS") for name in ("collapse", "scan", "limit")}


def test_every_file_has_the_documented_columns_and_a_certificate(recorded: Records) -> None:
    for name, files in recorded.items():
        for file in files:
            frame = records.read([file])
            assert list(frame.columns) == list(COLUMNS[name])
            assert records.descriptions(file) == COLUMNS[name]
            assert read_certificate(file)["parameters"]["seed"] == 1
            if "status" in frame:
                assert set(frame["status"]) <= {"switched", "unswitched", "dead"}
    assert read_certificate(recorded["flip"][0])["rays"] == 2 * 4 * NETWORKS


def rebuilt(cell: Cell, index: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The matrices at the paper's scale, the output weights and the input of one recorded (small, so held) network."""
    shape = Shape(cell.width, cell.widths, output="gaussian")
    # A block draws each network from its own generator, so that one alone is the same.
    net = RandomNetwork.sample([cell.stream(1, "network", index)], shape, kind="dense")
    x = net.inputs([cell.stream(1, "inputs", index)], 1)[0, 0].numpy()
    layers = [layer.weights[0].numpy() / math.sqrt(1 if i == 0 else 2) for i, layer in enumerate(net.layers)]
    return layers, net.output[0].numpy(), x


def value_and_gradient(layers: list[np.ndarray], a: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
    """f = <a, relu(W_L .. relu(W_1 x))> and its gradient, by multiplying everything out."""
    whole = np.eye(len(x))
    for weights in layers:
        z = weights @ whole
        whole = (z @ x > 0)[:, None] * z
    return float(a @ whole @ x), a @ whole


@pytest.mark.parametrize("cell", [Cell("equal", 3, 10), Cell("shrinking", 3, 40), Cell("bottleneck", 3, 40, 20)])
def test_a_rebuilt_network_changes_sign_and_reaches_the_opposite_value_where_the_record_says(recorded: Records, cell: Cell) -> None:
    frame = records.read(recorded["flip"])
    chosen = frame[np.logical_and.reduce([frame[name] == value for name, value in cell.coordinates.items()])]
    assert len(chosen) == NETWORKS
    switched = 0
    for row in chosen.itertuples():
        layers, a, x = rebuilt(cell, row.network)
        value, gradient = value_and_gradient(layers, a, x)
        assert row.value == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert row.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9, abs=1e-12)
        assert np.linalg.norm(x) == pytest.approx(math.sqrt(cell.width))
        if row.status == "switched":
            direction = -np.sign(value) * gradient / np.linalg.norm(gradient)
            before, behind = (
                value_and_gradient(layers, a, x + row.perturbation_norm * part * direction)[0] for part in (1 - 1e-6, 1 + 1e-6)
            )
            assert before * value > 0 > behind * value
            switched += 1
        if row.opposite == "reached":
            direction = -np.sign(value) * gradient / np.linalg.norm(gradient)
            there = value_and_gradient(layers, a, x + row.opposite_norm * direction)[0]
            assert there == pytest.approx(-value, rel=1e-6)
            assert row.opposite_norm > row.perturbation_norm
    assert switched > 10


def test_layers_are_those_of_explicit_products(recorded: Records) -> None:
    frame = records.read(recorded["layers"])
    cell = Cell("bottleneck", 3, 40, 20)
    chosen = frame[(frame["profile"] == "bottleneck") & (frame["bottleneck"] == 20)]
    for index in range(5):
        layers, a, x = rebuilt(cell, index)
        own = chosen[chosen["network"] == index].sort_values("layer")
        assert list(own["layer_width"]) == [40, 20, 40]
        assert list(own["narrowest_before"]) == [40, 40, 20]
        hidden, there = x, None
        value, gradient = value_and_gradient(layers, a, x)
        moved = own["status"].iloc[0] == "switched"
        if moved:
            there = x - np.sign(value) * own["radius"].iloc[0] * gradient / np.linalg.norm(gradient)
        for row, weights in zip(own.itertuples(), layers, strict=True):
            z = weights @ hidden
            share = (np.abs(z) < 0.3 * np.linalg.norm(hidden) / math.sqrt(len(hidden))).mean()
            assert getattr(row, "_" + str(own.columns.get_loc("small_0.3") + 1)) == pytest.approx(share)
            if moved:
                other = weights @ there
                assert row.gradient_shift == pytest.approx(np.linalg.norm(z - other), rel=1e-8)
                assert row.worst_shift >= max(row.gradient_shift, row.random_shift)
                there = np.maximum(other, 0)
            hidden = np.maximum(z, 0)
            assert row.norm == pytest.approx(np.linalg.norm(hidden), rel=1e-9)


def test_the_gradients_change_is_that_of_explicit_products_and_shares_add_up_to_one(recorded: Records) -> None:
    frame = records.read(recorded["smoothness"])
    known = frame[frame["status"] == "switched"]
    key = ["profile", "depth", "width", "bottleneck", "network", "direction"]
    assert np.allclose(known.groupby(key)["term_share"].sum()[known.groupby(key)["change"].first() > 0], 1)
    assert frame.loc[frame["status"] != "switched", ["radius", "change", "term_norm"]].isna().all().all()
    cell = Cell("equal", 3, 10)
    own = known[(known["profile"] == "equal") & (known["depth"] == 3) & (known["width"] == 10)]
    own = own[(own["direction"] == "gradient") & (own["layer"] == 1)]
    assert len(own) > 10
    for row in own.itertuples():
        layers, a, x = rebuilt(cell, row.network)
        value, gradient = value_and_gradient(layers, a, x)
        y = x - np.sign(value) * row.radius * gradient / np.linalg.norm(gradient)
        assert row.change == pytest.approx(np.linalg.norm(value_and_gradient(layers, a, y)[1] - gradient), rel=1e-6, abs=1e-9)


def test_the_worst_direction_is_worse_than_the_two_others(recorded: Records) -> None:
    frame = records.read(recorded["smoothness"])
    wide = frame[(frame["layer"] == 1) & (frame["status"] == "switched")]
    change = wide.pivot_table(index=["profile", "depth", "width", "bottleneck", "network"], columns="direction", values="change")
    assert (change["worst"] >= change[["random", "gradient"]].max(axis=1) - 1e-12).all()


def test_opposite_inputs_start_opposite_and_angles_fall_along_the_recursion(recorded: Records) -> None:
    frame = records.read(recorded["collapse"]).query("width == 60 and input_dim == 10")
    assert np.allclose(frame.query("input == 1")["start_angle"], math.pi)
    assert (frame.query("input == 0")["angle"] < 1e-6).all()
    for layers, cell in frame.groupby("depth"):
        expected = kernels.angles_by_layer(cell.query("input > 0")["start_angle"].to_numpy(), int(layers))[-1].mean()
        # At a fixed width angles fall a little faster: by about 1.5 L / k.
        assert cell.query("input > 0")["angle"].mean() == pytest.approx(expected, rel=0.1 if layers < 10 else 0.3)
        # He's scale keeps the squared norm at ||x||^2 k / (2 d) in the mean: 30 networks of width 60.
        assert (cell["norm"] ** 2).mean() == pytest.approx(30, rel=0.5)


def test_scanned_steps_flip_like_searched_ones(tmp_path: Path) -> None:
    """Depth 2, k = d = 20: the same law by the march and by a fine scan; 300 networks, medians and shares within five errors."""
    experiment.flip("equal", [2], [20], [], 4.0, 0, 300, 2, 20.0, tmp_path / "flip.parquet")
    depth.scan([2], 20, [20], 0, 300, 60, 2, 20.0, tmp_path / "scan.parquet")
    found, scanned = (records.read([tmp_path / f"{name}.parquet"]) for name in ("flip", "scan"))
    shares = [(frame["status"] == "switched").mean() for frame in (found, scanned)]
    assert shares[0] == pytest.approx(shares[1], abs=5 * math.sqrt(2 * 0.1 / 300))
    medians = [frame["perturbation_norm"].median() for frame in (found, scanned)]
    assert medians[0] == pytest.approx(medians[1], abs=5 * 1.3 / math.sqrt(300))
    hit = scanned[scanned["status"] == "switched"]
    assert (hit["shorter"] < hit["perturbation_norm"]).all()
    assert (scanned.loc[scanned["coarse_status"] == "switched", "status"] == "switched").all()


def test_one_layer_of_infinite_width_flips_like_the_exact_process(tmp_path: Path) -> None:
    """The grid of angles beside `infinite_width`, which has none: shares and medians at d = 10, 1,500 networks each."""
    from onestep.seeds import stream
    from onestep.theory import infinite_width

    depth.limit([1], [10], 1500, 3, 20.0, tmp_path / "limit.parquet")
    frame = records.read([tmp_path / "limit.parquet"])
    exact = infinite_width.sample([stream(3, "exact", i) for i in range(1500)], 10, 1e9)
    length = np.nan_to_num(exact.step * exact.gradient_norm, nan=np.inf)
    share = (length < 20).mean()
    assert (frame["status"] == "switched").mean() == pytest.approx(share, abs=5 * math.sqrt(2 * 0.03 / 1500))
    assert frame["perturbation_norm"].fillna(np.inf).median() == pytest.approx(np.median(length), abs=5 * 1.3 / math.sqrt(1500))


@pytest.mark.parametrize("name", ["flip", "smoothness", "collapse", "scan"])
def test_records_are_the_same_bytes_however_the_networks_are_split(tmp_path: Path, name: str) -> None:
    def run(first: int, networks: int) -> pd.DataFrame:
        out = tmp_path / f"{first}-{networks}.parquet"
        if name == "collapse":
            depth.collapse(30, [4], [1, 5], first, networks, 4, 5, out)
        elif name == "scan":
            depth.scan([1, 5], 30, [4], first, networks, 6, 5, 20.0, out)
        elif name == "flip":
            experiment.flip("equal", [2], [20, 2000], [], 4.0, first, networks, 5, 20.0, out)
        else:
            experiment.smoothness("shrinking", [2], [40], [], 4.0, first, networks, 4, 5, 20.0, out)
        return records.read([out])

    key = [column for column in ("width", "depth", "network", "input", "direction", "layer") if column in COLUMNS[name]]
    whole = run(0, 20).sort_values(key, ignore_index=True)
    together = pd.concat([run(0, 3), run(3, 17)]).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(whole, together, check_exact=True)


def test_what_does_not_go_together_is_a_one_line_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="--bottleneck"):
        experiment.flip("bottleneck", [3], [20], [], 4.0, 0, 2, 1, 20.0, tmp_path / "r.parquet")
    with pytest.raises(Mistake, match="--bottleneck"):
        experiment.flip("equal", [3], [20], [5], 4.0, 0, 2, 1, 20.0, tmp_path / "r.parquet")
    with pytest.raises(Mistake, match="even number"):
        depth.collapse(20, [3], [1], 0, 2, 3, 1, tmp_path / "r.parquet")
    with pytest.raises(Mistake, match="smaller width"):
        experiment.smoothness("equal", [2], [10**7], [], 4.0, 0, 2, 3, 1, 20.0, tmp_path / "r.parquet")
    assert not list(tmp_path.iterdir())
