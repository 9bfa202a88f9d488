"""Random networks: their values and gradients against autograd, differences and identities; their draws; their bounds."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sphere import random_inputs

from onestep.networks.gaussian import Frame
from onestep.networks.random_relu import DenseMatrix, RandomNetwork, Shape, gaussian_norm_bound, unit_factor
from onestep.seeds import stream

SHAPES = [(1, 1, 2), (1, 50, 10), (2, 7, 5), (3, 30, 20), (5, 20, 3)]
shapes = pytest.mark.parametrize(("depth", "width", "dim"), SHAPES)


def generators(*name: str | int, count: int = 3) -> list[np.random.Generator]:
    return [stream(0, *name, i) for i in range(count)]


def networks(depth: int, width: int, dim: int, count: int = 3, inputs: int = 4) -> tuple[RandomNetwork, torch.Tensor]:
    name = (depth, width, dim)
    nets = RandomNetwork.sample(generators("network", *name, count=count), Shape(dim, (width,) * depth), kind="dense")
    return nets, random_inputs(generators("x", *name, count=count), inputs, dim)


def arrays(nets: RandomNetwork) -> list[torch.Tensor]:
    return [*(matrix.weights for matrix in nets.layers), nets.output]


def evaluate(layers: list[torch.Tensor], output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One network at one point, written as in a textbook."""
    for weights in layers:
        x = torch.nn.functional.relu(torch.mv(weights, x))
    return torch.dot(output, x)


# ---------------------------------------------------------------------------------------------- values and gradients


