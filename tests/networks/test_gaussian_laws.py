"""Exact in law: the joint law of what a matrix-free network answers is that of a dense one, and broken samplers are caught.

20,000 networks of either kind for each of three shapes. Six statistics: f(x), ||grad f(x)||, the first root along the gradient, and f at
three further points. Each marginal is compared by a Kolmogorov-Smirnov test, the joint law by a classifier that tries to tell the
kinds apart. Family-wise level 1e-3: 3 shapes x 7 tests, each at 1e-3 / 21.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from onestep.attacks.ray import SWITCHED, first_roots
from onestep.networks import random_relu
from onestep.networks.gaussian import GaussianMatrix, _Side
from onestep.networks.random_relu import Kind, RandomNetwork, Shape
from onestep.seeds import stream

pytestmark = pytest.mark.laws

NETWORKS, BLOCK, CAP = 20_000, 1000, 5.0
SHAPES = [(1, 60, 15), (2, 20, 12), (3, 12, 12)]  # depth, width, dimension
LEVEL = 1e-3 / (len(SHAPES) * 7)


class WithoutCrossCorrection(GaussianMatrix):
    """A new right answer forgets what the left ones have fixed."""

    @staticmethod
    def _fix(fresh: Tensor, directions: Tensor, there: _Side) -> None:
        fresh -= fresh @ there.directions.mT @ there.directions


class WithoutProjection(GaussianMatrix):
    """Fresh noise is added where the other side has fixed the answer already."""

    @staticmethod
    def _fix(fresh: Tensor, directions: Tensor, there: _Side) -> None:
        fresh += directions @ there.images.mT @ there.directions


def statistics(kind: Kind, name: str, depth: int, width: int, dim: int) -> np.ndarray:
    """[networks, 6]; networks of the two kinds and their inputs come from different streams. Those never formed live in a frame."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, NETWORKS, BLOCK):
            index = range(start, start + BLOCK)
            net = RandomNetwork.sample([stream(7, name, depth, i) for i in index], Shape(dim, (width,) * depth), kind=kind, room=4)
            x = net.inputs([stream(7, name, depth, "x", i) for i in index], 1)
            value, gradient = net.value_and_gradient(x)
            sign = torch.where(value < 0, -1.0, 1.0).double()
            roots = first_roots(net.ray(x, -sign[..., None] * gradient), sign, CAP)
            root = torch.where(roots.status == SWITCHED, roots.t, CAP)
            others = math.sqrt(dim) * net.directions([stream(7, name, depth, "y", i) for i in index], 2)
            points = torch.cat([0.8 * x + 0.6 * others[:, :1], others[:, 1:], x - 0.5 * gradient], 1)
            _, further = net.forward(points)
            yield torch.cat([value, gradient.norm(dim=-1), root, further], 1).numpy()

    return np.concatenate(list(blocks()))


def p_values(one: np.ndarray, other: np.ndarray) -> list[float]:
    """Six Kolmogorov-Smirnov tests, and a binomial test of how often a classifier recognises the kind on held-out networks."""
    marginals = [float(stats.ks_2samp(one[:, column], other[:, column]).pvalue) for column in range(6)]
    rows, kinds = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    order = np.random.default_rng(0).permutation(len(rows))
    train, test = np.array_split(order, 2)
    fitted = HistGradientBoostingClassifier(random_state=0, max_iter=60).fit(rows[train], kinds[train])
    right = int((fitted.predict(rows[test]) == kinds[test]).sum())
    return [*marginals, float(stats.binomtest(right, len(test), 0.5, alternative="greater").pvalue)]


Cell = tuple[int, int, int]


@pytest.fixture(scope="module")
def dense() -> dict[Cell, np.ndarray]:
    return {shape: statistics("dense", "dense", *shape) for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_free_networks_have_the_law_of_dense_ones(dense: dict[Cell, np.ndarray], shape: Cell) -> None:
    assert min(p_values(dense[shape], statistics("matrix-free", "free", *shape))) > LEVEL


@pytest.mark.parametrize("broken", [WithoutCrossCorrection, WithoutProjection])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_broken_samplers_are_caught(
    dense: dict[Cell, np.ndarray],
    shape: Cell,
    broken: type[GaussianMatrix],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random_relu, "GaussianMatrix", broken)
    assert min(p_values(dense[shape], statistics("matrix-free", "free", *shape))) < LEVEL
