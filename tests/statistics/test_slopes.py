"""Joint slopes: an exact plane gives its own, one axis gives scipy's."""

import numpy as np
from scipy import stats

from onestep.statistics.slopes import slopes


def test_a_plane_gives_its_own_slopes() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.log([10.0, 30, 100]), np.log([5.0, 50])))
    fitted = slopes(np.stack([2 - 0.5 * x + 0.25 * y, 1 + 3 * x]), x, y)
    assert np.allclose(fitted, [[-0.5, 0.25], [3, 0]])


def test_one_axis_is_scipys_regression() -> None:
    rng = np.random.default_rng(0)
    x, values = rng.normal(size=20), rng.normal(size=(3, 20))
    assert np.allclose(slopes(values, x)[:, 0], [stats.linregress(x, row).slope for row in values])
