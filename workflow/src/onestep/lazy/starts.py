"""The networks of `lazy` before they are trained: how a run is set up, its images, and where it starts.

f(x) = sum_s a_s relu(<w_s, x> + b_s) / sqrt(m) + c with a = +-1 fixed and w_s0 ~ N(0, I_d); b and c are 0 without a bias. A hidden bias
is one more input that is always 1, the first coordinate here, and is trained like the others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onestep.data import binary, prepare
from onestep.errors import Mistake
from onestep.seeds import stream

Array = NDArray[np.float32]
Protocol = Literal["corrected", "as_published"]
Bias = Literal["none", "torch", "normal", "zero"]
"""How hidden biases start: there are none; uniform on +-1/sqrt(d) as torch has them; N(0, 1); 0."""


@dataclass(frozen=True)
class Setting:
    """What is trained, and how. The starting weights depend on dataset, side, width, run and seed alone."""

    dataset: str
    side: int
    width: int
    run: int
    seed: int
    unit_norm: bool = True
    bias: Bias = "none"
    protocol: Protocol = "corrected"
    lr: float = 0.1
    epochs: int = 100
    learned: float = 1e-2  # the mean loss of an epoch below which a training that no ball ends does

    def stream(self, what: str, *more: int) -> np.random.Generator:
        """The random stream of the network's part `what`."""
        return stream(self.seed, "lazy", self.dataset, self.side, self.width, self.run, what, *more)


@dataclass(frozen=True)
class Images:
    """Vectors [n, d] (with a bias [n, 1 + d], the first coordinate 1), and labels +-1."""

    train_x: Array
    train_y: NDArray[np.float64]
    test_x: Array
    test_y: NDArray[np.float64]
    info: dict[str, Any]

    @property
    def lit(self) -> NDArray[np.int64]:
        """The coordinates that are not 0 in every training image."""
        return np.flatnonzero(self.train_x.any(0))


def images(setting: Setting, file: Path) -> Images:
    """The images of a prepared data set at the setting's side."""
    arrays, info = prepare.read(file)
    if info["dataset"] != setting.dataset:
        raise Mistake(f"{file}: holds {info['dataset']}, not {setting.dataset}; name the file of that data set with --images")
    for part in ("train", "test"):
        if not {-1, 1} <= set(arrays[f"{part}_y"].tolist()):
            raise Mistake(f"{file}: its {part} images all have one label; choose classes that have images on both sides")

    def vectors(part: str) -> Array:
        flat = binary.flat(binary.resized(arrays[f"{part}_x"], setting.side, resizing(setting)), setting.unit_norm)
        return flat if setting.bias == "none" else np.concatenate([np.ones((len(flat), 1), np.float32), flat], 1)

    return Images(vectors("train"), arrays["train_y"].astype(float), vectors("test"), arrays["test_y"].astype(float), info)


def resizing(setting: Setting) -> binary.Method:
    """How images are made smaller: the text says downsampled, the authors' code is bilinear without antialiasing."""
    return "area" if setting.protocol == "corrected" else "bilinear"


def start(setting: Setting, channels: int = 1) -> tuple[Array, Array, float]:
    """W_0 [m, d] (with a bias [m, 1 + d]), a [m] and the output bias c."""
    dim = setting.side**2 * channels
    weights = setting.stream("weights").standard_normal((setting.width, dim), dtype=np.float32)
    signs = setting.stream("signs").choice(np.array([-1, 1], np.float32), setting.width)
    if setting.bias == "none":
        return weights, signs, 0.0
    draw = setting.stream("bias")
    biases = {
        "torch": draw.uniform(-1, 1, setting.width) / dim**0.5,
        "normal": draw.standard_normal(setting.width),
        "zero": np.zeros(setting.width),
    }[setting.bias]
    # The authors' output layer has a bias of its own, +-1 over sqrt(m) like its weights.
    output = float(setting.stream("output bias").choice([-1, 1])) / setting.width**0.5 if setting.protocol == "as_published" else 0.0
    return np.concatenate([biases.astype(np.float32)[:, None], weights], 1), signs, output
