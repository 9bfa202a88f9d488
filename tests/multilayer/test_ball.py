"""Searches in a ball, and the decomposition of the gradient's change, on explicitly multiplied matrices."""

import itertools
import math

import numpy as np
import pytest
import torch

from onestep.multilayer import ball
from onestep.multilayer.experiment import Cell
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.seeds import stream


def networks(widths: tuple[int, ...], dim: int, count: int = 6) -> tuple[RandomNetwork, torch.Tensor, torch.Tensor]:
    """Dense networks, an input and a random unit vector for each."""
    generators = [stream(0, "ball", *widths, dim, i) for i in range(count)]
    net = RandomNetwork.sample(generators, Shape(dim, widths, output="gaussian"), kind="dense")
    return net, net.inputs(generators, 1), net.directions(generators, 1)


def matrices(net: RandomNetwork, b: int) -> list[np.ndarray]:
    return [layer.weights[b].numpy() for layer in net.layers]


def masks(layers: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """The diagonal 0-1 matrices D_i(x)."""
    found = []
    for weights in layers:
        z = weights @ x
        found.append(np.diag((z > 0).astype(float)))
        x = found[-1] @ z
    return found


def product(factors: list[np.ndarray], size: int) -> np.ndarray:
    whole = np.eye(size)
    for factor in factors:
        whole = factor @ whole
    return whole


def gradient(net: RandomNetwork, b: int, x: np.ndarray) -> np.ndarray:
    layers = matrices(net, b)
    return net.output[b].numpy() @ product([D @ W for D, W in zip(masks(layers, x), layers, strict=True)], len(x))


@pytest.mark.parametrize("widths", [(7,), (5, 9), (9, 3, 8), (4, 4, 4, 4)])
def test_each_term_is_the_published_product_and_they_add_up_to_the_gradients_difference(widths: tuple[int, ...]) -> None:
    dim = 6
    net, x, u = networks(widths, dim)
    y = x + 3 * u
    terms, changed = ball.gradient_terms(net, x, y)
    for b in range(len(x)):
        layers, a = matrices(net, b), net.output[b].numpy()
        at_x, at_y = masks(layers, x[b, 0].numpy()), masks(layers, y[b, 0].numpy())
        for j in range(len(layers)):
            before = product([D @ W for D, W in zip(at_y[:j], layers[:j], strict=True)], dim)
            behind = product([D @ W for D, W in zip(at_x[j + 1 :], layers[j + 1 :], strict=True)], widths[j])
            expected = a @ behind @ (at_x[j] - at_y[j]) @ layers[j] @ before
            assert np.allclose(terms[b, 0, j].numpy(), expected, atol=1e-12)
            assert changed[b, 0, j].item() == pytest.approx(np.abs(at_x[j] - at_y[j]).diagonal().mean())
        difference = gradient(net, b, x[b, 0].numpy()) - gradient(net, b, y[b, 0].numpy())
        assert np.allclose(terms[b, 0].sum(0).numpy(), difference, atol=1e-12)


def test_the_gradient_of_explicit_products_is_autograds() -> None:
    net, x, _ = networks((9, 3, 8), 6)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.forward(point)[1].sum(), point)
    for b in range(len(x)):
        assert np.allclose(slope[b, 0].numpy(), gradient(net, b, x[b, 0].numpy()))


def change(net: RandomNetwork, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (net.value_and_gradient(y)[1] - net.value_and_gradient(x)[1]).norm(dim=-1)


@pytest.mark.parametrize(("widths", "dim"), [((40,), 40), ((40, 40, 40), 40), ((60, 30, 15), 60)])
def test_the_ascent_beats_its_starts_and_many_random_directions(widths: tuple[int, ...], dim: int) -> None:
    net, x, u = networks(widths, dim, 10)
    radius = torch.full((10, 1), 0.7).double()
    at_x = net.value_and_gradient(x)[1]
    starts = torch.cat([u, -torch.nn.functional.normalize(at_x, dim=-1)], 1)
    best = ball.worst_gradient_change(net, x, at_x, radius, starts, 20)
    assert np.allclose(best.norm(dim=-1), 1)
    found = change(net, x, x + 0.7 * best)
    assert (found >= change(net, x, x + 0.7 * starts).amax(1, keepdim=True) - 1e-12).all()
    many = net.directions([stream(0, "many", i) for i in range(10)], 500)
    assert (found > change(net, x, x + 0.7 * many).amax(1, keepdim=True)).double().mean() >= 0.9


def test_in_two_dimensions_the_ascent_finds_nearly_the_largest_change_on_the_circle() -> None:
    """20 neurons, d = 2: all of the circle can be looked at. The ascent never finds more, and in most networks all of it."""
    net, x, u = networks((20,), 2, 40)
    at_x = net.value_and_gradient(x)[1]
    best = ball.worst_gradient_change(net, x, at_x, torch.ones(40, 1).double(), torch.cat([u, -u], 1), 30)
    turns = torch.linspace(0, 2 * math.pi, 4001).double()
    circle = x + torch.stack([turns.cos(), turns.sin()], -1)
    largest = change(net, x, circle).amax(1)
    found = change(net, x, x + best)[:, 0]
    assert (found <= largest + 1e-9).all()
    assert (found >= 0.999 * largest).double().mean() >= 0.7


def test_in_a_linear_layer_the_widest_image_is_the_operator_norm() -> None:
    """f~_1 is linear: R ||W_1||. The second layer's image is compared with many random points."""
    net, x, u = networks((30, 20), 25)
    radius = torch.full((6, 1), 0.5).double()
    widest = ball.widest_images(net, x, radius, u, 60)
    for b in range(6):
        assert widest[b, 0].item() == pytest.approx(0.5 * np.linalg.norm(matrices(net, b)[0], 2), rel=1e-2)
        assert widest[b, 0].item() <= 0.5 * np.linalg.norm(matrices(net, b)[0], 2) * (1 + 1e-12)
    many = net.directions([stream(0, "many", i) for i in range(6)], 500)
    assert (widest > ball.image_shifts(net, x, ball.on_sphere(x, radius, many)).amax(1)).all()


def test_image_shifts_are_the_distances_of_explicit_pre_activations() -> None:
    net, x, u = networks((9, 3, 8), 6)
    shifts = ball.image_shifts(net, x, x + 2 * u)
    for b in range(len(x)):
        here, there = x[b, 0].numpy(), (x + 2 * u)[b, 0].numpy()
        for j, weights in enumerate(matrices(net, b)):
            here, there = weights @ here, weights @ there
            assert shifts[b, 0, j].item() == pytest.approx(np.linalg.norm(here - there))
            here, there = np.maximum(here, 0), np.maximum(there, 0)


def test_the_profiles() -> None:
    assert Cell("equal", 4, 100).widths == (100,) * 4
    assert Cell("growing", 2, 100, ratio=4.0).widths == (200, 400)
    assert Cell("shrinking", 2, 100, ratio=4.0).widths == (50, 25)
    assert Cell("bottleneck", 3, 100, 7).widths == (100, 7, 100)
    assert Cell("bottleneck", 5, 100, 7).widths == (100, 100, 7, 100, 100)
    growing, shrinking = (Cell(profile, 5, 1000, ratio=4.0).widths for profile in ("growing", "shrinking"))
    assert all(a < b for a, b in itertools.pairwise((1000, *growing)))
    assert all(a > b for a, b in itertools.pairwise((1000, *shrinking)))
