"""The trained residual networks of `guarantees` (Figures 3 and 4), and the files that hold them.

A file holds the weights at the end and says how they were trained. Those at the start are drawn again by who reads it, to the bit: the
same network, untrained, can be attacked beside the trained one.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from onestep import memory
from onestep.data import binary, prepare
from onestep.errors import Mistake
from onestep.networks.residual import ARCHITECTURES, Architecture, ImageNetwork, narrowed
from onestep.provenance import certificate, code_digest, whole
from onestep.sampling import Progress
from onestep.seeds import stream
from onestep.training import standard
from onestep.training.standard import Checkpoint, Epoch, How

DRAWS = 20
"""So many networks in a row may be discarded."""


@dataclass(frozen=True)
class Setting:
    """What is trained, and how. A start depends on dataset, network, seed, width and the number of networks discarded before it alone."""

    dataset: str
    network: int
    seed: int
    how: How
    width: float = 1.0  # the share of the published filters
    images_used: int | None = None  # at most so many training images; all of them
    test_images: int | None = None  # likewise for the test accuracy

    @property
    def architecture(self) -> Architecture:
        """The published one, or narrower."""
        return narrowed(ARCHITECTURES["resnet"], self.width)

    def stream(self, *part: str | int) -> np.random.Generator:
        """The random stream of the network's part."""
        return stream(self.seed, "guarantees", "trained", self.dataset, self.network, *part)

    def start(self, attempt: int, side: int, channels: int, device: str = "cpu") -> ImageNetwork:
        """The network before its training, after so many that were discarded."""
        generator = self.stream(attempt)
        return ImageNetwork.sample(generator, self.architecture, side, channels, dtype=torch.float32, device=device)


@dataclass(frozen=True)
class Images:
    """What a network is trained and tested on."""

    train_x: Tensor  # [n, side * side * channels], in [0, 1]
    train_y: Tensor  # [n], +-1
    test_x: Tensor
    test_y: Tensor
    side: int
    channels: int
    chosen: NDArray[np.int64]  # the training images used, among those of the file   [n]
    data: dict[str, Any]  # what is known about the file's images


@dataclass(frozen=True)
class Facts:
    """What there is to know of a trained network."""

    setting: Setting
    data: dict[str, Any]  # what is known about its images; `onestep.data.prepare.title` names them
    file: str  # they lie there
    side: int
    channels: int
    train_accuracy: float  # on all images that it was trained on
    test_accuracy: float
    tested: int  # on so many test images
    epochs: int
    stop: str
    discarded: int  # networks that were drawn before it and did not begin to learn
    path: list[Epoch]
    images: NDArray[np.int64]  # those that it was trained on, among the training images of the file   [n]

    @property
    def used(self) -> int:
        """How many images it was trained on."""
        return len(self.images)


class Model(NamedTuple):
    """A trained network, the same one before its training, and what there is to know of it."""

    network: ImageNetwork
    start: ImageNetwork
    facts: Facts


