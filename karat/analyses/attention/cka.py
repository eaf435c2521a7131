"""Linear CKA: how alike two representations of the same images are, up to rotation and scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST_IMAGES = 4  # for the unbiased estimator


def cka(first_IC: Array, second_ID: Array) -> float:
    """Linear CKA of two matrices of features of the same images, with the unbiased estimator of HSIC.

    `HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))`, about 0 for independent features, also for few images and many
    features (it may be a little below), and 1 for equal ones up to rotation and a factor. Source: Kornblith et al.
    2019, arXiv 1905.00414; the estimator: Song et al. 2012, Journal of Machine Learning Research 13:1393, equation 5.

    Returns:
        NaN where features do not vary, or there are fewer than 4 images.
    """
    return of_grams(gram(first_IC), gram(second_ID))


def gram(features_IC: Array) -> Array:
    """Products of the features of each pair of images, with 0 on the diagonal, as the estimator takes them.

    Features are divided by their size and have mean 0, which changes nothing but rounding.
    """
    wide = features_IC.astype(float)
    centred = wide - wide.mean(0)
    size = np.abs(centred).max(initial=0.0)
    if not size > 1e-9 * np.abs(wide).max(initial=0.0):
        return np.full((len(wide), len(wide)), np.nan)
    found: Array = (centred / size) @ (centred / size).T
    np.fill_diagonal(found, 0.0)
    return found


def of_grams(first_II: Array, second_II: Array) -> float:
    """CKA of two matrices of `gram`."""
    if len(first_II) < LEAST_IMAGES:
        return math.nan
    both = _hsic(first_II, first_II) * _hsic(second_II, second_II)
    return _hsic(first_II, second_II) / math.sqrt(both) if both > 0 else math.nan


def _hsic(k: Array, m: Array) -> float:
    n = len(k)
    rows_k, rows_m = k.sum(1), m.sum(1)
    total = (k * m).sum() + rows_k.sum() * rows_m.sum() / ((n - 1) * (n - 2))
    return float((total - 2 * rows_k @ rows_m / (n - 2)) / (n * (n - 3)))