@shapes
def test_value_and_gradient_are_those_of_automatic_differentiation(depth: int, width: int, dim: int) -> None:
    nets, x = networks(depth, width, dim)
    value, gradient = nets.value_and_gradient(x)
    assert value.shape == (3, 4)
    for b in range(3):
        for i in range(4):
            point = x[b, i].clone().requires_grad_()
            f = evaluate([matrix.weights[b] for matrix in nets.layers], nets.output[b], point)
            torch.testing.assert_close(value[b, i], f.detach(), rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(gradient[b, i], torch.autograd.grad(f, point)[0], rtol=1e-12, atol=1e-14)


@shapes
def test_the_gradient_is_the_central_difference_of_the_value(depth: int, width: int, dim: int) -> None:
    nets, x = networks(depth, width, dim)
    _, gradient = nets.value_and_gradient(x)
    h = 1e-6
    for axis, unit in enumerate(torch.eye(dim, dtype=torch.float64)):
        difference = (nets.value_and_gradient(x + h * unit)[0] - nets.value_and_gradient(x - h * unit)[0]) / (2 * h)
        torch.testing.assert_close(difference, gradient[..., axis], rtol=0, atol=1e-8)


def test_the_gradient_at_a_neuron_that_is_exactly_zero_leaves_it_out() -> None:
    identity = DenseMatrix(torch.eye(2, dtype=torch.float64)[None], 1.0)
    net = RandomNetwork(Shape(2, (2,)), [identity], torch.ones(1, 2, dtype=torch.float64), Frame(2, 2))
    value, gradient = net.value_and_gradient(torch.tensor([[[0.0, 3.0]]], dtype=torch.float64))
    assert value.tolist() == [[3.0]]
    assert gradient.tolist() == [[[0.0, 1.0]]]


@shapes
def test_the_gradient_times_the_point_is_the_value_as_euler_says(depth: int, width: int, dim: int) -> None:
    nets, x = networks(depth, width, dim)
    value, gradient = nets.value_and_gradient(x)
    torch.testing.assert_close((gradient * x).sum(-1), value, rtol=1e-11, atol=1e-13)


# ---------------------------------------------------------------------------------------------- rays


@shapes
def test_a_ray_has_the_values_of_its_points(depth: int, width: int, dim: int) -> None:
    nets, x = networks(depth, width, dim)
    direction = random_inputs(generators("direction", dim), 4, dim)
    ray = nets.ray(x, direction)
    for t in (0.0, 0.3, 7.0):
        at = torch.full((3, 4), t, dtype=torch.float64)
        layers, value = ray.at(at)
        torch.testing.assert_close(value, nets.value_and_gradient(x + t * direction)[0], rtol=1e-11, atol=1e-12)
        assert [layer.shape for layer in layers] == [(3, 4, width)] * depth
        torch.testing.assert_close(layers[0], torch.einsum("bkd,bid->bik", nets.layers[0].weights, x + t * direction))


def test_one_direction_can_serve_all_inputs_of_a_network() -> None:
    nets, x = networks(3, 30, 20)
    direction = random_inputs(generators("direction", 20), 1, 20)
    t = torch.full((3, 4), 0.7, dtype=torch.float64)
    torch.testing.assert_close(nets.ray(x, direction).at(t)[1], nets.value_and_gradient(x + 0.7 * direction)[0])


def test_some_rays_of_some_networks_are_those_rays() -> None:
    nets, x = networks(3, 30, 20, count=4)
    ray = nets.ray(x, random_inputs(generators("direction", 20, count=4), 4, 20))
    t = torch.rand(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept, inputs = torch.tensor([1, 3]), torch.tensor([0, 2])
    layers, value = ray.at(t)
    some_layers, some_value = ray.only(kept, inputs).at(t[kept][:, inputs])
    torch.testing.assert_close(some_value, value[kept][:, inputs], rtol=1e-13, atol=1e-14)
    for some, every in zip(some_layers, layers, strict=True):
        torch.testing.assert_close(some, every[kept][:, inputs], rtol=1e-13, atol=1e-14)
    for (some, deviation), (every, same) in zip(ray.only(kept, inputs).maps, ray.maps, strict=True):
        assert np.array_equal(some, every[kept])
        assert deviation == same


@pytest.mark.parametrize(("depth", "width"), [(2, 3), (3, 30), (2, 200)])
def test_the_norm_bounds_of_a_ray_hold_and_its_deviations_are_those_of_the_weights(depth: int, width: int) -> None:
    nets, x = networks(depth, width, 10)
    ray = nets.ray(x, x)
    matrices = [*arrays(nets)[1:-1], nets.output[:, None]]
    assert len(ray.maps) == depth
    for (bound, deviation), weights in zip(ray.maps, matrices, strict=True):
        assert (bound >= torch.linalg.matrix_norm(weights, 2).numpy() * (1 - 1e-14)).all()
        assert deviation == pytest.approx(float(weights.square().mean().sqrt()), rel=6 / math.sqrt(2 * weights.numel()))


# ---------------------------------------------------------------------------------------------- draws


def test_the_same_streams_give_the_same_networks() -> None:
    (one, x), (other, y) = networks(3, 8, 5), networks(3, 8, 5)
    assert all(torch.equal(a, b) for a, b in zip((*arrays(one), x), (*arrays(other), y), strict=True))


def test_a_network_and_its_inputs_do_not_depend_on_how_many_networks_are_drawn() -> None:
    (few, x), (many, y) = networks(3, 8, 5, count=2), networks(3, 8, 5, count=7)
    assert all(torch.equal(a, b[:2]) for a, b in zip((*arrays(few), x), (*arrays(many), y), strict=True))


def test_different_streams_give_different_networks() -> None:
    nets, _ = networks(3, 8, 5, count=2)
    assert not torch.isclose(*nets.layers[0].weights).any()


def test_the_output_weights_are_signs_over_the_root_of_the_width() -> None:
    nets, _ = networks(2, 50, 5)
    assert torch.equal(nets.output.abs(), torch.full((3, 50), 1 / math.sqrt(50), dtype=torch.float64))
    assert set(nets.output.sign().unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("dim", [1, 2, 10, 1000])
def test_random_inputs_have_norm_root_d(dim: int) -> None:
    x = networks(1, 3, dim)[0].inputs(generators("inputs", dim), 20)
    torch.testing.assert_close(x.norm(dim=-1), torch.full((3, 20), math.sqrt(dim), dtype=torch.float64), rtol=1e-14, atol=0)


def test_the_first_inputs_do_not_depend_on_how_many_are_asked_for() -> None:
    nets, _ = networks(1, 3, 7)
    assert torch.equal(nets.inputs(generators("inputs"), 3), nets.inputs(generators("inputs"), 11)[:, :3])


# ---------------------------------------------------------------------------------------------- the other hidden scale


@shapes
def test_a_network_built_with_hidden_variance_one_over_k_is_the_unit_factor_times_this_one(depth: int, width: int, dim: int) -> None:
    """Drawn here once more, number by number: also what the stream of a network means."""
    nets, x = networks(depth, width, dim, count=1)
    (rng,) = generators("network", depth, width, dim, count=1)
    layers = [rng.standard_normal((width, dim)) / math.sqrt(dim)]
    layers += [rng.standard_normal((width, width)) / math.sqrt(width) for _ in range(depth - 1)]
    signs = np.array([1.0 if byte >> (7 - bit) & 1 else -1.0 for byte in rng.bytes((width + 7) // 8) for bit in range(8)])[:width]
    value, gradient = nets.value_and_gradient(x)
    for i in range(4):
        point = x[0, i].clone().requires_grad_()
        f = evaluate([torch.from_numpy(weights) for weights in layers], torch.from_numpy(signs / math.sqrt(width)), point)
        torch.testing.assert_close(unit_factor(depth) * value[0, i], f.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(unit_factor(depth) * gradient[0, i], torch.autograd.grad(f, point)[0], rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------- norms of Gaussian matrices


def gaussian_norms() -> Iterator[tuple[int, int, float, float]]:
    for i in range(300):
        rng = stream(0, "norms", i)
        rows, columns, deviation = int(rng.integers(1, 80)), int(rng.integers(1, 80)), float(rng.uniform(0.01, 3))
        yield rows, columns, deviation, float(np.linalg.svd(rng.normal(0, deviation, (rows, columns)), compute_uv=False)[0])


def test_the_bound_on_a_gaussian_matrix_exceeds_its_largest_singular_value() -> None:
    norms = list(gaussian_norms())
    assert all(norm <= gaussian_norm_bound(rows, columns, deviation) for rows, columns, deviation, norm in norms)
    # And a bound without the slack or without the second dimension would not.
    assert any(norm > deviation * (math.sqrt(rows) + math.sqrt(columns)) for rows, columns, deviation, norm in norms)
    assert sum(norm > deviation * (math.sqrt(rows) + 1) for rows, columns, deviation, norm in norms) > 200


def test_the_bound_on_a_large_gaussian_matrix_is_close() -> None:
    norm = np.linalg.norm(stream(0, "large").standard_normal((400, 200)), 2)
    assert norm <= gaussian_norm_bound(400, 200, 1.0) <= 1.3 * norm
