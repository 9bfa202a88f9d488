"""Two classes, other sizes and unit norms, each against a computation of another kind."""

import os
from pathlib import Path

import numpy as np
import pytest

from onestep.data import binary, sources
from onestep.errors import Mistake

REAL = os.environ.get("ONESTEP_DATA")


def an_image_set(count: int = 30) -> sources.Images:
    """Random images whose classes take turns."""
    images = np.random.default_rng(0).integers(1, 256, (count, 6, 6, 1), np.uint8)
    labels = np.arange(count) % 10
    return sources.Images("mnist", "root", "random", images, labels, images[::-1], labels[::-1], tuple("0123456789"), {})


# ---------------------------------------------------------------- classes


def test_classes_keep_the_order_of_the_source() -> None:
    images = an_image_set()
    split = binary.two_classes(images, ["7", "1"], ["3"])
    kept = [index for index, label in enumerate(images.train_labels) if label in (1, 3, 7)]
    np.testing.assert_array_equal(split.train_x, images.train_images[kept])
    np.testing.assert_array_equal(split.train_y, [-1, 1, -1] * 3)
    np.testing.assert_array_equal(split.train_class, [1, 3, 7] * 3)
    np.testing.assert_array_equal(split.test_y, split.train_y[::-1])
    np.testing.assert_array_equal(split.test_x, split.train_x[::-1])
    assert (split.train_y.dtype, split.train_x.dtype, split.train_class.dtype) == (np.int8, np.uint8, np.uint8)


@pytest.mark.parametrize(
    ("negative", "positive", "named"),
    [(["0"], ["ship"], "'ship'"), (["0"], ["1", "0"], "'0'"), ([], ["1"], "-1"), (["1"], [], r"\+1"), (["1", "1"], ["0"], "'1'")],
)
def test_classes_that_make_no_two_sides(negative: list[str], positive: list[str], named: str) -> None:
    with pytest.raises(Mistake, match=rf"^mnist: .*{named}[^\n]*\Z"):
        binary.two_classes(an_image_set(), negative, positive)


@pytest.mark.skipif(REAL is None, reason="needs the real data under $ONESTEP_DATA; the same code runs on random images above")
def test_the_published_numbers_of_zeros_and_ones() -> None:
    split = binary.two_classes(sources.load("mnist", "root", Path(str(REAL))), ["0"], ["1"])
    assert (len(split.train_y), len(split.test_y)) == (12665, 2115)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 5, 7, 9, 11, 12])
def test_area_is_the_mean_over_repeated_pixels(side: int, channels: int) -> None:
    x = np.random.default_rng(side).integers(0, 256, (4, 12, 12, channels), np.uint8)
    # Each pixel repeated `side` times both ways, every new pixel is a block of 12 x 12 of those, whatever the side.
    fine = x.astype(float).repeat(side, axis=1).repeat(side, axis=2)
    blocks = fine.reshape(4, side, 12, side, 12, channels).mean((2, 4)) / 255
    found = binary.resized(x, side, "area")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, blocks, atol=1e-6)


@pytest.mark.parametrize("side", [1, 3, 5, 8, 11, 12])
def test_bilinear_is_the_formula(side: int) -> None:
    x = np.random.default_rng(side).integers(0, 256, (2, 12, 12, 3), np.uint8)
    found = binary.resized(x, side, "bilinear")
    assert found.dtype == np.float32
    for i in range(side):
        for j in range(side):
            # The centre of new pixel (i, j) in old coordinates, between the four old centres around it.
            v, h = (max((k + 0.5) * 12 / side - 0.5, 0.0) for k in (i, j))
            top, left = int(v), int(h)
            bottom, right = min(top + 1, 11), min(left + 1, 11)
            a, b = v - top, h - left
            rows = [(1 - b) * x[:, row, left] + b * x[:, row, right] for row in (top, bottom)]
            np.testing.assert_allclose(found[:, i, j], ((1 - a) * rows[0] + a * rows[1]) / 255, atol=1e-6)


@pytest.mark.parametrize("method", ["area", "bilinear"])
def test_the_native_side_changes_nothing(method: binary.Method) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), np.uint8)
    np.testing.assert_array_equal(binary.resized(x, 12, method), x.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("side", [0, -1, 13])
def test_a_side_out_of_range(side: int) -> None:
    with pytest.raises(Mistake, match=rf"^side: {side} [^\n]*1\.\.12[^\n]*\Z"):
        binary.resized(np.ones((1, 12, 12, 1), np.uint8), side, "area")


# ---------------------------------------------------------------- vectors


def test_flat_vectors_have_unit_norm() -> None:
    x = np.random.default_rng(0).random((5, 3, 3, 2), np.float32)
    plain, unit = binary.flat(x, False), binary.flat(x, True)
    np.testing.assert_array_equal(plain, [image.ravel() for image in x])
    assert unit.dtype == np.float32
    np.testing.assert_allclose((unit.astype(float) ** 2).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(np.cross(plain[:, :3], unit[:, :3]), 0, atol=1e-6)


def test_a_black_image_has_no_direction() -> None:
    x = np.ones((5, 2, 2, 1), np.float32)
    x[3] = 0
    assert binary.flat(x, False).shape == (5, 4)
    with pytest.raises(Mistake, match=r"^image 3 [^\n]*\Z"):
        binary.flat(x, True)
