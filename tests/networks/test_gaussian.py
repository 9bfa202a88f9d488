"""Matrices that are never formed: one matrix in all their answers, and awkward questions."""

import numpy as np
import pytest
import torch

from onestep.networks.gaussian import GaussianMatrix
from onestep.networks.matrix_free import MatrixFreeReLU
from onestep.networks.random_relu import random_inputs
from onestep.seeds import stream


def matrices(rows: int, columns: int, count: int = 2, name: str = "matrix") -> GaussianMatrix:
    return GaussianMatrix([stream(0, name, index) for index in range(count)], rows, columns, 1.0)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_asked_for_all_columns_it_is_a_matrix_and_answers_like_it() -> None:
    lazy, x, y = matrices(40, 30), normal(2, 30, 3), normal(2, 40, 3)
    first = lazy.times(x), lazy.transposed_times(y)
    W = lazy.times(torch.eye(30, dtype=torch.float64).expand(2, 30, 30))
    assert torch.allclose(first[0], W @ x, atol=1e-12)
    assert torch.allclose(first[1], W.mT @ y, atol=1e-12)
    assert not torch.isclose(W[0], W[1]).any()


def test_500_adaptive_questions_are_answered_by_one_matrix() -> None:
    """Each question is made of the answer before it, now and then nearly the same as an earlier one."""
    rows, columns = 700, 600
    lazy = matrices(rows, columns, count=1)
    right, left, images, transposed = [], [], [], []
    x = normal(1, columns, 1)
    for step in range(250):
        right.append(x)
        images.append(lazy.times(x))
        left.append(images[-1].relu() + 0.1 * normal(1, rows, 1, seed=step))
        transposed.append(lazy.transposed_times(left[-1]))
        near = right[step // 2] + 1e-7 * normal(1, columns, 1, seed=step)
        x = near if step % 3 == 0 else transposed[-1] / transposed[-1].norm() * 20 + normal(1, columns, 1, seed=step)
    X, WX, Y, WtY = (torch.cat(part, -1)[0] for part in (right, images, left, transposed))
    scale = Y.norm(dim=0)[:, None] * X.norm(dim=0) * np.sqrt(rows)
    assert ((Y.mT @ WX - WtY.mT @ X).abs() / scale).max() < 1e-10
    again = lazy.times(X[None, :, ::25])
    assert ((again[0] - WX[:, ::25]).norm(dim=0) / WX[:, ::25].norm(dim=0)).max() < 1e-10


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_question_of_zeros_or_of_not_numbers_leaves_the_matrix_as_it_was(bad: float) -> None:
    lazy, untouched, x = matrices(20, 15), matrices(20, 15), normal(2, 15, 2)
    question = torch.full((2, 15, 1), bad, dtype=torch.float64)
    answer = lazy.times(question)
    assert (answer == 0).all() if bad == 0 else answer.isnan().all()
    assert torch.equal(lazy.times(x), untouched.times(x))


def test_a_matrix_does_not_depend_on_its_neighbours() -> None:
    x, y = normal(3, 12, 2), normal(3, 9, 2)
    together, alone = matrices(9, 12, count=3), matrices(9, 12, count=1)
    for _ in range(2):
        assert torch.allclose(together.times(x)[0], alone.times(x[:1])[0], atol=1e-14)
        assert torch.allclose(together.transposed_times(y)[0], alone.transposed_times(y[:1])[0], atol=1e-14)


def test_some_of_the_matrices_know_what_they_were_asked() -> None:
    lazy, x = matrices(9, 12, count=3), normal(3, 12, 2)
    before = lazy.times(x)
    assert torch.allclose(lazy.only(torch.tensor([1, 2])).times(x[1:]), before[1:], atol=1e-13)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (5, 1)])
def test_sides_of_length_one(rows: int, columns: int) -> None:
    lazy = matrices(rows, columns)
    x, y = normal(2, columns, 2), normal(2, rows, 2)
    assert torch.allclose(y.mT @ lazy.times(x), lazy.transposed_times(y).mT @ x, atol=1e-13)


@pytest.mark.parametrize("depth", [1, 3, 30, 200])
def test_eulers_identity_holds_at_any_depth(depth: int) -> None:
    """<grad f, x> = f for bias-free ReLU networks, relative to ||grad f|| ||x||."""
    generators = [stream(0, "euler", depth, index) for index in range(2)]
    x = random_inputs([stream(0, "x", index) for index in range(2)], 2, 20)
    value, gradient = MatrixFreeReLU.sample(generators, depth, 500, 20).value_and_gradient(x)
    assert ((gradient * x).sum(-1) - value).abs().max() <= 1e-12 * (gradient.norm(dim=-1) * x.norm(dim=-1)).max()


def test_the_ray_and_the_point_are_of_one_network() -> None:
    net = MatrixFreeReLU.sample([stream(0, "ray", index) for index in range(2)], 3, 80, 20)
    x = random_inputs([stream(0, "x", index) for index in range(2)], 3, 20)
    _, gradient = net.value_and_gradient(x)
    ray, t = net.ray(x, gradient), torch.full((2, 3), 0.3, dtype=torch.float64)
    assert torch.allclose(ray.at(t)[1], net.value_and_gradient(x + 0.3 * gradient)[0], atol=1e-12)
