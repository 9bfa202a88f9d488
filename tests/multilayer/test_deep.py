"""Very deep networks, layer by layer: the same laws as networks whose matrices are held."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from onestep.multilayer import deep
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.seeds import stream


def streams(name: str, count: int) -> list[np.random.Generator]:
    return [stream(0, name, i) for i in range(count)]


def test_images_have_the_covariance_of_a_fresh_matrix() -> None:
    """Three questions, one of them the sum of the others: the images' Gram matrix over 20,000 rows, and the exact dependence."""
    x = torch.tensor([[1.0, 0, 0, 2], [0, 1, 0.5, 0], [1, 1, 0.5, 2]]).double()
    image = deep.images(streams("images", 1), x[None], 20_000, 0.5)[0]
    assert np.allclose(image @ image.T / 20_000, 0.25 * x @ x.T, atol=4 * 0.25 * 5.25 * math.sqrt(2 / 20_000))
    assert np.allclose(image[0] + image[1], image[2], atol=1e-6)


def test_what_a_matrix_has_answered_it_answers_again() -> None:
    """W q = y and W'p = z, so W (2 q) = 2 y and <p, W x> = <z, x> for every x."""
    generators = streams("asked", 5)
    q = torch.nn.functional.normalize(deep.normals(generators, 7), dim=-1)
    p = torch.nn.functional.normalize(deep.normals(generators, 9), dim=-1)
    layer = deep._Asked(q, deep.normals(generators, 9))
    z = layer.ask_back(p, deep.normals(generators, 7))
    assert np.allclose((z * q).sum(-1), (layer.y * p).sum(-1))
    x = torch.cat([2 * q[:, None], deep.normals(generators, 4, 7)], 1)
    image = layer.images(generators, x, 1.0)
    assert np.allclose(image[:, 0], 2 * layer.y, atol=1e-6)
    assert np.allclose((image * p[:, None]).sum(-1), (x * z[:, None]).sum(-1))


@pytest.mark.parametrize("depth", [1, 3])
def test_values_along_the_gradient_have_the_law_of_held_matrices(depth: int) -> None:
    """2,000 networks each way: |f(x)|, ||grad f(x)|| and the value after steps of two lengths, Kolmogorov-Smirnov at 0.1%."""
    count, dim, widths = 2000, 6, (12,) * depth
    generators = streams(f"law-{depth}", count)
    x = torch.nn.functional.normalize(deep.normals(generators, dim), dim=-1) * math.sqrt(dim)
    found = deep.downhill(generators, x, widths, torch.tensor([0.5, 3.0]).double())
    held = streams(f"held-{depth}", count)
    net = RandomNetwork.sample(held, Shape(dim, widths, output="gaussian"), kind="dense")
    points = net.inputs(held, 1)
    value, gradient = net.value_and_gradient(points)
    norm = gradient.norm(dim=-1, keepdim=True)
    sign = torch.where(value < 0, -1.0, 1.0)[..., None]
    steps = points - sign * torch.where(norm > 0, gradient / norm, 0.0) * torch.tensor([0.5, 3.0]).double()[:, None]
    after = net.value_and_gradient(steps)[0]
    pairs = [
        (found.value.abs(), value.abs()[:, 0]),
        (found.gradient_norm, norm[:, 0, 0]),
        *((found.values[:, i] * found.value.sign(), (after * value.sign())[:, i]) for i in (0, 1)),
    ]
    for mine, theirs in pairs:
        assert stats.ks_2samp(mine.numpy(), theirs.numpy()).pvalue > 1e-3


def test_a_dead_network_is_zero_and_has_no_gradient() -> None:
    generators = streams("dead", 200)
    x = torch.nn.functional.normalize(deep.normals(generators, 4), dim=-1) * 2
    found = deep.downhill(generators, x, (1, 1), torch.tensor([1.0]).double())
    dead = found.value == 0
    assert 100 < dead.sum() < 190  # 3/4 of them
    assert (found.gradient_norm[dead] == 0).all()
    assert (found.values[dead] == 0).all()
    assert torch.isfinite(found.values).all()
