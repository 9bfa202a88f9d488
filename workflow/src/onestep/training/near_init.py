"""SGD on a two-layer network that knows how far each neuron is from where it started.

f(x) = sum_s a_s relu(<w_s, x>) / sqrt(m), a fixed, logistic loss log(1 + exp(-y f)), one image at a step. The ball of radius C0 holds the
weights with max_s ||w_s - w_s0|| <= C0 / sqrt(m). One trajectory serves every C0: SGD does not know of the balls, so the last weights
inside each are those of a run that had stopped there, to the bit.

A block of K images x_1 .. x_K is a product with W, their Gram matrix and one update. At its turn image j sees the pre-activations

    u_j = W x_j + sum_{i < j} c_i <x_i, x_j>,     c_i = (lr / sqrt m) y_i sigma(-y_i f_i) a o 1[u_i > 0]

and behind the block W has grown by sum_i c_i x_i': this is plain SGD, up to rounding, while the m x d weights are touched once a block.
What is kept is the displacement D = W - W_0 itself, so that distances are not differences of large numbers.

A step moves no neuron by more than ||c_j||_inf ||x_j||. Neurons whose last known distance and all such steps since stay within a ball
cannot have left it; of the others the squared distance is followed exactly, step by step: it grows by 2 c_js <d_s, x_j> + c_js^2 ||x_j||^2.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from scipy import special

from onestep.errors import Mistake
from onestep.provenance import whole

Array = NDArray[np.float32]
Precise = NDArray[np.float64]

BLOCK = 128
"""Images whose steps are taken together: a longer block touches the weights less often."""
GROUP = 16
"""Of a block, images that hear of the steps before theirs one by one; of those before their group they hear in one product."""
BETWEEN_CHECKPOINTS = 60.0
"""Seconds."""
BETWEEN_LOOKS = 1.25
"""By how much the number of steps has grown when a training is looked at again."""

Stop = Literal["left", "learned", "no progress", "epochs"]
"""Every ball was left; the mean loss of an epoch is below the one asked for; at its last pace it would not leave the next ball in the
epochs left; no epoch is left."""


@dataclass(frozen=True)
class Left:
    """The last weights inside a ball."""

    displacement: Array  # W - W_0   [m, d]
    steps: int  # taken with them; one step more is outside
    distance: float  # the largest ||w_s - w_s0||


@dataclass
class Training:
    """A training under way: what a checkpoint holds, and all that the next step depends on."""

    displacement: Array  # [m, d]
    known: Precise  # last exact distances, less `travelled` then   [m]
    travelled: float = 0.0  # the sum of the longest moves of all steps
    steps: int = 0
    loss: float = np.nan  # mean over the last whole epoch, each image's at its turn
    errors: int = -1  # likewise: images on the wrong side
    left: list[Left] = field(default_factory=list)  # one for each of the balls that were left, in their order
    path: list[dict[str, float]] = field(default_factory=list)  # what was seen of it on its way, with the number of steps

    @classmethod
    def start(cls, weights: Array) -> "Training":
        """Nothing done yet."""
        return cls(np.zeros_like(weights), np.zeros(len(weights)))

    def save(self, path: Path) -> None:
        """Writes a checkpoint."""
        arrays: dict[str, NDArray[Any]] = {"displacement": self.displacement, "known": self.known}
        arrays |= {f"left-{index}": ball.displacement for index, ball in enumerate(self.left)}
        # JSON gives every float64 back as it was.
        numbers = {name: getattr(self, name) for name in ("travelled", "steps", "loss", "errors", "path")}
        numbers["left"] = [[ball.steps, ball.distance] for ball in self.left]
        with whole(path) as temporary:
            temporary.write_bytes(save(arrays, metadata={"training": json.dumps(numbers)}))

    @classmethod
    def load(cls, path: Path) -> "Training":
        """Reads a checkpoint: what goes on from it does so to the bit."""
        arrays = load_file(path)
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        numbers = json.loads(header["__metadata__"]["training"])
        left = [Left(arrays[f"left-{index}"], *ball) for index, ball in enumerate(numbers.pop("left"))]
        return cls(arrays["displacement"], arrays["known"], left=left, **numbers)


def distances(displacement: Array) -> Precise:
    """||w_s - w_s0|| of each neuron, [m]."""
    lengths: Precise = np.sqrt(np.einsum("sd,sd->s", displacement, displacement, dtype=np.float64))
    return lengths


class NearInit:
    """The training of one network, W_0 [m, d] and a [m], on images x [n, d] with labels y = +-1."""

    def __init__(
        self,
        weights: Array,
        signs: Array,
        x: Array,
        y: Precise,
        *,
        lr: float,
        radii: Sequence[float],
        order: Callable[[int], NDArray[np.int64]],
        look: Callable[[Array], dict[str, float]] | None = None,
    ) -> None:
        """`radii`: the C0, ascending; `order`: the images in the order of each epoch; `look`: what is noted of W - W_0 on the way."""
        self.weights, self.signs, self.x, self.y, self.lr, self.order, self.look = weights, signs, x, y, lr, order, look
        self.radii = [radius / len(weights) ** 0.5 for radius in radii]

    def run(
        self, epochs: int, learned: float = 0.0, checkpoint: Path | None = None, seen: Callable[[Training], None] | None = None
    ) -> tuple[Training, Stop]:
        """Trains to one of the stops, from the checkpoint where there is one; looks at the weights it ends with, too.

        `learned`: the mean loss of an epoch that is small enough; `seen` is called behind every epoch.
        """
        resumed = checkpoint is not None and checkpoint.is_file()
        training = Training.load(checkpoint) if resumed and checkpoint else Training.start(self.weights)
        stop = self._run(training, epochs, learned, checkpoint, seen)
        self._look(training, 1.0)
        return training, stop

    def _run(
        self, training: Training, epochs: int, learned: float, checkpoint: Path | None, seen: Callable[[Training], None] | None
    ) -> Stop:
        saved, before = time.perf_counter(), distances(training.displacement).max()
        while training.steps < epochs * len(self.x):
            self.epoch(training)
            if self.radii and len(training.left) == len(self.radii):
                return "left"
            if seen:
                seen(training)
            if not np.isfinite(training.loss):
                raise Mistake(f"the training diverged at a learning rate of {self.lr:g}; take a smaller one")
            if training.loss < learned:
                return "learned"
            reached = distances(training.displacement).max()
            if self.radii:
                to_go = self.radii[len(training.left)] - reached
                epochs_left = epochs - training.steps // len(self.x)
                if epochs_left and (reached - before) * epochs_left < to_go:
                    return "no progress"
            before = reached
            if checkpoint and time.perf_counter() - saved > BETWEEN_CHECKPOINTS:
                training.save(checkpoint)
                saved = time.perf_counter()
        return "epochs"

    @np.errstate(over="ignore", invalid="ignore")  # what diverges is told by `run`
    def epoch(self, training: Training) -> None:
        """Goes through all images once, or to where the last ball is left."""
        order = self.order(training.steps // len(self.x))
        losses, errors = 0.0, 0
        for start in range(0, len(order), BLOCK):
            margins = self._block(training, order[start : start + BLOCK])
            self._look(training, BETWEEN_LOOKS)
            losses += float(np.logaddexp(0, -margins).sum())
            errors += int((margins <= 0).sum())
            if self.radii and len(training.left) == len(self.radii):
                return
        training.loss, training.errors = losses / len(order), errors

    def _look(self, training: Training, growth: float) -> None:
        """Looks at the weights where the number of steps is more than `growth` times that of the last look."""
        if self.look and training.steps > growth * (training.path[-1]["steps"] if training.path else 0):
            training.path.append({"steps": training.steps, **self.look(training.displacement)})

    def _block(self, training: Training, images: NDArray[np.int64]) -> Precise:
        """The steps of a block; y f of each image at its turn."""
        x, y = self.x[images], self.y[images]
        gram, root = x @ x.T, len(self.weights) ** 0.5
        u = x @ (self.weights + training.displacement).T
        c, margins, longest = np.empty_like(u), np.empty(len(x)), np.empty(len(x))
        for j in range(len(x)):
            first = j - j % GROUP
            if j == first:
                u[j : j + GROUP] += gram[j : j + GROUP, :j] @ c[:j]
            else:
                u[j] += gram[j, first:j] @ c[first:j]
            active = self.signs * (u[j] > 0)
            margins[j] = y[j] * float(active @ u[j]) / root
            size = self.lr / root * special.expit(-margins[j])
            np.multiply(active, np.float32(size * y[j]), out=c[j])
            longest[j] = size * gram[j, j] ** 0.5
        self._leave(training, x, gram, c, longest.sum())
        training.displacement += c.T @ x
        training.travelled += float(longest.sum())
        training.steps += len(x)
        return margins

    def _leave(self, training: Training, x: Array, gram: Array, c: Array, reach: float) -> None:
        """Keeps the weights of every ball that is left in this block."""
        while len(training.left) < len(self.radii):
            radius = self.radii[len(training.left)]
            # Single precision adds its own errors to the displacement: neurons are looked at a little before they can have left.
            suspects = (training.known + (training.travelled + reach) > radius * (1 - 1e-4)).nonzero()[0]
            if not len(suspects):
                return
            inside = training.displacement[suspects]
            squares = self._squares(inside, x, gram, c[:, suspects])
            beyond = (squares > radius**2).any(1)
            if not beyond.any():
                training.known[suspects] = np.sqrt(squares[-1]) - training.travelled - reach
                return
            steps = int(beyond.argmax())
            displacement = training.displacement + c[:steps].T @ x[:steps]
            training.left.append(Left(displacement, training.steps + steps, float(distances(displacement).max())))

    @staticmethod
    def _squares(displacement: Array, x: Array, gram: Array, c: Array) -> Precise:
        """||d_s||^2 after each step of the block, [K, neurons]."""
        products = (x @ displacement.T).astype(np.float64)
        c, gram = c.astype(np.float64), gram.astype(np.float64)
        products += np.tril(gram, -1) @ c
        growth = 2 * c * products + c**2 * np.diag(gram)[:, None]
        return np.asarray(distances(displacement) ** 2 + growth.cumsum(0))
