"""Where images come from: a folder, torchvision's download, or stand-ins that need no network.

The workflow calls `resolve` at each start, so nothing heavy is imported before images are loaded.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onestep.errors import Mistake
from onestep.image_sets import CLASSES

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
DOWNLOAD = Path("results/data/download")
"""Where torchvision's downloads are kept."""

MD5 = {
    "mnist": {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "cifar10": {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
}
"""The canonical files under a torchvision root and their MD5 sums."""

PICTURES = {"train": 5000, "test": 1000}
"""Pictures of each class in a folder cifar10/{train,test}/CLASS."""

_ADDRESSES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
}
_PATIENCE = 4.0  # seconds in which the network must answer
_STALLED = 30.0  # seconds without a byte after which a download has failed


@dataclass(frozen=True)
class Images:
    """A data set's images with its own classes, numbered as in `classes`."""

    name: str
    source: str
    description: str
    train_images: NDArray[np.uint8]  # [n, h, w, c]
    train_labels: NDArray[np.int64]  # [n]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    checksums: dict[str, str]  # what was read -> "md5:..." or "sha256:..."


# ---------------------------------------------------------------- which source


def given_root(data_root: str | None) -> Path | None:
    """The folder named by `data_root`, or else by $ONESTEP_DATA; None where neither names one."""
    name, given = ("data_root", data_root) if data_root else ("$ONESTEP_DATA", os.environ.get("ONESTEP_DATA"))
    if not given:
        return None
    if not Path(given).is_dir():
        raise Mistake(f"{name}: {given} is not a folder; name one that holds MNIST/raw, cifar-10-batches-py or cifar10/train, or none")
    return Path(given)


def root_of(source: str, data_root: str | None) -> Path | None:
    """The folder that `load` reads for a resolved source; None for the embedded stand-ins."""
    if source == "embedded":
        return None
    return DOWNLOAD if source == "download" else given_root(data_root)


def _missing(root: Path, images: str) -> list[Path]:
    """The canonical files that are not under `root`."""
    return [root / name for name in MD5[images] if not (root / name).is_file()]


def _in_root(root: Path, images: str) -> str | None:
    """The source that `root` is for a data set, or None where it has no trace of it; a part of it is a mistake."""
    if (root / next(iter(MD5[images])).partition("/")[0]).is_dir():
        if missing := _missing(root, images):
            raise Mistake(f"{missing[0]}: no such file, though its folder is there; complete {TITLES[images]} or remove the folder")
        return "root"
    if images == "cifar10" and (root / "cifar10").is_dir():
        for folder in (root / "cifar10" / part / name for part in PICTURES for name in CLASSES["cifar10"]):
            if not folder.is_dir():
                raise Mistake(f"{folder}: no such folder; CIFAR-10 needs cifar10/train and cifar10/test, each with its ten classes")
        return "root-jpeg"
    return None


def _reachable(names: Iterable[str]) -> set[str]:
    """The data sets whose download answers within the patience there is, name servers that never answer included."""
    found: set[str] = set()

    def ask(name: str) -> None:
        # Whatever goes wrong, from a proxy's refusal to a broken answer, is no answer.
        question = urllib.request.Request(_ADDRESSES[name], method="HEAD")
        with contextlib.suppress(Exception), urllib.request.urlopen(question, timeout=_PATIENCE):
            found.add(name)

    # Looking up a name knows no timeout, so each question has a thread that can be left behind.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return set(found)


def resolve(data_source: str, data_root: str | None) -> dict[str, str]:
    """The source really used for each data set: root, root-jpeg (picture files, perhaps recompressed), download or embedded."""
    root = given_root(data_root)
    if data_source == "embedded":
        return dict.fromkeys(CLASSES, "embedded")
    if data_source == "root" and root is None:
        raise Mistake("data_source: root, but neither data_root nor $ONESTEP_DATA names a folder; name one or choose another data_source")
    resolved: dict[str, str] = {}
    if root is not None and data_source != "download":
        for name in CLASSES:
            if found := _in_root(root, name):
                resolved[name] = found
            elif data_source == "root":
                raise Mistake(f"{root}: there is no {TITLES[name]} in this folder; add it or choose another data_source")
    for name in CLASSES:
        if name not in resolved and not _missing(DOWNLOAD, name):
            resolved[name] = "download"
    unknown = [name for name in CLASSES if name not in resolved]
    reachable = _reachable(unknown)
    for name in unknown:
        if data_source == "download" and name not in reachable:
            where = f"{_ADDRESSES[name]}: out of reach, and {DOWNLOAD} does not hold {TITLES[name]}"
            raise Mistake(f"{where}; mend the network or choose another data_source")
        resolved[name] = "download" if name in reachable else "embedded"
    return {name: resolved[name] for name in CLASSES}


# ---------------------------------------------------------------- canonical files


def _verified(root: Path, images: str) -> dict[str, str]:
    """The checksums of a data set's canonical files, each as it must be."""
    if missing := _missing(root, images):
        raise Mistake(f"{missing[0]}: no such file; put {TITLES[images]}'s files there or choose another data_source")
    for name, wanted in MD5[images].items():
        try:
            with (root / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "md5").hexdigest()
        except OSError as error:
            raise Mistake(f"{root / name}: cannot be read ({error.strerror}); mend its permissions") from None
        if found != wanted:
            raise Mistake(f"{root / name}: damaged, its MD5 is {found} and not {wanted}; remove it and put the original there")
    return {name: f"md5:{digest}" for name, digest in MD5[images].items()}


def _canonical(images: str, source: str, root: Path) -> Images:
    """MNIST or CIFAR-10 from torchvision's files under `root`."""
    from onestep.data._torchvision import datasets

    checksums = _verified(root, images)
    parts: list[NDArray[Any]] = []
    try:
        for train, stem in ((True, "train"), (False, "t10k")):
            if images == "mnist":
                # The class MNIST would prefer an old MNIST/processed to the files that were just verified; its readers do not.
                raw = root / "MNIST" / "raw"
                parts.append(datasets.mnist.read_image_file(str(raw / f"{stem}-images-idx3-ubyte")).numpy()[..., None])
                parts.append(datasets.mnist.read_label_file(str(raw / f"{stem}-labels-idx1-ubyte")).numpy())
            else:
                part = datasets.CIFAR10(root, train=train)
                parts += [part.data, np.array(part.targets, np.int64)]
    except RuntimeError as error:
        raise Mistake(f"{root}: torchvision cannot read {TITLES[images]} ({_line(error)}); put the original files there") from None
    train_images, train_labels, test_images, test_labels = parts
    whence = "download" if source == "download" else "files"
    description = f"{TITLES[images]} (torchvision's {whence}, MD5 checked)"
    return Images(images, source, description, train_images, train_labels, test_images, test_labels, CLASSES[images], checksums)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _download(images: str, root: Path) -> None:
    """Fetches a data set's canonical files into `root`, all of them or none."""
    from onestep.data._torchvision import datasets

    patience = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Two jobs may want the same files at the same time: the second waits for the first.
        with (root / f".{images}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _missing(root, images):
                return
            if not _reachable([images]):
                raise OSError("the network does not answer")
            print(f"{TITLES[images]}: downloading with torchvision into {root}", file=sys.stderr, flush=True)
            socket.setdefaulttimeout(_STALLED)
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{images}.") as temporary:
                {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[images](temporary, download=True)
                for name in MD5[images]:
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(temporary) / name).replace(root / name)
    except Exception as error:  # torchvision lets through whatever networks, archives and disks raise
        where = f"{_ADDRESSES[images]}: the download into {root} failed ({_line(error)})"
        raise Mistake(f"{where}; try again or choose another data_source") from None
    finally:
        socket.setdefaulttimeout(patience)


# ---------------------------------------------------------------- a folder of pictures


def _decoded(path: Path, content: bytes) -> NDArray[np.uint8]:
    """One picture [32, 32, 3]."""
    from PIL import Image

    try:
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, SyntaxError, ValueError):  # what PIL raises for broken files of its various formats
        raise Mistake(f"{path}: not a readable picture; remove what does not belong there and put the original in its place") from None
    if picture.shape != (32, 32, 3):
        raise Mistake(f"{path}: the picture is {picture.shape[1]} x {picture.shape[0]} pixels; CIFAR-10's are 32 x 32")
    return picture


def _pictures(root: Path) -> Images:
    """CIFAR-10 from picture files in cifar10/{train,test}/CLASS under `root`, class by class."""
    digest = hashlib.sha256()
    parts: list[NDArray[Any]] = []
    for part, count in PICTURES.items():
        files: list[Path] = []
        for name in CLASSES["cifar10"]:
            folder = root / "cifar10" / part / name
            found = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
            if len(found) != count:
                raise Mistake(f"{folder}: {len(found):,} pictures where CIFAR-10 has {count:,}; put the whole set there")
            files += found
        images = np.empty((len(files), 32, 32, 3), np.uint8)
        for index, path in enumerate(files):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise Mistake(f"{path}: cannot be read ({error.strerror}); mend it") from None
            digest.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode() + content)
            images[index] = _decoded(path, content)
        parts += [images, np.repeat(np.arange(len(CLASSES["cifar10"])), count)]
    description = "CIFAR-10 as a folder of picture files (the same pictures, perhaps recompressed as JPEG: not the canonical bytes)"
    checksums = {"all files of cifar10": f"sha256:{digest.hexdigest()}"}
    return Images("cifar10", "root-jpeg", description, parts[0], parts[1], parts[2], parts[3], CLASSES["cifar10"], checksums)


