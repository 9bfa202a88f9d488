"""Random streams are named by what they are for."""

import numpy as np
from scipy import stats

from onestep.seeds import stream


def test_a_stream_depends_on_its_name_and_on_nothing_else() -> None:
    first = stream(1, "singlestep", 2, 100, "network", 7).standard_normal(5)
    stream(1, "another").standard_normal(1000)
    assert np.array_equal(first, stream(1, "singlestep", 2, 100, "network", 7).standard_normal(5))


def test_every_part_of_the_name_counts() -> None:
    names = [(1, "a", 1, 1), (2, "a", 1, 1), (1, "b", 1, 1), (1, "a", 2, 1), (1, "a", 1, 2), (1, "a", 11), (1, "a", 1)]
    drawn = {tuple(stream(*name).standard_normal(3)) for name in names}
    assert len(drawn) == len(names)


def test_streams_of_neighbouring_networks_are_independent_normals() -> None:
    """First numbers of 2,000 streams: Kolmogorov-Smirnov against N(0, 1) and lag-1 correlation, each at level 1e-3."""
    first = np.array([stream(0, "network", index).standard_normal() for index in range(2000)])
    assert stats.kstest(first, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 3.29 / np.sqrt(2000)
    assert stats.kstest(1.1 * first, "norm").pvalue < 1e-3 or stats.kstest(1.2 * first, "norm").pvalue < 1e-3
