"""Matrices that are never formed: one matrix in all their answers, frames, and awkward questions."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from onestep.networks.gaussian import Frame, GaussianMatrix
from onestep.networks.random_relu import RandomNetwork, Shape
from onestep.seeds import stream


def matrices(rows: int, columns: int, count: int = 2, dtype: torch.dtype = torch.float64) -> GaussianMatrix:
    return GaussianMatrix([stream(0, "matrix", index) for index in range(count)], rows, columns, 1.0, dtype)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_asked_for_all_columns_it_is_a_matrix_and_answers_like_it() -> None:
    lazy, x, y = matrices(40, 30), normal(2, 3, 30), normal(2, 3, 40)
    first = lazy.times(x), lazy.transposed_times(y)
    W = lazy.times(torch.eye(30, dtype=torch.float64).expand(2, 30, 30)).mT
    assert torch.allclose(first[0], x @ W.mT, atol=1e-12)
    assert torch.allclose(first[1], y @ W, atol=1e-12)
    assert not torch.isclose(W[0], W[1]).any()


@pytest.mark.parametrize("at_once", [1, 5])
def test_500_adaptive_questions_are_answered_by_one_matrix(at_once: int) -> None:
    """Each question is made of the answer before it, now and then nearly the same as an earlier one."""
    rows, columns = 700, 600
    lazy = matrices(rows, columns, count=1)
    right, left, images, transposed = [], [], [], []
    x = normal(1, at_once, columns)
    for step in range(250 // at_once):
        right.append(x)
        images.append(lazy.times(x))
        left.append(images[-1].relu() + 0.1 * normal(1, at_once, rows, seed=step))
        transposed.append(lazy.transposed_times(left[-1]))
        near = right[step // 2] + 1e-7 * normal(1, at_once, columns, seed=step)
        x = near if step % 3 == 0 else transposed[-1] / transposed[-1].norm() * 20 + normal(1, at_once, columns, seed=step)
    X, WX, Y, WtY = (torch.cat(part, 1)[0] for part in (right, images, left, transposed))
    scale = Y.norm(dim=1)[:, None] * X.norm(dim=1) * math.sqrt(rows)
    assert ((Y @ WX.mT - WtY @ X.mT).abs() / scale).max() < 1e-10
    again = lazy.times(X[None, ::25])
    assert ((again[0] - WX[::25]).norm(dim=1) / WX[::25].norm(dim=1)).max() < 1e-10


def test_in_single_precision_its_answers_are_of_one_matrix_too() -> None:
    lazy = matrices(400, 300, dtype=torch.float32)
    x = normal(2, 1, 300).float()
    right, left = [], []
    for step in range(30):
        right.append((x, lazy.times(x)))
        y = right[-1][1].relu() + 1e-3 * normal(2, 1, 400, seed=step).float()
        left.append((y, lazy.transposed_times(y)))
        x = right[step // 2][0] + 1e-3 * normal(2, 1, 300, seed=step).float() if step % 2 else left[-1][1]
    (X, WX), (Y, WtY) = ([torch.cat(part, 1) for part in zip(*pairs, strict=True)] for pairs in (right, left))
    scale = Y.norm(dim=-1)[:, :, None] * X.norm(dim=-1)[:, None] * math.sqrt(400)
    assert ((Y @ WX.mT - WtY @ X.mT).abs() / scale).max() < 1e-5


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-9, 1e-13, 0.0])
def test_a_block_of_questions_however_near_to_each_other_is_answered_by_one_matrix(spread: float) -> None:
    """At spreads of rounding size and at 0 the block is not worth an orthonormal basis, and the questions are asked one by one."""
    lazy, common = matrices(30, 20), normal(2, 1, 20)
    block = common + spread * normal(2, 4, 20, seed=1)
    answers = lazy.times(block)
    W = lazy.times(torch.eye(20, dtype=torch.float64).expand(2, 20, 20)).mT
    assert torch.allclose(answers, block @ W.mT, atol=1e-9)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_question_of_zeros_or_of_not_numbers_leaves_the_matrix_as_it_was(bad: float, count: int) -> None:
    lazy, untouched, x = matrices(20, 15), matrices(20, 15), normal(2, 2, 15)
    answer = lazy.times(torch.full((2, count, 15), bad, dtype=torch.float64))
    assert (answer == 0).all() if bad == 0 else answer.isnan().all()
    assert torch.equal(lazy.times(x), untouched.times(x))


def test_one_bad_question_does_not_spoil_its_neighbours() -> None:
    lazy, x = matrices(20, 15), normal(2, 3, 15)
    x[0, 1] = torch.nan
    answer = lazy.times(x)
    assert answer.isnan().any(-1).nonzero().tolist() == [[0, 1]]
    again = lazy.times(x)
    assert torch.allclose(again.nan_to_num(), answer.nan_to_num(), atol=1e-12)


def test_a_matrix_does_not_depend_on_its_neighbours() -> None:
    x, y = normal(3, 2, 12), normal(3, 2, 9)
    together, alone = matrices(9, 12, count=3), matrices(9, 12, count=1)
    for _ in range(2):
        assert torch.allclose(together.times(x)[0], alone.times(x[:1])[0], atol=1e-14)
        assert torch.allclose(together.transposed_times(y)[0], alone.transposed_times(y[:1])[0], atol=1e-14)


def test_some_of_the_matrices_know_what_they_were_asked() -> None:
    lazy, x = matrices(9, 12, count=3), normal(3, 2, 12)
    before = lazy.times(x)
    assert torch.allclose(lazy.only(torch.tensor([1, 2])).times(x[1:]), before[1:], atol=1e-13)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (5, 1)])
def test_sides_of_length_one(rows: int, columns: int) -> None:
    lazy = matrices(rows, columns)
    x, y = normal(2, 2, columns), normal(2, 2, rows)
    assert torch.allclose(y @ lazy.times(x).mT, lazy.transposed_times(y) @ x.mT, atol=1e-13)


def test_in_single_precision_questions_that_hardly_differ_do_not_wear_out_the_basis() -> None:
    """A march's questions, relu(u + t v) of 100,000 neurons on two rays at once, each a part in 10,000 away from the one before."""
    lazy, u, v = matrices(50, 100_000, count=1, dtype=torch.float32), normal(1, 2, 100_000).float(), normal(1, 2, 100_000, seed=1).float()
    asked = [(u + (1 + 1e-3 * step) * 0.1 * v).relu() for step in range(60)]
    answers = [lazy.times(question) for question in asked]
    for question, answer, again in zip(asked, answers, [lazy.times(question) for question in asked], strict=True):
        assert ((answer - again).norm(dim=-1) < 1e-3 * answer.norm(dim=-1)).all()
        assert (answer.norm(dim=-1) / question.norm(dim=-1) < 1.7 * math.sqrt(50)).all()


