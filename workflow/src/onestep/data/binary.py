"""Two classes out of a data set's own, images of another size, and vectors of unit length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onestep.data.sources import Images
from onestep.errors import Mistake

Method = Literal["area", "bilinear"]


@dataclass(frozen=True)
class Split:
    """Images of two groups of classes, in the order of their source."""

    train_x: NDArray[np.uint8]  # [n, h, w, c]
    train_y: NDArray[np.int8]  # [n], -1 or +1
    train_class: NDArray[np.uint8]  # [n], the source's own class
    test_x: NDArray[np.uint8]
    test_y: NDArray[np.int8]
    test_class: NDArray[np.uint8]


def two_classes(images: Images, negative: Sequence[str], positive: Sequence[str]) -> Split:
    """The images whose class is in `negative` (label -1) or in `positive` (label +1)."""
    signs = np.zeros(len(images.classes), np.int8)
    for sign, side in ((-1, negative), (1, positive)):
        if not side:
            raise Mistake(f"{images.name}: there is no class with the label {sign:+d}; name at least one")
        for name in side:
            if name not in images.classes:
                raise Mistake(f"{images.name}: there is no class {name!r}; it has {', '.join(images.classes)}")
            if signs[images.classes.index(name)] != 0:
                raise Mistake(f"{images.name}: class {name!r} is named twice; name it on one side, once")
            signs[images.classes.index(name)] = sign

    def part(x: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.uint8]]:
        kept = signs[labels] != 0
        return x[kept], signs[labels[kept]], labels[kept].astype(np.uint8)

    return Split(*part(images.train_images, images.train_labels), *part(images.test_images, images.test_labels))


def _overlaps(native: int, side: int) -> NDArray[np.float32]:
    """A [side, native]: the share of new pixel i, an interval of native / side old pixels, that lies in old pixel j."""
    edges = np.arange(side + 1)[:, None] * native / side
    shares = np.clip(np.minimum(edges[1:], np.arange(1, native + 1)) - np.maximum(edges[:-1], np.arange(native)), 0, None)
    return np.asarray(shares * side / native, np.float32)


def resized(x: NDArray[np.uint8], side: int, method: Method) -> NDArray[np.float32]:
    """x [n, h, h, c] as [n, side, side, c] in [0, 1]: exact means over areas, or bilinear without antialiasing."""
    count, native, _, channels = x.shape
    if not 1 <= side <= native:
        raise Mistake(f"side: {side} is not among 1..{native}; images are only made smaller")
    scaled = x.astype(np.float32) / np.float32(255)
    if method == "area":
        A = _overlaps(native, side)
        rows = (A @ scaled.reshape(count, native, native * channels)).reshape(count * side, native, channels)
        return (A @ rows).reshape(count, side, side, channels)
    import torch  # only here: preparing native images should not have to load it

    small = torch.nn.functional.interpolate(
        torch.from_numpy(scaled).permute(0, 3, 1, 2), size=(side, side), mode="bilinear", align_corners=False, antialias=False
    )
    found: NDArray[np.float32] = small.permute(0, 2, 3, 1).contiguous().numpy()
    return found


def flat(x: NDArray[np.float32], unit_norm: bool) -> NDArray[np.float32]:
    """x [n, side, side, c] as vectors [n, side * side * c], each divided by its l2 norm where `unit_norm`."""
    vectors = x.reshape(len(x), -1)
    if not unit_norm:
        return vectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not norms.all():
        raise Mistake(f"image {int(np.argmin(norms))} is all black and has no direction; take a larger side or leave unit norm out")
    return np.asarray(vectors / norms, np.float32)
