"""Random networks: what the command promises, and every column against something computed here from the drawn network itself."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from attacks.solvers import shortest
from scipy import stats
from torch import Tensor

from onestep import records
from onestep.attacks.minimal import Minimal, smallest
from onestep.guarantees import experiment, kernels, rays, second
from onestep.guarantees.experiment import Remembered, Setting
from onestep.networks.residual import ARCHITECTURES, ImageNetwork, truncated_normal
from onestep.provenance import data_digest, read_certificate
from onestep.records import descriptions
from onestep.seeds import stream

from .conftest import Command

NORMS = {"l1": 1, "l2": 2, "linf": np.inf}
SIDE, DIM = 8, 192
KEY = ["norm", "network", "input"]
CELL = f"--architecture resnet --side {SIDE} --networks 3 --inputs 2"


def drawn(architecture: str, side: int, network: int, dtype: torch.dtype = torch.float64) -> ImageNetwork:
    """A network from the stream that its coordinates name."""
    draw = stream(0, "guarantees", "network", architecture, side, network)
    return ImageNetwork.sample(draw, ARCHITECTURES[architecture], side, 3, dtype=dtype)


def image(side: int, network: int, index: int) -> Tensor:
    """An input [n] likewise, in the single precision that the networks work in."""
    draw = stream(0, "guarantees", "input", side, network, index)
    return torch.from_numpy(draw.random(3 * side**2)).float().double()


@dataclass(frozen=True)
class Sampled:
    """Three networks with two inputs each, in the three norms; and what the searches found, a network's norms one after the other."""

    file: Path
    found: list[tuple[float, Tensor, Minimal]]
    starts: list[Tensor | None]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    told = Sampled(tmp_path_factory.mktemp("sampled") / "r.parquet", [], [])

    def seen(model: Remembered, x: Tensor, norm: float, **options: object) -> Minimal:
        told.found.append((norm, x, smallest(model, x, norm, **options)))
        told.starts.append(options["start"])
        return told.found[-1][2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "smallest", seen)
        experiment.sample(Setting("resnet", SIDE, range(3), 2, 0), [*NORMS], "fast", "cpu", told.file)
    return told


@pytest.fixture(scope="module")
def rows(sampled: Sampled) -> pd.DataFrame:
    return records.read([sampled.file])


# ---------------------------------------------------------------------------------------------- the contract


