"""What the analysis of similarity found of one model, as numbers and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karat.analyses.attention import cka
from karat.analyses.kinds import Analysis

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
CLASS_TOKEN, PATCHES = "class token", "mean of the patches"


@dataclass(frozen=True, kw_only=True)
class SimilarityFound(Analysis):
    """Linear CKA (Kornblith et al. 2019) of features after each block; its estimator: `karat.analyses.attention.cka`.

    Args:
        images: I, number of images.
        kinds: what the features are of: the class token (if there is one) and the mean of the patch tokens.
        features: (K, L, I, C), after each of L blocks; where blocks differ in width, filled up with zeros, which
            change nothing. NaN where there is no class token yet (ConViT).
    """

    images: int
    kinds: tuple[str, ...]
    features: Float32

    def grams(self, kind: str) -> list[Array]:
        """The products of features for `cka.of_grams`, by block."""
        return [cka.gram(block) for block in self.features[self.kinds.index(kind)]]

    def numbers(self) -> Mapping[str, float]:
        found = {}
        for kind in self.kinds:
            name = "class_token" if kind == CLASS_TOKEN else "patches"
            table = between(self.grams(kind), self.grams(kind))
            found[f"cka_first_and_last_block_{name}"] = table[0, -1]
            if len(table) > 1:
                found[f"cka_neighbouring_blocks_{name}"] = np.mean(np.diagonal(table, 1))
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for kind in self.kinds:
            table = between(self.grams(kind), self.grams(kind))
            for first, second in np.ndindex(*table.shape):
                yield {
                    "features": kind,
                    "block": first + 1,
                    "other_block": second + 1,
                    "cka": table[first, second],
                }


def between(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """CKA of each block of one model with each of another, from their `grams`."""
    return np.array([[cka.of_grams(a, b) for b in second] for a in first])
