"""Small trained networks, once for all tests: the digits that need no network."""

from pathlib import Path

import pytest

from onestep.data.prepare import prepare
from onestep.lazy import models
from onestep.lazy.models import UNCONSTRAINED
from onestep.lazy.starts import Setting

SIDES, WIDTH, RADII = [5, 8], 60, [2.0, 4.0]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("images") / "images.safetensors"
    prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, file)
    return file


def settings(**changes) -> list[Setting]:
    return [Setting("mnist-0-1", side, WIDTH, 0, 1, **changes) for side in SIDES]


@pytest.fixture(scope="session")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides, both balls, and no ball."""
    out = tmp_path_factory.mktemp("models") / "trained"
    models.train(settings(), [*RADII, UNCONSTRAINED], images, out)
    return out


@pytest.fixture(scope="session")
def published(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' code's protocol: pixels, a hidden bias and one of the output."""
    out = tmp_path_factory.mktemp("models") / "published"
    models.train(settings(unit_norm=False, bias="normal", protocol="as_published"), RADII, images, out)
    return out