def test_the_command_has_the_promised_columns_and_one_row_for_each_network_and_input(
    command: Command, tmp_path: Path, rows: pd.DataFrame
) -> None:
    out = tmp_path / "new" / "r.parquet"
    command("sample", CELL, "--norm l2 --seed 0 --device cpu --out", out)
    alone = records.read([out])
    assert {"architecture", "side", "norm", "network", "input", "distance", "gradients", "status"} <= {*alone.columns}
    assert alone[["network", "input"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert (alone[["architecture", "side", "input_dim", "norm"]] == ["resnet", SIDE, DIM, "l2"]).all(axis=None)
    assert {*alone["status"]} <= {"ok", "failed"}
    assert all(descriptions(out).values())
    assert read_certificate(out)["seed"] == 0
    # The norms do not know of each other: what is sampled in one is what stands among the three.
    pd.testing.assert_frame_equal(alone, rows[rows["norm"] == "l2"].reset_index(drop=True), check_exact=True)


def test_the_three_norms_see_the_same_networks_and_inputs(rows: pd.DataFrame) -> None:
    same = rows.groupby(["network", "input"])[["value", "deviation", "input_norm"]].nunique()
    assert (same == 1).all(axis=None)
    for row in rows[rows["norm"] == "l1"].itertuples():
        x = image(SIDE, row.network, row.input)
        assert row.input_norm == pytest.approx(float(x.norm()), rel=1e-6)
        assert row.value == pytest.approx(float(drawn("resnet", SIDE, row.network).value(x[None])), rel=1e-4)


def test_all_architectures_see_the_same_inputs(command: Command, tmp_path: Path, rows: pd.DataFrame) -> None:
    command("sample --architecture fully-connected --side 8 --networks 3 --inputs 2 --norm l2 --seed 0 --out", tmp_path / "f.parquet")
    other = records.read([tmp_path / "f.parquet"])
    assert other["input_norm"].tolist() == rows.loc[rows["norm"] == "l2", "input_norm"].tolist()


def test_records_are_the_same_bytes_when_the_networks_are_split(command: Command, tmp_path: Path, sampled: Sampled) -> None:
    parts = []
    for first, count in ((0, 1), (1, 2)):
        parts.append(tmp_path / f"from-{first}.parquet")
        command(
            f"sample --architecture resnet --side {SIDE} --first-network {first} --networks {count} --inputs 2",
            "--norm l1 l2 linf --seed 0 --device cpu --out",
            parts[-1],
        )
    joined = tmp_path / "joined.parquet"
    records.write(joined, records.read(parts), descriptions(sampled.file), {})
    assert data_digest(joined) == data_digest(sampled.file)


@pytest.mark.parametrize("architecture", ["resnet", "lenet", "periodic-pooled"])
def test_sides_that_are_no_multiple_of_4_are_sampled(architecture: str, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    command(f"sample --architecture {architecture} --side 7 --networks 1 --inputs 1 --norm l2 linf --seed 0 --device cpu --out", out)
    odd = records.read([out])
    assert (odd[["input_dim", "status"]] == [147, "ok"]).all(axis=None)
    assert odd["value"][0] == pytest.approx(float(drawn(architecture, 7, 0).value(image(7, 0, 0)[None])), rel=1e-4)


SMALL = "too small for this network; take one of side"
MISTAKES = [
    ("sample --norm l2", "--side 0", "--side: 0 is out of range, 1 or more"),
    ("sample --norm l2", "--side ten", "--side: 'ten' is not a whole number"),
    ("sample --norm l2", "--side 3 --architecture lenet", f"{SMALL} 4 or more"),
    ("sample --norm l2", "--side 1 --architecture periodic-pooled", f"{SMALL} 2 or more"),
    ("sample --norm l2", "--side 100000", "GB of memory are needed"),
    ("sample", "--norm l3", "--norm: invalid choice: 'l3'"),
    ("sample", "", "required: --norm"),
    ("sample --norm l2", "--architecture vgg", "--architecture: invalid choice: 'vgg'"),
    ("sample --norm l2", "--effort none", "--effort: invalid choice: 'none'"),
    ("sample --norm l2", "--device tpu", "--device tpu: no such device"),
    ("rays", "--cap 0", "--cap: 0 is out of range"),
    ("rays", "--side 1 --architecture periodic-pooled", SMALL),
    ("law --norm l2", "--side 3 --architecture lenet", SMALL),
    ("law --norm l2", "--side 7 --architecture periodic-pooled", "leave out pixels: no kernel; take a multiple of 2"),
    ("law --norm l2", "--side 100000", "GB of memory are needed"),
    ("kernels", "--side 4 7 --architecture periodic-pooled", "leave out pixels"),
    ("search --norm l2", "--inputs 0", "--inputs: 0 is out of range"),
]


@pytest.mark.parametrize(("verb", "wrong", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(
    verb: str, wrong: str, says: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = "--architecture resnet --side 8 --seed 0" + (" --networks 1 --inputs 1" if not verb.startswith("kernels") else " --steps 1")
    with pytest.raises(SystemExit) as ended:
        command(verb, cell, "--out", tmp_path / "r.parquet", wrong)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert said.startswith("onestep: ")
    assert says in said
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- what is measured


def test_distances_are_those_of_points_in_the_box_at_which_f_has_changed_its_sign(sampled: Sampled, rows: pd.DataFrame) -> None:
    names = {size: norm for norm, size in NORMS.items()}
    assert len(sampled.found) == 3 * len(NORMS)
    for place, (size, x, minimal) in enumerate(sampled.found):
        network, norm = place // len(NORMS), names[size]
        own = rows[(rows["network"] == network) & (rows["norm"] == norm)]
        assert ((minimal.points >= 0) & (minimal.points <= 1)).all()
        change = (minimal.points - x).double()
        assert own["distance"].to_numpy() == pytest.approx(torch.linalg.vector_norm(change, NORMS[norm], dim=1).numpy(), rel=1e-6)
        assert own["gradients"].tolist() == minimal.gradients.tolist()
        # Once more, twice as precisely: just behind the boundary the sign may be that of the rounding, a little farther it is not.
        net = drawn("resnet", SIDE, network)
        assert (net.value(x.double() + 1.001 * change) * net.value(x.double()) < 0).all()


def test_a_search_in_linf_begins_where_the_one_in_l2_has_ended(sampled: Sampled) -> None:
    for network in range(3):
        own = slice(len(NORMS) * network, len(NORMS) * (network + 1))
        ended = {size: minimal.points - x for size, x, minimal in sampled.found[own]}
        starts = dict(zip(ended, sampled.starts[own], strict=True))
        assert torch.equal(starts.pop(math.inf), ended[2])
        assert [*starts.values()] == [None, None]


@pytest.mark.parametrize("norm", NORMS)
def test_first_order_is_the_distance_of_the_linearised_network_as_solvers_find_it(norm: str, rows: pd.DataFrame) -> None:
    for network, index in ((0, 0), (2, 1)):
        x = image(SIDE, network, index).requires_grad_()
        value = drawn("resnet", SIDE, network).value(x[None])[0]
        (gradient,) = torch.autograd.grad(value, x)
        point, value = x.detach().numpy(), value.detach()
        expected = shortest(NORMS[norm], float(value), gradient.numpy(), -point, 1 - point)
        row = rows.set_index(KEY).loc[norm, network, index]
        assert row["first_order"] == pytest.approx(expected, rel=1e-3)
        # The box counts: without it the dual norm of the gradient would tell, and less.
        free = abs(float(value)) / np.linalg.norm(gradient.numpy(), {"l1": np.inf, "l2": 2, "linf": 1}[norm])
        assert row["first_order"] > 1.001 * free if norm == "l1" else row["first_order"] >= 0.999 * free


def test_first_order_is_null_where_the_box_does_not_reach_the_linear_boundary() -> None:
    x, gradient = torch.full((2, 4), 0.5), torch.ones(2, 4)
    value = torch.tensor([1.0, 2.5])  # the corner of the box is 0.5 * 4 away in l1
    assert experiment.linear_distance("l1", value, gradient, x).isnan().tolist() == [False, True]


def test_the_deviation_is_that_of_f_over_redrawn_last_layers(rows: pd.DataFrame) -> None:
    """4,000 times, at the level 1e-6; the deviation of one logit alone, a root of 2 less, would be caught."""
    network, draws = 1, 4000
    net, x = drawn("resnet", SIDE, network), torch.stack([image(SIDE, network, index) for index in range(2)])
    features = net.features(x)  # [2, F]
    width = features.shape[1]
    last = truncated_normal(stream(1, "last layers"), draws * 2 * width).reshape(draws, 2, width) * math.sqrt(2 / width)
    values = (torch.from_numpy(last[:, 1] - last[:, 0]) @ features.T).numpy()
    told = rows[(rows["norm"] == "l1") & (rows["network"] == network)]["deviation"].to_numpy()
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], draws)

    def fits(deviation: np.ndarray) -> bool:
        return bool((((values / deviation) ** 2).sum(0) > low).all() and (((values / deviation) ** 2).sum(0) < high).all())

    assert fits(told)
    assert not fits(told / math.sqrt(2))
    # And f, whose own last layer is such a draw, is of that size.
    assert (abs(rows["value"]) < 5 * rows["deviation"]).all()


def test_a_network_that_is_constant_fails_in_rows_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw = ImageNetwork.sample

    def silent(generator: np.random.Generator, *options: object, **more: object) -> ImageNetwork:
        net = draw(generator, *options, **more)
        net.weights["10.weight"].zero_()
        return net

    monkeypatch.setattr(ImageNetwork, "sample", silent)
    experiment.sample(Setting("resnet", 4, range(1), 2, 0), [*NORMS], "fast", "cpu", tmp_path / "r.parquet")
    frame = records.read([tmp_path / "r.parquet"])
    assert len(frame) == 6
    assert (frame["status"] == "failed").all()
    assert frame["distance"].isna().all()
    assert (frame["value"] == 0).all()


class Counted:
    """A network and how many points it was asked about."""

    def __init__(self, net: ImageNetwork) -> None:
        self.net, self.asked = net, 0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.asked += len(x)
        return self.net(x)


def test_what_is_remembered_is_not_computed_again_and_changes_nothing() -> None:
    seen: list[experiment.Looked] = []
    Setting("fully-connected", 4, range(1), 2, 0).measured("cpu", lambda looked: seen.append(looked) or [])
    (looked,) = seen
    net, x = looked.net, looked.x
    plain, counted = Counted(net), Counted(net)
    remembered = Remembered(counted)
    for norm in NORMS.values():
        one, other = (smallest(model, x, norm, box=(0.0, 1.0), effort="fast") for model in (plain, remembered))
        assert torch.equal(one.points, other.points)
        assert torch.equal(one.gradients, other.gradients)
    # In the second and third norm at least the input itself and the first step are known.
    assert counted.asked <= plain.asked - 2 * 2 * len(x)
    assert len(remembered.answers) <= Remembered.KEPT


# ---------------------------------------------------------------------------------------------- rays


def test_a_ray_is_followed_to_its_first_sign_change_as_a_fine_scan_sees_it(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    command(f"rays --architecture fully-connected --side {SIDE} --networks 12 --inputs 1 --cap 2 --seed 0 --device cpu --out", out)
    frame = records.read([out])
    assert list(frame.columns) == list(rays.COLUMNS)
    assert {*frame["status"]} == {"switched", "unswitched"}
    for row in frame.itertuples():
        x, net = image(SIDE, row.network, row.input), drawn("fully-connected", SIDE, row.network)
        v = torch.from_numpy(stream(0, "guarantees", "direction", SIDE, row.network, row.input).standard_normal(DIM))
        assert row.cap == pytest.approx(2 * row.input_norm)
        t = torch.linspace(0, row.cap, 2001, dtype=torch.float64)
        values = net.value(x + t[:, None] * v / v.norm())
        assert row.value == pytest.approx(float(values[0]), rel=1e-4)
        changed = (values * values[0] < 0).nonzero()
        assert (row.status == "switched") == (len(changed) > 0) == (not np.isnan(row.length))
        if len(changed):
            first = int(changed[0])
            assert t[first - 1] * (1 - 1e-4) <= row.length <= t[first] * (1 + 1e-4)


# ---------------------------------------------------------------------------------------------- the second search


def test_the_second_search_starts_from_the_perturbations_that_the_first_one_found(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[tuple[float, Tensor]] = []
    closer = second.closer

    def seen(net: ImageNetwork, x: Tensor, start: Tensor, norm: float, *options: object) -> Tensor:
        starts.append((norm, start))
        return closer(net, x, start, norm, *options, steps=40)

    monkeypatch.setattr(second, "closer", seen)
    out = tmp_path / "r.parquet"
    command("search --architecture fully-connected --side 8 --networks 3 --inputs 2 --norm l1 l2 linf --seed 0 --device cpu --out", out)
    frame = records.read([out])
    assert list(frame.columns) == list(second.COLUMNS)
    lengths = np.concatenate([torch.linalg.vector_norm(start, norm, dim=1).numpy() for norm, start in starts])
    assert frame["distance"].to_numpy() == pytest.approx(lengths, rel=1e-5)
    # From there it comes near to what was found; from the points themselves, whose length is 5 times as large or more, it would not.
    assert (frame["second"] < 1.5 * frame["distance"]).all()
    command("sample --architecture fully-connected --side 8 --networks 3 --inputs 2 --norm l1 l2 linf --seed 0 --device cpu --out", out)
    assert frame["distance"].to_numpy() == pytest.approx(records.read([out])["distance"].to_numpy(), rel=1e-6)


# ---------------------------------------------------------------------------------------------- kernels


def test_the_law_of_a_fully_connected_network_is_half_normal_times_what_its_kernel_is_in_closed_form(
    command: Command, tmp_path: Path
) -> None:
    """K(x, x) = 4 ||x||^2 / n and E ||grad f||^2 = 4, so l2 distances are |N| ||x|| / sqrt(n), but for the box, active in a few pixels.

    Kolmogorov-Smirnov, 1,000 draws, at the level 1e-4; a law a fifth longer would be caught.
    """
    out = tmp_path / "r.parquet"
    command("law --architecture fully-connected --side 16 --networks 1000 --inputs 1 --norm l2 --seed 0 --out", out)
    frame = records.read([out])
    assert list(frame.columns) == list(kernels.LAW_COLUMNS)
    assert frame["network"].tolist() == list(range(1000))
    size = float(image(16, 0, 0).norm()) / math.sqrt(3 * 16**2)
    assert stats.kstest(frame["distance"] / size, stats.halfnorm.cdf).pvalue > 1e-4
    assert stats.kstest(frame["distance"] / size / 1.2, stats.halfnorm.cdf).pvalue < 1e-4


def test_the_law_has_each_draw_in_every_norm(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    command("law --architecture resnet --side 4 --networks 5 --inputs 2 --norm l1 l2 linf --seed 0 --out", out)
    wide = records.read([out]).pivot(index=["network", "input"], columns="norm", values="distance")
    assert wide.shape == (10, 3)
    assert (wide["linf"] <= wide["l2"]).all()
    assert (wide["l2"] <= wide["l1"]).all()
    assert (wide["l1"] <= 48 * wide["linf"] * (1 + 1e-9)).all()


@pytest.mark.parametrize(("architecture", "stretch"), [("periodic", 1), ("periodic-pooled", 2)])
def test_kernels_of_the_theorems_setting_have_the_certificate_1(architecture: str, stretch: int, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    command(f"kernels --architecture {architecture} --side 2 4 --steps 1 --seed 0 --out", out)
    frame = records.read([out])
    assert list(frame.columns) == list(kernels.KERNEL_COLUMNS)
    assert frame["side"].tolist() == [2, 4]
    assert frame["certificate"].to_numpy() == pytest.approx(1, abs=1e-12)
    assert (frame["stretch"] == stretch).all()
    # What a search finds cannot contradict a proof; without poolings sqrt(K) / ||x|| is the same for all images.
    assert (frame["distance_ratio"] <= stretch * frame["deviation_ratio"] * (1 + 1e-9)).all()
    if architecture == "periodic":
        assert frame["deviation_ratio"].to_numpy() == pytest.approx(2 / np.sqrt(frame["input_dim"]), rel=1e-9)


def test_zeros_beyond_the_edges_have_no_such_certificate(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    command("kernels --architecture convolutional --side 4 --steps 1 --seed 0 --out", out)
    assert records.read([out])["certificate"].item() > 1.1
