"""The published bounds in closed form, at values worked out by hand and against what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from onestep.theory import bounds


def test_the_bounds_at_values_worked_out_by_hand() -> None:
    assert bounds.deep_gradient_bound([1, 3]) == pytest.approx([1 / 4, 1 / 16])
    assert bounds.deep_value_bound(math.exp(-4), 3) == pytest.approx(16)
    assert bounds.layer_norm_bound(2, 64) == pytest.approx(2)
    # (log e^4)^(2/2) (1 + sqrt(36/4)) 0.5
    assert bounds.image_radius_bound(0.5, 2, 36, 4, math.exp(4)) == pytest.approx(4 * 4 * 0.5)
    assert bounds.small_share_bound(0.5) == pytest.approx(math.sqrt(2 / math.pi))
    assert bounds.collapse_bound(math.e) == pytest.approx(math.exp(-0.5))


def test_the_first_layers_image_is_bounded_by_the_operator_norm_of_a_gaussian_matrix() -> None:
    """Without its logarithm the bound is E ||W_1|| R at most: 200 matrices 40 x 90, all below with (log d_max)^(1/2) = 2.1."""
    rng = np.random.default_rng(0)
    norms = [np.linalg.norm(rng.standard_normal((40, 90)) / math.sqrt(90), 2) for _ in range(200)]
    assert np.mean(norms) < float(bounds.image_radius_bound(1, 1, 40, 90, math.e))
    assert max(norms) < float(bounds.image_radius_bound(1, 1, 40, 90, 90))


@pytest.mark.parametrize(("alpha", "width", "delta"), [(0.1, 2000, 0.05), (0.3, 150, 0.3), (1.0, 40, 0.05)])
def test_where_the_proof_promises_the_share_of_small_numbers_it_holds(alpha: float, width: int, delta: float) -> None:
    """l = 3 layers of independent normal numbers: P(some share exceeds the bound) <= delta, exactly from the binomial law."""
    assert bounds.small_share_promised(alpha, width, 3, delta)
    p = 2 * stats.norm.cdf(alpha) - 1
    exceeds = stats.binom.sf(math.floor(width * float(bounds.small_share_bound(alpha))), width, p)
    assert 1 - (1 - exceeds) ** 3 <= delta


def test_a_layer_of_few_neurons_is_promised_nothing_at_a_small_alpha() -> None:
    assert not bounds.small_share_promised(0.01, 400, 3, 0.1)
