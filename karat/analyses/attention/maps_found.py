"""What the analysis of attention maps found of one model, as numbers and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karat.analyses.kinds import Analysis

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
MEASURES = (
    "entropy",
    "distance",
    "negative_share",
    "row_sum",
    "row_sum_sd",
    "frobenius_norm",
    "first_token_share",
    "largest_column_share",
    "largest_column_value",
)


@dataclass(frozen=True, kw_only=True)
class MapsFound(Analysis):
    """Class-token rows before and after the activation, attention rollout, and numbers by block and head.

    The paper shows the rows before the activation, without negatives (arXiv 2503.10632, Figures 3 to 5); here
    negatives stay. L attention modules, H heads, P patches, N tokens, S shown images, J compared images.

    Args:
        images: number of images behind the numbers.
        grid: rows and columns of patches.
        values: (L, H, 9), the numbers of `MEASURES`, means over images: entropy of rows of |weights| by log N (0 to
            1); distance in patches between a patch and those it weighs; share of Σ |w| that is negative; row sum,
            and its standard deviation over rows and images; Frobenius norm by the square root of N; shares of Σ |w|
            on the class token and in the column that has most; norm of that key's value by the mean norm. NaN where
            there is none.
        uniform_distance: in patches, of uniform weights.
        shown: (S, C, height, width), the shown images, scaled to 0 to 1 each.
        blocks: (B,), numbers of the blocks whose maps are shown: the first with a class token, a middle and the last.
        before, after: (B, S, H, P), the class token's row over the patches: scores (NaN without), and weights
            divided by the row's Σ |w| with the class token.
        rolled: (S, P), the class token's row of attention rollout (`karat.analyses.attention.measures.rollout`).
        mean_maps: (L', H, N, N), mean weights over the images, of the blocks with a class token.
        rows_per_image: (J, L', H, N), the class token's row of weights of the first images.
    """

    images: int
    grid: NDArray[np.int64]
    values: Array
    uniform_distance: float
    shown: Float32
    blocks: NDArray[np.int64]
    before: Float32
    after: Float32
    rolled: Float32
    mean_maps: Float32
    rows_per_image: Float32

    def numbers(self) -> Mapping[str, float]:
        return {
            name: float(np.nanmean(self.values[..., number]))
            for number, name in enumerate(MEASURES)
            if np.isfinite(self.values[..., number]).any()
        }

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for block, head in np.ndindex(*self.values.shape[:2]):
            yield {
                "block": block + 1,
                "head": head + 1,
                **dict(zip(MEASURES, self.values[block, head].tolist(), strict=True)),
            }
