"""Histograms of different models, put into the same bins."""

import numpy as np
import pytest

from karat.analyses.geometry.histograms import BINS, counted, in_common, width_for


def values(scale: float) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=scale, size=1000)


def test_all_values_are_counted_and_the_width_is_a_power_of_two() -> None:
    for scale in (1e-6, 0.3, 40.0):
        own = values(scale)
        width = width_for(float(np.abs(own).max()))
        assert np.log2(width) == round(np.log2(width))
        edges = np.arange(-BINS // 2, BINS // 2 + 1) * width
        np.testing.assert_array_equal(counted(own, width), np.histogram(own, edges)[0])
    assert counted(np.array([1.0, -1.0]), width_for(1.0))[[0, -1]].tolist() == [1, 1]
    assert counted(np.zeros(3), width_for(0.0))[BINS // 2] == 3


@pytest.mark.parametrize("other", [0.02, 1.0, 30.0, 1e6])
def test_common_bins_count_as_numpy_does(other: float) -> None:
    both = values(1.0), values(other)
    widths = [width_for(float(np.abs(each).max())) for each in both]
    counts = [counted(each, width) for each, width in zip(both, widths, strict=True)]
    edges, found = in_common(counts, widths)
    assert len(edges) <= 65
    for own, each in zip(both, found, strict=True):
        np.testing.assert_array_equal(each, np.histogram(own, edges)[0])
        assert each.sum() == 1000