def chosen(classes: NDArray[np.integer[Any]], count: int | None, generator: np.random.Generator) -> NDArray[np.int64]:
    """At most `count` images (None: all), drawn so that each class has its share to within one image; ascending."""
    if count is None or count >= len(classes):
        return np.arange(len(classes))
    shuffled = generator.permutation(len(classes))
    sorted_by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    return np.sort(sorted_by_class[(2 * np.arange(count) + 1) * len(classes) // (2 * count)])


def images(setting: Setting, file: Path) -> Images:
    """The images of a prepared data set that this network is trained and tested on."""
    arrays, info = prepare.read(file)
    if info["dataset"] != setting.dataset:
        raise Mistake(f"{file}: holds {info['dataset']}, not {setting.dataset}; name the file of that data set with --images")
    if info["side"] is not None:
        raise Mistake(f"{file}: its images were resized; prepare them without --side")
    _, side, _, channels = arrays["train_x"].shape

    def part(name: str, count: int | None) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        labels = arrays[f"{name}_y"]
        # Label and class, so that the classes of one label come together: then two images are enough to have both.
        kept = chosen(labels.astype(int) * 1000 + arrays[f"{name}_class"], count, setting.stream(f"{name} images"))
        if set(labels[kept].tolist()) != {-1, 1}:
            raise Mistake(f"{file}: its {name} images all have one label; choose classes that have images on both sides, or more images")
        scaled = arrays[f"{name}_x"][kept].astype(np.float32) / np.float32(255)
        return kept, torch.from_numpy(binary.flat(scaled, False)), torch.from_numpy(labels[kept].astype(np.float32))

    used, train_x, train_y = part("train", setting.images_used)
    _, test_x, test_y = part("test", setting.test_images)
    return Images(train_x, train_y, test_x, test_y, side, channels, used, info)


def train(setting: Setting, file: Path, out: Path, device: str = "cpu") -> None:
    """Trains a network, drawing another one in place of each that does not begin to learn, and writes it."""
    x = images(setting, file)
    memory.require(x.train_x.numel() + x.test_x.numel(), f"{len(x.train_x):,} images")
    progress = Progress(1)
    progress.cell()
    checkpoints = []
    for attempt in range(DRAWS):

        def order(epoch: int, attempt: int = attempt) -> NDArray[np.int64]:
            return setting.stream(attempt, "order", epoch).permutation(len(x.train_x))

        of = json.dumps({"setting": asdict(setting), "attempt": attempt, "images": x.data["digest"], "code": code_digest(__name__)})
        # One for each attempt: a network that is discarded again after a kill leaves its successor's alone.
        checkpoints.append(Checkpoint(out.with_name(f"{out.name}.{attempt}.checkpoint"), of))
        start = setting.start(attempt, x.side, x.channels, device)
        trained = standard.train(
            start, x.train_x, x.train_y, order, setting.how, checkpoints[-1], lambda step, steps: progress.say(step, steps, "step")
        )
        if trained.stop != "discarded":
            break
    else:
        raise Mistake(
            f"{DRAWS} networks in a row were right on less than {setting.how.least:.0%} of their images after an epoch;"
            " train on more images, or with another learning rate"
        )
    test_accuracy = standard.accuracy(trained.network, x.test_x.to(device), x.test_y.to(device))
    facts = Facts(
        setting=setting,
        data=x.data,
        file=str(file),
        side=x.side,
        channels=x.channels,
        train_accuracy=trained.accuracy,
        test_accuracy=test_accuracy,
        tested=len(x.test_x),
        epochs=len(trained.path),
        stop=trained.stop,
        discarded=attempt,
        path=trained.path,
        images=x.chosen,
    )
    write(out, trained.network, facts, device)
    for checkpoint in checkpoints:
        checkpoint.file.unlink(missing_ok=True)


def write(out: Path, network: ImageNetwork, facts: Facts, device: str = "cpu") -> None:
    """Writes a trained network."""
    parameters = asdict(facts.setting)
    born = certificate(parameters=parameters, modules=[__name__], inputs=[Path(facts.file)], seed=facts.setting.seed, device=device)
    tensors = {name: values.cpu().contiguous() for name, values in network.weights.items()} | {"images": torch.from_numpy(facts.images)}
    about = {name: value for name, value in asdict(facts).items() if name != "images"}
    with whole(out) as temporary:
        temporary.write_bytes(save(tensors, metadata={"model": json.dumps(about), "provenance": json.dumps(born)}))


def load(file: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """A network that `write` has written, and its start."""
    try:
        with safe_open(file, framework="pt") as stored:
            about = json.loads((stored.metadata() or {})["model"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            given = about.pop("setting")
            setting = Setting(**given | {"how": How(**given["how"])})
    except FileNotFoundError:
        raise Mistake(f"{file}: no such model; train it with `onestep guarantees train`") from None
    except (SafetensorError, KeyError, TypeError):
        raise Mistake(f"{file}: not a model of `onestep guarantees train`; remove it and train it again") from None
    path = [Epoch(**epoch) for epoch in about.pop("path")]
    facts = Facts(setting=setting, path=path, images=tensors.pop("images").numpy(), **about)
    start = setting.start(facts.discarded, facts.side, facts.channels)

    def placed(weights: dict[str, Tensor]) -> ImageNetwork:
        # Into tensors like those of the start: a file does not keep their layout in memory.
        like = {name: torch.empty_like(values).copy_(weights[name]) for name, values in start.weights.items()}
        return replace(start, weights={name: values.to(device, dtype) for name, values in like.items()})

    return Model(placed(tensors), placed(start.weights), facts)
