"""Least-squares slopes of cell values on logarithms of cell coordinates."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def slopes(values: Array, *coordinates: Array) -> Array:
    """Slopes [R, P] of values [R, cells] on P coordinates [cells] jointly, with an intercept; one fit for each of R replicates."""
    design = np.column_stack([np.ones(len(coordinates[0])), *coordinates])
    return np.asarray(np.linalg.lstsq(design, values.T, rcond=None)[0][1:].T, dtype=np.float64)
