"""CKA, where it is known."""

import numpy as np
import pytest

from karat.analyses.attention.cka import cka

RNG = np.random.default_rng(0)


def test_rotated_scaled_and_shifted_features_are_the_same() -> None:
    features = RNG.normal(size=(50, 20))
    rotation, _ = np.linalg.qr(RNG.normal(size=(20, 20)))
    assert cka(features, features) == pytest.approx(1)
    assert cka(features, 3.7 * features @ rotation + 5) == pytest.approx(1)
    wider = np.pad(features @ rotation, ((0, 0), (0, 13)))  # more features that say nothing
    assert cka(features, wider) == pytest.approx(1)
    assert cka(1e-20 * features, 1e20 * features) == pytest.approx(1)


def test_independent_features_have_none_even_where_they_outnumber_the_images() -> None:
    found = [cka(RNG.normal(size=(40, 200)), RNG.normal(size=(40, 200))) for _ in range(50)]
    assert abs(np.mean(found)) < 0.02  # the biased estimator gives 0.83 here


def test_it_is_the_ratio_of_the_unbiased_estimates_by_their_definition() -> None:
    """HSIC as the mean over all quadruples of different images (Song et al. 2012, equation 4)."""
    from itertools import permutations

    y = RNG.normal(size=(6, 2)) ** 2
    x = np.c_[RNG.normal(size=(6, 3)), 3 * y]

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, m = a @ a.T, b @ b.T
        pairs = np.mean([k[i, j] * m[i, j] for i, j in permutations(range(6), 2)])
        quadruples = np.mean([k[i, j] * m[q, r] for i, j, q, r in permutations(range(6), 4)])
        triples = np.mean([k[i, j] * m[i, q] for i, j, q in permutations(range(6), 3)])
        return float(pairs + quadruples - 2 * triples)

    assert cka(x, y) == pytest.approx(hsic(x, y) / (hsic(x, x) * hsic(y, y)) ** 0.5)


def test_features_that_do_not_vary_or_too_few_images_have_none() -> None:
    features = RNG.normal(size=(10, 4))
    assert np.isnan(cka(features, np.ones((10, 4))))
    assert np.isnan(cka(features, np.full((10, 4), 1e6) + 1e-12 * features))
    assert np.isnan(cka(features[:3], features[:3]))
