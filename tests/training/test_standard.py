"""Training of image networks, against PyTorch's own layers and Adam in a plain loop, and against itself killed and gone on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from onestep.errors import Mistake
from onestep.networks.residual import Architecture, Block, Convolution, Dense, ImageNetwork
from onestep.seeds import stream
from onestep.training.standard import Checkpoint, Epoch, How, Trained, accuracy, train

SIDE, CHANNELS, IMAGES = 6, 2, 40
SMALL = Architecture(
    (
        Convolution(4),
        Block((Convolution(6, stride=2), Convolution(6, linear=True)), Convolution(6, 1, 2, linear=True)),
        Block((Convolution(6), Convolution(6, linear=True))),
        Dense(5),
    )
)


def start(dtype: torch.dtype = torch.float32) -> ImageNetwork:
    return ImageNetwork.sample(stream(0, "start"), SMALL, SIDE, CHANNELS, dtype=dtype)


def problem(contrast: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, brighter on the left for one label and on the right for the other."""
    rng = stream(0, "problem")
    y = np.where(np.arange(IMAGES) < IMAGES // 2, -1, 1)
    x = 0.5 * rng.random((IMAGES, SIDE, SIDE, CHANNELS))
    x[y > 0, :, : SIDE // 2] += contrast / 2
    x[y < 0, :, SIDE // 2 :] += contrast / 2
    return torch.from_numpy(x.reshape(IMAGES, -1)), torch.from_numpy(y)


def order(epoch: int) -> np.ndarray:
    return stream(0, "order", epoch).permutation(IMAGES)


def run(how: How, *, begin: ImageNetwork | None = None, contrast: float = 1.0, **options) -> Trained:
    return train(begin or start(), *problem(contrast), order, how, **options)


# ---------------------------------------------------------------------------------------------- against a plain loop


class Plain(nn.Module):
    """The same network from PyTorch's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "0": nn.Conv2d(CHANNELS, 4, 3, padding=1),
                "1-0": nn.Conv2d(4, 6, 3, stride=2),
                "1-1": nn.Conv2d(6, 6, 3, padding=1),
                "1-shortcut": nn.Conv2d(4, 6, 1, stride=2),
                "2-0": nn.Conv2d(6, 6, 3, padding=1),
                "2-1": nn.Conv2d(6, 6, 3, padding=1),
                "3": nn.Linear(6 * 9, 5),
                "4": nn.Linear(5, 2),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers = self.layers
        h = layers["0"](x.reshape(-1, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2)).relu()
        body = layers["1-1"](layers["1-0"](nn.ZeroPad2d((0, 1, 0, 1))(h)).relu())
        h = (body + layers["1-shortcut"](h)).relu()
        h = (layers["2-1"](layers["2-0"](h).relu()) + h).relu()
        return layers["4"](layers["3"](h.flatten(1)).relu())


def plain(how: How, penalised: str) -> tuple[dict[str, torch.Tensor], list[Epoch]]:
    """The weights behind all epochs, and the means of each epoch."""
    model, (x, y) = Plain().double(), problem()
    for name, values in start(torch.float64).weights.items():
        layer, what = name.rsplit(".", 1)
        with torch.no_grad():
            getattr(model.layers[layer.replace(".", "-")], what).copy_(values)
    kernels = [values for name, values in model.named_parameters() if name.endswith("weight")]
    squared = {"kernels": kernels, "all": list(model.parameters()), "decoupled": []}[penalised]
    kind = torch.optim.AdamW if penalised == "decoupled" else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=how.lr, eps=1e-7, weight_decay=2 * how.penalty if penalised == "decoupled" else 0)
    path = []
    for epoch in range(how.epochs):
        loss_sum = right = 0.0
        images = order(epoch)
        for first in range(0, IMAGES, how.batch):
            part = torch.from_numpy(images[first : first + how.batch])
            logits, labels = model(x[part]), (y[part] > 0).long()
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            (loss + how.penalty * sum((values**2).sum() for values in squared)).backward()
            optimizer.step()
            loss_sum += loss.item() * len(part)
            right += int((logits.argmax(1) == labels).sum())
        path.append(Epoch(loss_sum / IMAGES, right / IMAGES))
    weights = {name.removeprefix("layers.").replace("-", "."): values.detach() for name, values in model.named_parameters()}
    return weights, path


def farthest(trained: Trained, weights: dict[str, torch.Tensor], end: str) -> float:
    """The largest difference of any weight, or any bias."""
    assert set(trained.network.weights) == set(weights)
    return max(float((trained.network.weights[name] - values).abs().max()) for name, values in weights.items() if name.endswith(end))


STRONG = How(epochs=3, lr=3e-3, batch=12, penalty=0.05, least=0)
"""A penalty that is felt, a last batch that is smaller, and a few steps."""


def test_it_is_adam_on_the_cross_entropy_and_the_kernels_penalty() -> None:
    trained = run(STRONG, begin=start(torch.float64))
    weights, path = plain(STRONG, "kernels")
    assert farthest(trained, weights, "weight") < 1e-9
    assert farthest(trained, weights, "bias") < 1e-9
    for mine, expected in zip(trained.path, path, strict=True):
        assert mine.loss == pytest.approx(expected.loss, rel=1e-9)
        assert mine.accuracy == expected.accuracy


def test_a_penalty_on_biases_or_a_decay_beside_adam_would_be_seen() -> None:
    trained = run(STRONG, begin=start(torch.float64))
    assert farthest(trained, plain(STRONG, "all")[0], "bias") > STRONG.lr / 10
    assert farthest(trained, plain(STRONG, "decoupled")[0], "weight") > STRONG.lr / 10


def test_single_precision_follows_the_same_loop() -> None:
    how = How(epochs=1, batch=8, least=0)
    trained = run(how)
    weights, _ = plain(how, "kernels")
    assert all(values.dtype == torch.float32 for values in trained.network.weights.values())
    # A step is lr at most: the sign of a gradient that is nearly 0 may differ, the rest does not.
    differences = torch.cat([(trained.network.weights[name] - values).abs().flatten() for name, values in weights.items()])
    assert float((differences > 1e-3 * how.lr).double().mean()) < 0.02


# ---------------------------------------------------------------------------------------------- how it ends


def test_a_separable_problem_is_learned() -> None:
    trained = run(How(epochs=60, until=0.99, batch=8, least=0), contrast=0.5)
    assert trained.stop == "learned"
    assert 2 <= len(trained.path) < 60
    x, y = (part.float() for part in problem(0.5))
    assert trained.accuracy >= 0.99
    assert trained.accuracy == float((trained.network.value(x) * y > 0).double().mean()) == accuracy(trained.network, x, y)
    assert trained.path[-1].loss < trained.path[0].loss


def test_without_a_share_to_reach_all_epochs_are_trained() -> None:
    trained = run(How(epochs=4, lr=3e-3, batch=8, least=0))
    assert (trained.stop, len(trained.path)) == ("epochs", 4)


def test_the_start_is_left_as_it_was() -> None:
    begin = start()
    run(How(epochs=1, lr=3e-3, least=0), begin=begin)
    for name, values in start().weights.items():
        assert torch.equal(begin.weights[name], values)
        assert not begin.weights[name].requires_grad


def test_a_network_that_has_not_begun_to_learn_is_discarded_behind_its_first_epoch() -> None:
    share = run(How(epochs=1, lr=1e-7, least=0), contrast=0.0).accuracy
    below, above = (run(How(epochs=3, lr=1e-7, least=least), contrast=0.0) for least in (share + 0.01, share))
    assert (below.stop, len(below.path), below.accuracy) == ("discarded", 1, share)
    assert (above.stop, len(above.path)) == ("epochs", 3)


def test_a_training_that_diverges_is_a_mistake() -> None:
    with pytest.raises(Mistake, match=r"diverged at a learning rate of 1e\+12; take a smaller one"):
        run(How(epochs=20, lr=1e12, least=0))


# ---------------------------------------------------------------------------------------------- killed and gone on

LONG = How(epochs=3, lr=3e-3, batch=12, least=0)
STEPS = 12


def same(left: Trained, right: Trained) -> bool:
    weights = all(torch.equal(values, right.network.weights[name]) for name, values in left.network.weights.items())
    return weights and (left.path, left.accuracy, left.stop) == (right.path, right.accuracy, right.stop)


def killed(checkpoint: Checkpoint, at: int) -> None:
    """A training that is killed after so many steps, with a checkpoint behind the step before."""

    def seen(step: int, steps: int) -> None:
        assert steps == STEPS
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(LONG, checkpoint=checkpoint, seen=seen)


@pytest.mark.parametrize("at", [2, 5, 6, 12])
def test_it_goes_on_to_the_same_bits(at: int, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", "this one", seconds=0)
    killed(checkpoint, at)
    steps = []
    resumed = run(LONG, checkpoint=checkpoint, seen=lambda step, _: steps.append(step))
    assert steps == list(range(at, STEPS + 1))
    assert same(resumed, run(LONG))


def test_the_same_seed_gives_the_same_bits_and_another_order_does_not() -> None:
    x, y = problem()
    assert same(run(LONG), run(LONG))
    assert not same(run(LONG), train(start(), x, y, lambda epoch: order(epoch)[::-1].copy(), LONG))


@pytest.mark.parametrize("left", ["another", "no file of ours"])
def test_what_another_training_left_is_not_gone_on_from(left: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c", "another", seconds=0)
    killed(checkpoint, 5)
    if left != "another":
        checkpoint.file.write_text(left)
    assert same(run(LONG, checkpoint=Checkpoint(checkpoint.file, "this one")), run(LONG))
