"""The training of an image network on two classes, in minibatches, by Adam.

A step follows the gradient of

    mean over the batch of log(1 + exp(-y f(x)))  +  penalty * sum of the squares of all kernels,        y = +-1,

the first term being the cross entropy of the two logits; biases are not penalised. Adam's constants are Keras's (its epsilon is 1e-7).
A network that has not begun to learn behind its first epoch is given up: who called draws another one.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from onestep.errors import Mistake
from onestep.networks.residual import ImageNetwork
from onestep.provenance import whole

BETWEEN_CHECKPOINTS = 60.0
"""Seconds."""
AT_ONCE = 100
"""Images whose logits are computed together where nothing is learned from them."""
NEAR = 0.05
"""An epoch whose images, each at its turn, were right to within this of the share that is asked for is worth a look at all of them."""

Stop = Literal["learned", "epochs", "discarded"]
"""The share of images on the right side is the one asked for; no epoch is left; it was below the least in the first epoch and behind it."""


@dataclass(frozen=True)
class How:
    """How a network is trained; what is published, but for the number of epochs."""

    epochs: int  # at most
    until: float | None = None  # the share of training images on the right side at which it may end, behind an epoch
    lr: float = 1e-4
    batch: int = 32
    penalty: float = 1e-4
    least: float = 0.53  # likewise, below which it is discarded: in the first epoch, each image at its turn, and behind it


@dataclass(frozen=True)
class Checkpoint:
    """A file that a training which was killed goes on from, if it was the training that `of` names."""

    file: Path
    of: str
    seconds: float = BETWEEN_CHECKPOINTS


@dataclass(frozen=True)
class Epoch:
    """The means of an epoch, each image at its turn."""

    loss: float  # without the penalty
    accuracy: float


@dataclass(frozen=True)
class Trained:
    """What a training ends with."""

    network: ImageNetwork
    accuracy: float  # the share of all training images that it has on the right side
    path: list[Epoch]
    stop: Stop


@torch.inference_mode()
def accuracy(network: ImageNetwork, x: Tensor, y: Tensor) -> float:
    """The share of images x [n, d] that lie on the side of their labels y [n] = +-1."""
    right = [(network.value(part) > 0) == (label > 0) for part, label in zip(torch.split(x, AT_ONCE), torch.split(y, AT_ONCE), strict=True)]
    return float(torch.cat(right).double().mean())


@dataclass
class _Training:
    """A training under way: what a checkpoint holds, and all that the next step depends on."""

    network: ImageNetwork
    optimizer: torch.optim.Adam
    totals: Tensor  # of the present epoch so far: the sum of the losses, and how many were right   [2]
    steps: int = 0
    path: list[Epoch] = field(default_factory=list)

    @classmethod
    def start(cls, start: ImageNetwork, how: How) -> "_Training":
        """Nothing done yet; the network given stays as it is."""
        weights = {name: values.detach().clone().requires_grad_() for name, values in start.weights.items()}
        # Adam's weight decay, not AdamW's: it adds 2 penalty w to the gradient, which is the penalty's own.
        groups = [
            {"params": [values for name, values in weights.items() if name.endswith(end)], "weight_decay": decay}
            for end, decay in (("weight", 2 * how.penalty), ("bias", 0.0))
        ]
        optimizer = torch.optim.Adam([group for group in groups if group["params"]], lr=how.lr, eps=1e-7, fused=True)
        totals = torch.zeros(2, dtype=torch.float64, device=next(iter(weights.values())).device)
        return cls(replace(start, weights=weights), optimizer, totals)

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint."""
        tensors = {"totals": self.totals}
        for name, values in self.network.weights.items():
            moments = self.optimizer.state[values]
            tensors |= {name: values.detach(), f"{name}.first": moments["exp_avg"], f"{name}.second": moments["exp_avg_sq"]}
        # JSON gives every float64 back as it was.
        about = {"of": checkpoint.of, "steps": self.steps, "path": [[epoch.loss, epoch.accuracy] for epoch in self.path]}
        stored = {name: values.cpu().contiguous() for name, values in tensors.items()}
        with whole(checkpoint.file) as temporary:
            temporary.write_bytes(save(stored, metadata={"training": json.dumps(about)}))

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint, to the bit, if there is one of this training."""
        try:
            with safe_open(checkpoint.file, framework="pt") as stored:
                about = json.loads((stored.metadata() or {})["training"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError, KeyError):
            return
        if about["of"] != checkpoint.of:
            return
        self.steps, self.path = about["steps"], [Epoch(*epoch) for epoch in about["path"]]
        self.totals.copy_(tensors["totals"])
        for name, values in self.network.weights.items():
            # Copied into what is there: the layout in memory, which a file does not keep, decides how sums are rounded.
            with torch.no_grad():
                values.copy_(tensors[name])
            self.optimizer.state[values] = {
                "step": torch.tensor(float(self.steps), device=values.device),
                "exp_avg": torch.zeros_like(values).copy_(tensors[f"{name}.first"]),
                "exp_avg_sq": torch.zeros_like(values).copy_(tensors[f"{name}.second"]),
            }

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step on a batch x [B, d], y [B] = +-1."""
        margins = y * self.network.value(x)
        loss = functional.softplus(-margins).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        # On the device: asking for a number would wait for it.
        self.totals += torch.stack([loss.detach() * len(x), (margins > 0).sum()])
        self.steps += 1

    def close_epoch(self, images: int) -> Epoch:
        """The end of an epoch of so many images."""
        loss, right = (self.totals / images).tolist()
        self.totals.zero_()
        self.path.append(Epoch(loss, right))
        return self.path[-1]

    def trained(self, share: float, stop: Stop) -> Trained:
        """The end."""
        weights = {name: values.detach() for name, values in self.network.weights.items()}
        return Trained(replace(self.network, weights=weights), share, self.path, stop)


