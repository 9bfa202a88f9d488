"""The data report: what data were really used, as one figure and one table."""

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from onestep import drawing
from onestep.data.prepare import read, title
from onestep.errors import Mistake
from onestep.provenance import certificate, write_certificate, write_text

_ACROSS = 5  # images in a line
_LINE = 1.12  # inches
_CHARACTERS = 50  # of text in a line of the right column
_HEADING = 38  # of bold text


def _lines(info: dict[str, Any]) -> list[list[tuple[str, str]]]:
    """The lines of images, each a list of (class, label): one for both sides where they fit, else each side on its own."""
    sides = [[(name, label) for name in info[side]] for side, label in (("negative", "−1"), ("positive", "+1"))]
    if len(sides[0]) + len(sides[1]) <= _ACROSS:
        return [sides[0] + sides[1]]
    return [side[start : start + _ACROSS] for side in sides for start in range(0, len(side), _ACROSS)]


def _balanced(text: str, width: int) -> str:
    """Text in as few lines of at most `width` characters as it takes, and those about equally long."""
    lines = len(textwrap.wrap(text, width))
    narrowest = min(w for w in range(1, width + 1) if len(textwrap.wrap(text, w)) == lines)
    return textwrap.fill(text, narrowest)


def _draw_mean(axes: Axes, images: NDArray[np.uint8], name: str, label: str | None, train: int, test: int) -> None:
    """The mean of images [n, h, w, c], below its class, above its numbers of images, beside its label where it is given."""
    axes.set_axis_on()
    axes.imshow(images.mean(axis=0) / 255, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(name, pad=2)
    axes.set_xlabel(f"{train:,} train\n{test:,} test", fontsize=7, labelpad=2)
    # A blank where there is no label keeps the columns equally far apart.
    axes.set_ylabel(f"label {label}" if label else " ", fontsize=7, labelpad=2)


def _describe(axes: Axes, info: dict[str, Any]) -> None:
    """The text beside a data set's images."""
    train, test = (sum(info["counts"][part].values()) for part in ("train", "test"))
    kind = {"md5": "MD5", "sha256": "SHA-256"}[next(iter(info["checksums"].values())).partition(":")[0]]
    sums = ", ".join(f"{name.rpartition('/')[2]} {digest.partition(':')[2][:8]}…" for name, digest in info["checksums"].items())
    text = [
        f"{info['description'][:1].upper()}{info['description'][1:]}.",
        f"{train:,} training and {test:,} test images.",
        f"{kind}: {sums}",
    ]
    heading = _balanced(title(info), _HEADING)
    body = "\n".join(textwrap.fill(paragraph, _CHARACTERS, break_long_words=False, break_on_hyphens=False) for paragraph in text)
    # The text may run on beside the next line of images, so it takes no part in the layout.
    common: dict[str, Any] = {"va": "top", "in_layout": False, "linespacing": 1.3}
    axes.annotate(heading, (0, 1), xycoords="axes fraction", fontsize=8, fontweight="bold", **common)
    below = -(heading.count("\n") + 1) * 8 * 1.3 - 4
    axes.annotate(body, (0, 1), (0, below), xycoords="axes fraction", textcoords="offset points", fontsize=7, **common)


def draw(datasets: Sequence[Path], out: Path, numbers: Path) -> None:
    """Draws each data set's mean images and their numbers, as PDF and SVG, and writes the numbers as a table."""
    found = [read(path) for path in datasets]
    if not found:
        raise Mistake(f"{out}: no data sets were given; name at least one")
    for path, (_, info) in zip(datasets, found, strict=True):
        if info["side"] is not None:
            raise Mistake(f"{path}: its images were resized; the report needs them in their own size, prepared without a side")
    count = sum(len(_lines(info)) for _, info in found)
    figure, axes = drawing.panels(count, _ACROSS + 1, _LINE * count, gridspec_kw={"width_ratios": [1.0] * _ACROSS + [4.6]})
    for one in axes:
        one.set_axis_off()
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["dataset", "images", "source", "class", "label", "train", "test"])
    place = 0
    for arrays, info in found:
        _describe(axes[place * (_ACROSS + 1) + _ACROSS], info)
        for line in _lines(info):
            for column, (name, label) in enumerate(line):
                train, test = (info["counts"][part][name] for part in ("train", "test"))
                members = arrays["train_x"][arrays["train_class"] == info["classes"].index(name)]
                first = column == 0 or line[column - 1][1] != label
                _draw_mean(axes[place * (_ACROSS + 1) + column], members, name, label if first else None, train, test)
                rows.writerow([info["dataset"], info["images"], info["source"], name, label.replace("−", "-"), train, test])
            place += 1
    born = certificate(parameters={"datasets": [str(path) for path in datasets]}, modules=["onestep.data_report"], inputs=datasets)
    drawing.save(figure, out, born)
    write_text(numbers, table.getvalue())
    write_certificate(numbers, born)
