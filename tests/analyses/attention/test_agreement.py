"""Agreement of heads, where it is known."""

import numpy as np
from numpy.typing import NDArray

from karat.analyses.attention.agreement import agreement, matched

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)
MEANS = RNG.normal(size=(2, 4, 9, 9))
ROWS = RNG.normal(size=(6, 2, 4, 9))


def test_a_model_agrees_with_itself_also_with_its_heads_in_another_order() -> None:
    order = [2, 0, 3, 1]
    for means, rows in ((MEANS, ROWS), (MEANS[:, order], ROWS[:, :, order])):
        for found in agreement((MEANS, means), (ROWS, rows)):
            np.testing.assert_allclose(found, 1)


def test_scale_and_offset_of_maps_do_not_count() -> None:
    np.testing.assert_allclose(matched(MEANS[:, :, 0], 3 * MEANS[:, :, 0] - 7), 1)


def test_unrelated_maps_have_a_small_correlation() -> None:
    first, second = RNG.normal(size=(2, 5, 3, 4000))
    assert (np.abs(matched(first, second)) < 0.1).all()


def test_what_all_images_have_in_common_is_no_agreement_of_single_maps() -> None:
    common = 10 * RNG.normal(size=(1, 1, 2, 400))
    first, second = (common + RNG.normal(size=(8, 1, 2, 400)) for _ in range(2))
    means = (first.mean(0)[..., None], second.mean(0)[..., None])
    of_means, of_single = agreement(means, (first, second))
    assert of_means > 0.9
    assert abs(of_single) < 0.1


def test_maps_that_do_not_vary_have_none() -> None:
    same = np.repeat(ROWS[:1], 6, 0)
    uniform = np.full_like(MEANS, 1 / 9)
    of_means, of_single = agreement((uniform, MEANS), (same, ROWS))
    assert np.isnan(of_means).all()
    assert np.isnan(of_single).all()
