"""What the analysis of learned functions and content found of one model, as numbers and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karat.analyses.attention.learned.simple import SIMPLE
from karat.analyses.kinds import Analysis

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FunctionsFound(Analysis):
    """The learned functions, content and positions, and accuracy with attention changed.

    L attention modules, H heads (NaN where a module has fewer than others), U units (learned functions of a score),
    S of them shown, C changes. Content and its formulas: `karat.analyses.attention.content`; units:
    `karat.analyses.attention.learned.fitted.Learned`, whose fields have the same names here; changes:
    `karat.analyses.attention.interventions.Rates`. No model is trained again.

    Args:
        images: number of images.
        labelled: whether their classes were known; else there are no changes.
        reason: why there are no units; empty where there are.
        moments: (L, H, 3), shares of the second moment of the weights by kind of pair, position and content.
        content_of_weights, content_of_output: (L, H), content shares.
        kept: (L, H, 2), share of the output's variance over images that is kept with weights replaced by their mean
            over pairs of a kind, and by their mean over images.
        lines_explain: (L, H), share of the output's variance over images that stays if each unit is replaced by its
            linear fit, the scores and values of the block being those of the trained model; NaN without units.
        place, share, r2, best, common, shown, curves, densities, lines: of the units; None without.
        changes: names of the changes.
        accuracy, low, high, difference, difference_low, difference_high: (C,).
    """

    images: int
    labelled: bool
    reason: str
    moments: Array
    content_of_weights: Array
    content_of_output: Array
    kept: Array
    lines_explain: Array
    place: NDArray[np.int64] | None
    share: Array | None
    r2: Array | None
    best: NDArray[np.int64] | None
    common: Array | None
    shown: NDArray[np.int64] | None
    curves: Array | None
    densities: Array | None
    lines: Array | None
    changes: tuple[str, ...]
    accuracy: Array
    low: Array
    high: Array
    difference: Array
    difference_low: Array
    difference_high: Array

    def numbers(self) -> Mapping[str, float]:
        found: dict[str, Any] = {
            "weights_by_kind_of_pair": np.nanmean(self.moments[..., 0]),
            "weights_by_position": np.nanmean(self.moments[..., 1]),
            "weights_by_content": np.nanmean(self.moments[..., 2]),
            "content_share_of_weights": np.nanmean(self.content_of_weights),
            "content_share_of_output": np.nanmean(self.content_of_output),
        }
        if np.isfinite(self.kept).any():
            found["output_kept_by_mean_weights"] = np.nanmean(self.kept[..., 1])
        if self.r2 is not None and self.best is not None:
            linear = self.r2[:, SIMPLE.index("linear")]
            found["units"] = float(len(linear))
            for name, quantile in (("lower_quartile", 25), ("median", 50), ("upper_quartile", 75)):
                found[f"linear_r2_{name}"] = np.percentile(linear, quantile)
            for number, name in enumerate(SIMPLE):
                found[f"units_nearest_{name}"] = (self.best == number).mean()
        if np.isfinite(self.lines_explain).any():
            found["output_explained_by_lines"] = np.nanmean(self.lines_explain)
        for name, accuracy in zip(self.changes, self.accuracy, strict=True):
            found[f"accuracy_{name.replace(' ', '_')}"] = accuracy
        return {name: float(value) for name, value in found.items()}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        empty = dict.fromkeys(("block", "head", "output", "key", "nearest", "low", "high"), "")
        for block, head in np.ndindex(*self.content_of_weights.shape):
            if np.isnan(self.content_of_weights[block, head]):
                continue  # this block has fewer heads
            where = {"block": block + 1, "head": head + 1}
            for name, value in self._of_head(block, head).items():
                yield {"what": name, **empty, **where, "value": value}
        for place, name in enumerate(self.changes):
            for what in ("accuracy", "difference"):
                low = self.low if what == "accuracy" else self.difference_low
                high = self.high if what == "accuracy" else self.difference_high
                ends = {"low": low[place], "high": high[place]}
                value = getattr(self, what)[place]
                yield {"what": f"{what}, {name}", **empty, **ends, "value": value}
        if self.place is None or self.r2 is None or self.best is None:
            return
        for (block, head, output, key), r2, best in zip(
            self.place, self.r2, self.best, strict=True
        ):
            where = {"block": block + 1, "head": head + 1, "output": output + 1}
            where |= {"key": "" if key < 0 else key + 1, "nearest": SIMPLE[best]}
            for name, value in zip(SIMPLE[1:], r2[1:], strict=True):
                yield {"what": f"R² of {name}", **empty, **where, "value": value}

    def _of_head(self, block: int, head: int) -> dict[str, float]:
        kind, position, content = self.moments[block, head]
        return {
            "weights by kind of pair": kind,
            "weights by position": position,
            "weights by content": content,
            "content share of weights": self.content_of_weights[block, head],
            "content share of output": self.content_of_output[block, head],
            "output kept by mean weights of a kind": self.kept[block, head, 0],
            "output kept by mean weights": self.kept[block, head, 1],
            "output explained by lines": self.lines_explain[block, head],
        }
