"""Where images come from: each source on what it should read, and each thing that can be wrong with it."""

import os
import pickle
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onestep.data import sources
from onestep.errors import Mistake
from onestep.image_sets import CLASSES

REAL = os.environ.get("ONESTEP_DATA")
real = pytest.mark.skipif(REAL is None, reason="needs the real data under $ONESTEP_DATA; the same code runs on tiny files above")


def mistake(*names: object):
    """Expects a Mistake of one line that names everything in `names`."""
    return pytest.raises(Mistake, match="^" + "".join(f"(?=.*{re.escape(str(name))})" for name in names) + r"[^\n]*\Z")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder given, nothing downloaded, no network."""
    monkeypatch.delenv("ONESTEP_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray, np.ndarray]:
    """A root with tiny files in MNIST's format, whose checksums are taken for the canonical ones; its images and labels."""
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images, labels = np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8), np.arange(7, dtype=np.uint8)
    for stem in ("train", "t10k"):
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(b"".join(n.to_bytes(4, "big") for n in (0x803, 7, 28, 28)) + images.tobytes())
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(b"".join(n.to_bytes(4, "big") for n in (0x801, 7)) + labels.tobytes())
    root = tmp_path / "root"
    monkeypatch.setitem(sources.MD5, "mnist", {name: md5(root / name) for name in sources.MD5["mnist"]})
    return root, images, labels


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """A root with tiny files in CIFAR-10's format, whose checksums are taken for the canonical ones; one batch [3, 32, 32, 3]."""
    from onestep.data._torchvision import datasets

    root = tmp_path / "root"
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    for name in sources.MD5["cifar10"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        batch = {"data": pixels.transpose(0, 3, 1, 2).reshape(3, -1), "labels": [0, 9, 4], "label_names": list(CLASSES["cifar10"])}
        (root / name).write_bytes(pickle.dumps(batch))
    sums = {name: md5(root / name) for name in sources.MD5["cifar10"]}
    monkeypatch.setitem(sources.MD5, "cifar10", sums)
    short = [[Path(name).name, digest] for name, digest in sums.items()]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", short[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", short[5:6])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", short[6][1])
    return root, pixels


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with cifar10/{train,test}/CLASS, two training pictures and one test picture a class, of the class number's brightness."""
    monkeypatch.setattr(sources, "PICTURES", {"train": 2, "test": 1})
    for part, count in sources.PICTURES.items():
        for label, name in enumerate(CLASSES["cifar10"]):
            folder = tmp_path / "root" / "cifar10" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (20 * label,) * 3).save(folder / f"{index:04d}.jpg")
    return tmp_path / "root"