# ---------------------------------------------------------------- stand-ins


def _digits() -> Images:
    """Stand-in for MNIST: scikit-learn's 1,797 digits, the first 1,200 for training."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = (digits.images * (255 / 16)).astype(np.float32)
    large = np.stack([np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR)) for image in small])
    images = large.round().astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    description = "stand-in for MNIST: scikit-learn's handwritten digits scaled up to 28 x 28"
    checksums = {"scikit-learn's digits": f"sha256:{hashlib.sha256(digits.data.tobytes()).hexdigest()}"}
    return Images("mnist", "embedded", description, images[:1200], labels[:1200], images[1200:], labels[1200:], CLASSES["mnist"], checksums)


def _patches() -> Images:
    """Stand-in for CIFAR-10: patches of two photographs [427, 640, 3], a class being one of five horizontal bands of one of them."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    bands = [photograph[top : top + 85] for photograph in photographs for top in range(0, 425, 85)]

    def grid(area: slice, rows: int, columns: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Patches at rows x columns evenly spread places of each band's `area`, the classes taking turns."""
        found = []
        for top in np.linspace(0, 85 - 32, rows).astype(int):
            for left in np.linspace(area.start, area.stop - 32, columns).astype(int):
                found += [band[top : top + 32, left : left + 32] for band in bands]
        return np.stack(found), np.tile(np.arange(len(bands)), rows * columns)

    # Training patches lie left of column 448 and test patches right of it: no pixel is in both.
    train_images, train_labels = grid(slice(0, 448), 10, 20)
    test_images, test_labels = grid(slice(448, 640), 5, 8)
    description = "stand-in for CIFAR-10: 32 x 32 patches of scikit-learn's two sample photographs, its ten classes being ten regions"
    pixels = hashlib.sha256(b"".join(photograph.tobytes() for photograph in photographs)).hexdigest()
    checksums = {"scikit-learn's photographs": f"sha256:{pixels}"}
    return Images("cifar10", "embedded", description, train_images, train_labels, test_images, test_labels, CLASSES["cifar10"], checksums)


def load(images: str, source: str, root: Path | None) -> Images:
    """The images of a data set from a resolved source; `root` is the folder they are in, or are downloaded into."""
    if source == "embedded":
        return _digits() if images == "mnist" else _patches()
    if root is None:
        raise Mistake(f"{images}: the source {source!r} needs a folder; name it with --root")
    if source == "root-jpeg" and images == "cifar10":
        return _pictures(root)
    if source == "download":
        _download(images, root)
    elif source != "root":
        raise Mistake(f"{images}: there is no source {source!r} of it; choose root, download or embedded")
    return _canonical(images, source, root)