# ---------------------------------------------------------------------------------------------- frames


def test_directions_in_a_frame_have_the_inner_products_of_directions_in_the_space() -> None:
    """Of three N(0, I_7) vectors: lengths chi_7, cosines as between uniform directions. Level 1e-4 each; chi_6 is rejected."""

    def products(dim: int) -> tuple[np.ndarray, np.ndarray]:
        generators = [stream(0, "frame", dim, index) for index in range(20_000)]
        frame = Frame(dim, 3)
        vectors = torch.stack([frame.gaussian(generators, torch.float64) for _ in range(3)], 1)
        gram = (vectors @ vectors.mT).numpy()
        return gram[:, 2, 2], gram[:, 1, 2] / np.sqrt(gram[:, 1, 1] * gram[:, 2, 2])

    squares, cosines = products(7)
    cosine_law = stats.beta(3, 3, loc=-1, scale=2)
    assert stats.kstest(squares, stats.chi2(7).cdf).pvalue > 1e-4
    assert stats.kstest(cosines, cosine_law.cdf).pvalue > 1e-4
    squares, cosines = products(6)
    assert stats.kstest(squares, stats.chi2(7).cdf).pvalue < 1e-4
    assert stats.kstest(cosines, cosine_law.cdf).pvalue < 1e-4


def test_a_frame_that_is_full_says_so() -> None:
    frame = Frame(10, 2)
    for _ in range(2):
        frame.gaussian([stream(0, "full")], torch.float64)
    with pytest.raises(ValueError, match="a frame of 2 axes"):
        frame.gaussian([stream(0, "full")], torch.float64)


@pytest.mark.parametrize(("dim", "bias"), [(1, False), (2, False), (50, False), (50, True), (10**6, False)])
def test_in_a_frame_value_and_gradient_are_of_one_network(dim: int, bias: bool) -> None:
    """Euler's identity, and the first layer's share of it: with a bias, its coordinate is 1 and the gradient leaves it out."""
    shape = Shape(dim, (30, 30), bias=bias)
    net = RandomNetwork.sample([stream(0, "frame", index) for index in range(2)], shape, kind="matrix-free", room=4)
    x = net.inputs([stream(0, "x", index) for index in range(2)], 2)
    assert x.shape[-1] == min(dim, 4) + bias
    value, gradient = net.value_and_gradient(x)
    assert torch.allclose(x[..., int(bias) :].norm(dim=-1), torch.full_like(value, math.sqrt(dim)), rtol=1e-12)
    if bias:
        assert (x[..., 0] == 1).all()
        assert (gradient[..., 0] == 0).all()
        step = 1e-7 * gradient / gradient.norm(dim=-1, keepdim=True)
        change = net.forward(x + step)[1] - value
        assert torch.allclose(change, (gradient * step).sum(-1), rtol=1e-4)
    else:
        assert torch.allclose((gradient * x).sum(-1), value, atol=1e-11)


# ---------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("depth", [1, 3, 30, 200])
def test_eulers_identity_holds_at_any_depth(depth: int) -> None:
    """<grad f, x> = f for bias-free ReLU networks, relative to ||grad f|| ||x||."""
    generators = [stream(0, "euler", depth, index) for index in range(2)]
    net = RandomNetwork.sample(generators, Shape(20, (500,) * depth), kind="matrix-free")
    x = net.inputs([stream(0, "x", index) for index in range(2)], 2)
    value, gradient = net.value_and_gradient(x)
    assert ((gradient * x).sum(-1) - value).abs().max() <= 1e-12 * (gradient.norm(dim=-1) * x.norm(dim=-1)).max()


def test_the_ray_and_the_point_are_of_one_network() -> None:
    net = RandomNetwork.sample([stream(0, "ray", index) for index in range(2)], Shape(20, (80, 10, 60)), kind="matrix-free", room=6)
    x = net.inputs([stream(0, "x", index) for index in range(2)], 3)
    _, gradient = net.value_and_gradient(x)
    ray, t = net.ray(x, gradient), torch.full((2, 3), 0.3, dtype=torch.float64)
    assert torch.allclose(ray.at(t)[1], net.forward(x + 0.3 * gradient)[1], atol=1e-12)


def test_the_same_questions_to_the_same_streams_get_the_same_answers() -> None:
    def run() -> torch.Tensor:
        net = RandomNetwork.sample([stream(0, "again")], Shape(200, (50, 50)), kind="matrix-free", room=2)
        return torch.cat([part.ravel() for part in net.value_and_gradient(net.inputs([stream(0, "x")], 1))])

    assert torch.equal(run(), run())