def md5(path: Path) -> str:
    """A file's MD5 by the system's own tool."""
    return subprocess.run(["md5sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]


# ---------------------------------------------------------------- which source


def test_resolve_loads_neither_torch_nor_torchvision() -> None:
    script = (
        "import sys; from onestep.data.sources import resolve; resolve('embedded', None);"
        " print([m for m in ('torch', 'torchvision', 'sklearn', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_auto_without_folder_and_network_is_embedded() -> None:
    assert sources.resolve("auto", None) == {"mnist": "embedded", "cifar10": "embedded"}


def test_a_name_server_that_never_answers_costs_at_most_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))
    start = time.monotonic()
    assert sources.resolve("auto", None) == {"mnist": "embedded", "cifar10": "embedded"}
    assert time.monotonic() - start < 5


def test_auto_with_network_is_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_reachable", lambda names: {"mnist"} & set(names))
    assert sources.resolve("auto", None) == {"mnist": "download", "cifar10": "embedded"}


def test_what_was_downloaded_needs_no_network(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    sources.DOWNLOAD.parent.mkdir(parents=True)
    mnist[0].rename(sources.DOWNLOAD)
    assert sources.resolve("auto", None) == {"mnist": "download", "cifar10": "embedded"}
    assert sources.load("mnist", "download", sources.DOWNLOAD).description == "MNIST (torchvision's download, MD5 checked)"


def test_auto_takes_from_the_folder_what_it_has(mnist: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"mnist": "root", "cifar10": "embedded"}
    assert sources.resolve("auto", str(mnist[0])) == wanted
    monkeypatch.setenv("ONESTEP_DATA", str(mnist[0]))
    assert sources.resolve("auto", None) == wanted
    assert sources.resolve("embedded", None) == {"mnist": "embedded", "cifar10": "embedded"}


def test_canonical_batches_are_preferred_to_pictures(batches: tuple[Path, np.ndarray], pictures: Path) -> None:
    assert sources.resolve("auto", str(pictures))["cifar10"] == "root"


def test_pictures_are_named_as_such(pictures: Path, mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    assert sources.resolve("root", str(pictures)) == {"mnist": "root", "cifar10": "root-jpeg"}


def test_root_of_each_source(tmp_path: Path) -> None:
    assert sources.root_of("embedded", None) is None
    assert sources.root_of("download", str(tmp_path)) == sources.DOWNLOAD
    assert sources.root_of("root", str(tmp_path)) == sources.root_of("root-jpeg", str(tmp_path)) == tmp_path


@pytest.mark.parametrize("data_source", ["auto", "root", "download", "embedded"])
def test_a_root_that_is_no_folder(data_source: str, tmp_path: Path) -> None:
    with mistake("data_root", tmp_path / "nowhere"):
        sources.resolve(data_source, str(tmp_path / "nowhere"))


def test_a_variable_that_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESTEP_DATA", str(tmp_path / "nowhere"))
    with mistake("$ONESTEP_DATA", tmp_path / "nowhere"):
        sources.resolve("auto", None)


def test_root_pinned_without_a_folder() -> None:
    with mistake("data_source", "$ONESTEP_DATA"):
        sources.resolve("root", None)


def test_root_pinned_without_the_data_set(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    with mistake(mnist[0], "CIFAR-10"):
        sources.resolve("root", str(mnist[0]))


def test_half_a_folder_of_mnist(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    missing = mnist[0] / "MNIST/raw/t10k-labels-idx1-ubyte"
    missing.unlink()
    with mistake(missing):
        sources.resolve("auto", str(mnist[0]))


def test_half_a_folder_of_batches(batches: tuple[Path, np.ndarray]) -> None:
    missing = batches[0] / "cifar-10-batches-py/data_batch_3"
    missing.unlink()
    with mistake(missing):
        sources.resolve("auto", str(batches[0]))


def test_half_a_folder_of_pictures(pictures: Path) -> None:
    (pictures / "cifar10/test/frog").rename(pictures / "frog")
    with mistake(pictures / "cifar10/test/frog"):
        sources.resolve("auto", str(pictures))


def test_download_pinned_without_network() -> None:
    with mistake("mnist", "out of reach"):
        sources.resolve("download", None)


# ---------------------------------------------------------------- canonical files


def test_mnist_is_read_as_written(mnist: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, images, labels = mnist
    found = sources.load("mnist", "root", root)
    for x, y in ((found.train_images, found.train_labels), (found.test_images, found.test_labels)):
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        np.testing.assert_array_equal(x[..., 0], images)
        np.testing.assert_array_equal(y, labels)
    assert found.description == "MNIST (torchvision's files, MD5 checked)"
    assert found.checksums["MNIST/raw/train-images-idx3-ubyte"] == "md5:" + md5(root / "MNIST/raw/train-images-idx3-ubyte")


def test_cifar_is_read_as_written(batches: tuple[Path, np.ndarray]) -> None:
    found = sources.load("cifar10", "root", batches[0])
    np.testing.assert_array_equal(found.train_images, np.concatenate([batches[1]] * 5))
    np.testing.assert_array_equal(found.test_images, batches[1])
    np.testing.assert_array_equal(found.train_labels, [0, 9, 4] * 5)
    assert found.train_labels.dtype == np.int64
    assert len(found.checksums) == 7


def test_the_checksums_of_cifar_are_torchvisions() -> None:
    from onestep.data._torchvision import datasets

    kind = datasets.CIFAR10
    listed = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    assert {f"{kind.base_folder}/{name}": digest for name, digest in listed} == sources.MD5["cifar10"]


@pytest.mark.parametrize("images", ["mnist", "cifar10"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_damaged_files(images: str, harm: str, mnist: tuple[Path, np.ndarray, np.ndarray], batches: tuple[Path, np.ndarray]) -> None:
    path = mnist[0] / list(sources.MD5[images])[2]
    content = path.read_bytes()
    if harm == "truncate":
        path.write_bytes(content[:-1])
    elif harm == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.unlink()
    with mistake(path):
        sources.load(images, "root", mnist[0])


def test_files_torchvision_cannot_read(batches: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    from onestep.data._torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda _: False)
    with mistake(batches[0], "CIFAR-10", "corrupted"):
        sources.load("cifar10", "root", batches[0])


@pytest.mark.parametrize(("source", "root"), [("root", None), ("root-jpeg", Path("x")), ("web", Path("x"))])
def test_a_source_that_mnist_has_not(source: str, root: Path | None) -> None:
    with mistake("mnist", source):
        sources.load("mnist", source, root)


# ---------------------------------------------------------------- download


def test_download_puts_the_files_in_place(mnist: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch, capsys) -> None:
    from onestep.data._torchvision import datasets

    monkeypatch.setattr(sources, "_reachable", set)
    monkeypatch.setattr(datasets, "MNIST", lambda folder, download: (mnist[0] / "MNIST").rename(Path(folder) / "MNIST"))
    found = sources.load("mnist", "download", tmp_path / "kept")
    np.testing.assert_array_equal(found.test_images[..., 0], mnist[1])
    assert "downloading" in capsys.readouterr().err
    assert not list((tmp_path / "kept").glob(".mnist.*[!k]"))


def test_download_without_network(tmp_path: Path) -> None:
    with mistake("mnist", tmp_path / "kept"):
        sources.load("mnist", "download", tmp_path / "kept")


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onestep.data._torchvision import datasets

    def stalls(folder: str, download: bool) -> None:
        assert socket.getdefaulttimeout() is not None
        (Path(folder) / "half").write_text("half")
        raise RuntimeError("Error downloading:\nTried one mirror\nTried another")

    monkeypatch.setattr(sources, "_reachable", set)
    monkeypatch.setattr(datasets, "CIFAR10", stalls)
    with mistake("cifar-10", tmp_path / "kept", "Tried another"):
        sources.load("cifar10", "download", tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [".cifar10.lock"]
    assert socket.getdefaulttimeout() is None


# ---------------------------------------------------------------- pictures


def test_pictures_are_read_class_by_class(pictures: Path) -> None:
    found = sources.load("cifar10", "root-jpeg", pictures)
    np.testing.assert_array_equal(found.train_labels, np.repeat(np.arange(10), 2))
    np.testing.assert_array_equal(found.test_labels, np.arange(10))
    np.testing.assert_allclose(found.train_images.mean((1, 2, 3)), 20 * np.repeat(np.arange(10), 2), atol=1)
    assert found.train_images.shape == (20, 32, 32, 3)
    assert "not the canonical bytes" in found.description


def test_the_digest_of_pictures_covers_every_byte(pictures: Path) -> None:
    last = pictures / "cifar10/test/truck/0000.jpg"
    content = last.read_bytes()
    digests = set()
    for changed in (content, content + b"\0", content + b"\1"):
        last.write_bytes(changed)
        digests |= set(sources.load("cifar10", "root-jpeg", pictures).checksums.values())
    assert len(digests) == 3


def test_a_picture_too_few(pictures: Path) -> None:
    (pictures / "cifar10/train/cat/0001.jpg").unlink()
    with mistake(pictures / "cifar10/train/cat", "1 pictures", "2"):
        sources.load("cifar10", "root-jpeg", pictures)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_picture_that_cannot_be_decoded(pictures: Path, content: bytes | None) -> None:
    path = pictures / "cifar10/train/cat/0001.jpg"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with mistake(path):
        sources.load("cifar10", "root-jpeg", pictures)


def test_a_picture_of_another_size(pictures: Path) -> None:
    path = pictures / "cifar10/train/cat/0001.jpg"
    Image.new("RGB", (31, 32)).save(path)
    with mistake(path, "31 x 32"):
        sources.load("cifar10", "root-jpeg", pictures)


# ---------------------------------------------------------------- stand-ins


def test_digits_stand_in_for_mnist() -> None:
    from sklearn.datasets import load_digits

    found = sources.load("mnist", "embedded", None)
    assert found.description == "stand-in for MNIST: scikit-learn's handwritten digits scaled up to 28 x 28"
    assert found.train_images.shape == (1200, 28, 28, 1)
    assert found.test_images.shape == (597, 28, 28, 1)
    images = np.concatenate([found.train_images, found.test_images])[..., 0].astype(float)
    np.testing.assert_array_equal(np.concatenate([found.train_labels, found.test_labels]), load_digits().target)
    # Averaged back over blocks of 7 x 7 of the picture repeated twice, the scaled picture looks like the small one.
    small = images.repeat(2, 1).repeat(2, 2).reshape(-1, 8, 7, 8, 7).mean((2, 4))
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small, load_digits().images, strict=True)]
    assert min(correlations) > 0.9


def test_patches_stand_in_for_cifar() -> None:
    from sklearn.datasets import load_sample_images

    found = sources.load("cifar10", "embedded", None)
    assert found.train_images.shape == (2000, 32, 32, 3)
    assert found.test_images.shape == (400, 32, 32, 3)
    assert np.bincount(found.train_labels).tolist() == [200] * 10
    assert np.bincount(found.test_labels).tolist() == [40] * 10
    assert len({patch.tobytes() for patch in found.train_images}) > 1900
    # Training patches are found left of the line that test patches lie right of, each in the band of its class.
    for images, labels, area in (
        (found.train_images[::97], found.train_labels[::97], slice(0, 448)),
        (found.test_images[::37], found.test_labels[::37], slice(448, 640)),
    ):
        for patch, label in zip(images, labels, strict=True):
            top = 85 * (label % 5)
            band = load_sample_images().images[label // 5][top : top + 85, area]
            windows = np.lib.stride_tricks.sliding_window_view(band, (32, 32, 3))[:, :, 0]
            assert (windows == patch).all((-3, -2, -1)).any()


# ---------------------------------------------------------------- the real data


@real
def test_the_real_mnist() -> None:
    found = sources.load("mnist", "root", Path(str(REAL)))
    assert np.bincount(found.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(found.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(found.train_images.mean() / 255, 4) == 0.1307  # the mean that everybody's normalisation uses


@real
def test_the_real_folder_is_resolved() -> None:
    assert sources.resolve("root", REAL)["mnist"] == "root"
