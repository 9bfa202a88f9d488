"""A prepared data set: one safetensors file with the arrays, where they came from, and their birth certificate."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from onestep.data import binary, sources
from onestep.errors import Mistake
from onestep.provenance import certificate, whole


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    """Digest of the arrays' names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def prepare(
    dataset: str,
    images: str,
    negative: Sequence[str],
    positive: Sequence[str],
    source: str,
    root: Path | None,
    out: Path,
    side: int | None = None,
    method: binary.Method = "area",
    unit_norm: bool = False,
) -> None:
    """Writes two classes of images: uint8 [n, h, w, c] as they are, or with a `side` float32 [n, side * side * c]."""
    if unit_norm and side is None:
        raise Mistake("unit norm: images of their own size stay whole numbers; name a side as well")
    loaded = sources.load(images, source, root)
    split = binary.two_classes(loaded, negative, positive)
    arrays: dict[str, NDArray[Any]] = dict(vars(split))
    if side is not None:
        for name in ("train_x", "test_x"):
            arrays[name] = binary.flat(binary.resized(arrays[name], side, method), unit_norm)
    info = {
        "dataset": dataset,
        "images": images,
        "source": source,
        "stand_in": source == "embedded",
        "description": loaded.description,
        "classes": list(loaded.classes),
        "negative": list(negative),
        "positive": list(positive),
        "counts": {
            part: {name: int((arrays[f"{part}_class"] == loaded.classes.index(name)).sum()) for name in (*negative, *positive)}
            for part in ("train", "test")
        },
        "side": side,
        "method": None if side is None else method,
        "unit_norm": unit_norm,
        "checksums": loaded.checksums,
        "digest": _digest(arrays),
    }
    if info["stand_in"]:
        print(f"STAND-IN DATA: {dataset} is not {sources.TITLES[images]} but a {loaded.description}", file=sys.stderr)
    sizes = f"{len(split.train_y):,} training and {len(split.test_y):,} test images"
    print(f"{dataset}: {sizes} of {loaded.description}", file=sys.stderr)
    parameters = {
        "dataset": dataset,
        "images": images,
        "negative": list(negative),
        "positive": list(positive),
        "source": source,
        "root": None if root is None else str(root),
        "side": side,
        "method": method,
        "unit_norm": unit_norm,
    }
    born = certificate(parameters=parameters, modules=["onestep.data.prepare"]) | {"inputs": loaded.checksums}
    with whole(out) as temporary:
        # Through memory: safetensors' own writing to files hides a full disk from `whole` behind its own kind of error.
        temporary.write_bytes(save(arrays, metadata={"provenance": json.dumps(born), "data": json.dumps(info)}))


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a prepared data set, and what is known about them."""
    if not path.is_file():
        raise Mistake(f"{path}: no such file; prepare the data set with `onestep data prepare`")
    try:
        with safe_open(path, framework="numpy") as stored:
            info: dict[str, Any] = json.loads((stored.metadata() or {})["data"])
            return {name: stored.get_tensor(name) for name in stored.keys()}, info  # noqa: SIM118
    except (SafetensorError, KeyError):
        raise Mistake(f"{path}: not a prepared data set; remove it and prepare it again") from None


def title(info: dict[str, Any]) -> str:
    """A data set's name for people, as `MNIST 0 versus 1`."""
    name = f"{sources.TITLES[info['images']]} {', '.join(info['negative'])} versus {', '.join(info['positive'])}"
    return f"STAND-IN for {name}" if info["stand_in"] else name
