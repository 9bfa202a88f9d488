"""Training near initialisation, against SGD written out step by step in double precision, and against itself stopped and killed."""

from pathlib import Path

import numpy as np
import pytest

from onestep.errors import Mistake
from onestep.seeds import stream
from onestep.training import near_init
from onestep.training.near_init import NearInit, Training, distances

WIDTH, DIM, IMAGES, LR = 50, 12, 150, 0.1
"""An epoch is more than one block."""


def problem(width: int = WIDTH, scale: float = 1.0):
    """Two clouds on the unit sphere, starting weights and signs."""
    rng = stream(0, "near init", width)
    y = rng.choice([-1.0, 1.0], IMAGES)
    x = rng.standard_normal((IMAGES, DIM)) + 1.5 * y[:, None] * np.eye(DIM)[0]
    x = (scale * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return rng.standard_normal((width, DIM)).astype(np.float32), rng.choice([-1, 1], width).astype(np.float32), x, y


def order(epoch: int) -> np.ndarray:
    return stream(0, "near init order", epoch).permutation(IMAGES)


def near(radii=(), width: int = WIDTH, **changes) -> NearInit:
    weights, signs, x, y = problem(width)
    return NearInit(weights, signs, x, y, **({"lr": LR, "radii": list(radii), "order": order} | changes))


def plain(steps: int, width: int = WIDTH) -> np.ndarray:
    """W - W_0 after every step of SGD with one image at a step, [steps + 1, m, d], by nothing but its definition."""
    weights, signs, x, y = (part.astype(np.float64) for part in problem(width))
    w, seen = weights.copy(), [np.zeros_like(weights)]
    for step in range(steps):
        image = order(step // IMAGES)[step % IMAGES]
        u = w @ x[image]
        f = signs @ np.maximum(u, 0) / np.sqrt(width)
        slope = -y[image] / (1 + np.exp(y[image] * f))  # of the logistic loss
        w -= LR * slope * np.outer(signs * (u > 0), x[image]) / np.sqrt(width)
        seen.append(w - weights)
    return np.stack(seen)


def test_blocks_are_sgd() -> None:
    training = Training.start(problem()[0])
    net = near()
    for _ in range(2):
        net.epoch(training)
    expected = plain(300)[-1]
    assert training.steps == 300
    np.testing.assert_allclose(training.displacement, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_loss_and_errors_of_an_epoch_are_those_of_each_image_at_its_turn() -> None:
    weights, signs, x, y = problem()
    training = Training.start(weights)
    near().epoch(training)
    margins = []
    for step, displacement in enumerate(plain(IMAGES)[:-1]):
        image = order(0)[step]
        margins.append(y[image] * (signs @ np.maximum((weights + displacement) @ x[image], 0)) / np.sqrt(WIDTH))
    assert training.loss == pytest.approx(np.log1p(np.exp(-np.array(margins))).mean(), rel=1e-5)
    assert training.errors == (np.array(margins) <= 0).sum()


@pytest.mark.parametrize("width", [20, 50])
def test_the_weights_kept_are_the_last_inside_each_ball(width: int) -> None:
    radii = [0.5, 2.0, 3.0, 3.05]
    training, stop = near(radii, width).run(50)
    assert stop == "left"
    farthest = np.linalg.norm(plain(50 * IMAGES, width), axis=2).max(1)
    for radius, ball in zip(radii, training.left, strict=True):
        first_outside = int((farthest > radius / width**0.5).argmax())
        assert ball.steps == first_outside - 1
        assert ball.distance == pytest.approx(farthest[ball.steps], rel=1e-4)
        assert distances(ball.displacement).max() <= radius / width**0.5


def test_one_trajectory_serves_every_ball_to_the_bit() -> None:
    together, _ = near([1.0, 2.0, 3.0]).run(50)
    for index, radius in enumerate((1.0, 2.0, 3.0)):
        alone, _ = near([radius]).run(50)
        assert np.array_equal(alone.left[0].displacement, together.left[index].displacement)
        assert alone.left[0].steps == together.left[index].steps
    free, shared = Training.start(problem()[0]), Training.start(problem()[0])
    near().epoch(free)
    near([0.5, 1e3]).epoch(shared)
    assert np.array_equal(free.displacement, shared.displacement)


def test_the_check_is_skipped_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neurons are looked at in few blocks; where every neuron is looked at in every block the same weights are kept."""
    looked: list[int] = []
    squares = NearInit._squares

    def counted(displacement, *rest):
        looked.append(len(displacement))
        return squares(displacement, *rest)

    monkeypatch.setattr(NearInit, "_squares", staticmethod(counted))
    quick, stop = near([3.0], lr=0.001).run(5000)
    assert stop == "left"
    blocks = quick.steps / near_init.BLOCK
    assert sum(looked) < 0.1 * blocks * WIDTH
    always = near([3.0], lr=0.001)
    training = Training.start(problem()[0])
    while not training.left:
        training.known[:] = np.inf
        always.epoch(training)
    assert np.array_equal(training.left[0].displacement, quick.left[0].displacement)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_init, "BETWEEN_CHECKPOINTS", 0.0)
    whole, _ = near([1.0, 3.0], lr=0.03).run(50)
    checkpoint, epochs = tmp_path / "checkpoint", []

    def kill(training: Training) -> None:
        epochs.append(training.steps)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        near([1.0, 3.0], lr=0.03).run(50, checkpoint=checkpoint, seen=kill)
    assert Training.load(checkpoint).steps == 2 * IMAGES
    resumed, stop = near([1.0, 3.0], lr=0.03).run(50, checkpoint=checkpoint, seen=kill)
    assert stop == "left"
    assert np.array_equal(resumed.displacement, whole.displacement)
    for ours, theirs in zip(resumed.left, whole.left, strict=True):
        assert np.array_equal(ours.displacement, theirs.displacement)
        assert (ours.steps, ours.distance) == (theirs.steps, theirs.distance)


# ---------------------------------------------------------------------------------------------- the ends of a training


def test_a_ball_that_is_out_of_reach_is_not_left() -> None:
    training, stop = near([1.0, 1e6]).run(50)
    assert stop == "no progress"
    assert len(training.left) == 1
    assert training.steps < 50 * IMAGES


def test_no_epoch_is_left() -> None:
    training, stop = near([8.0]).run(1)
    assert (stop, training.steps, training.left) == ("epochs", IMAGES, [])


def test_without_a_ball_it_ends_when_all_is_learned() -> None:
    training, stop = near().run(500, learned=0.1)
    assert stop == "learned"
    assert training.loss < 0.1


def test_a_learning_rate_that_diverges_is_a_mistake() -> None:
    with pytest.raises(Mistake, match="diverged at a learning rate of 1e\\+40; take a smaller one"):
        near(lr=1e40).run(5)


def test_images_of_zeros_teach_nothing() -> None:
    weights, signs, x, y = problem()
    training, stop = NearInit(weights, signs, 0 * x, y, lr=LR, radii=[1.0], order=order).run(3)
    assert stop == "no progress"
    assert not training.displacement.any()