def train(
    start: ImageNetwork,
    x: Tensor,
    y: Tensor,
    order: Callable[[int], NDArray[np.int64]],
    how: How,
    checkpoint: Checkpoint | None = None,
    seen: Callable[[int, int], None] | None = None,
) -> Trained:
    """Trains on images x [n, d] with labels y [n] = +-1, where the network's weights are; `start` stays as it is.

    `order`: the images in the order of each epoch; `seen` is called behind every step, with the number of steps and that of all.
    The checkpoint is left for the caller to remove once the result is safe.
    """
    training = _Training.start(start, how)
    like = next(iter(start.weights.values()))
    x, y = x.to(like), y.to(like)
    if checkpoint:
        training.resume(checkpoint)
    # cuDNN would round single precision to TF32's 10 bits, and add in an order of its own.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
        return _train(training, x, y, order, how, checkpoint, seen)


def _train(
    training: _Training,
    x: Tensor,
    y: Tensor,
    order: Callable[[int], NDArray[np.int64]],
    how: How,
    checkpoint: Checkpoint | None,
    seen: Callable[[int, int], None] | None,
) -> Trained:
    saved, batches, images = time.perf_counter(), math.ceil(len(x) / how.batch), None
    while training.steps < how.epochs * batches:
        epoch, batch = divmod(training.steps, batches)
        if images is None or batch == 0:
            images = torch.split(torch.from_numpy(order(epoch)).to(x.device), how.batch)
        training.step(x[images[batch]], y[images[batch]])
        if batch + 1 == batches:
            ended = training.close_epoch(len(x))
            if not math.isfinite(ended.loss):
                raise Mistake(f"the training diverged at a learning rate of {how.lr:g}; take a smaller one")
            begun = epoch > 0 or ended.accuracy >= how.least
            if not begun or (how.until is not None and ended.accuracy >= how.until - NEAR):
                share = accuracy(training.network, x, y)
                if how.until is not None and share >= how.until:
                    return training.trained(share, "learned")
                if not begun and share < how.least:
                    return training.trained(share, "discarded")
        if seen:
            seen(training.steps, how.epochs * batches)
        if checkpoint and time.perf_counter() - saved >= checkpoint.seconds:
            training.save(checkpoint)
            saved = time.perf_counter()
    return training.trained(accuracy(training.network, x, y), "epochs")
