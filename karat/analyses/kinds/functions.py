"""The learned functions of scores, and how much of attention depends on what an image contains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from karat.analyses.attention.content import ContentShares
from karat.analyses.attention.interventions import (
    MeanWeights,
    Rates,
    batch_size,
    batches,
    correct_under_changes,
    has_scores,
    rates,
)
from karat.analyses.attention.learned.fitted import Learned, Lines, learned
from karat.analyses.attention.learned.scores import Gathered
from karat.analyses.attention.learned.simple import SIMPLE
from karat.analyses.attention.learned.table import UnitTable, unit_tables, with_lines
from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.observing import Seen, observed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from karat.analyses.pictures import Picture

Array = NDArray[np.float64]
MOST_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class Functions(Analysis):
    """The learned functions, content and positions, and accuracy with attention changed.

    L attention modules, H heads (NaN where a module has fewer than others), U units (learned functions of a score), S of them shown, C changes. Content and its
    formulas: `karat.analyses.attention.content`; units: `karat.analyses.attention.learned.fitted.Learned`, whose fields have the
    same names here; changes: `karat.analyses.attention.interventions.Rates`. No model is trained again.

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

    title: ClassVar[str] = "Learned functions, content and positions"

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

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        images = subject.images[:MOST_IMAGES]
        labels = None if subject.labels is None else subject.labels[:MOST_IMAGES]
        try:
            return cls._measured(subject.model, images, labels)
        except HostError as error:
            raise AnalysisError(str(error)) from error

    @classmethod
    @torch.no_grad()
    def _measured(cls, model: nn.Module, images: Tensor, labels: Tensor | None) -> Self:
        reason, tables = "", list[UnitTable]()
        try:
            tables = unit_tables(model)
        except AnalysisError as error:
            reason = str(error)
        gathered, content, mean = Gathered(tables), ContentShares(), MeanWeights()
        any_scores = False
        for seen in _passes(model, images, mean):
            content.first(seen)
            gathered.add(seen)
            any_scores = has_scores(seen)
        units, lines = learned(tables, gathered) if tables else (None, Lines([], []))
        errors = np.zeros(())
        for seen in _passes(model, images):
            content.second(seen)
            errors = errors + _errors_of_lines(seen, tables, lines)
        shares = content.found()
        known: Rates | None = None
        if labels is not None:
            context = partial(with_lines, tables, *lines) if tables else None
            known = rates(
                correct_under_changes(
                    model, images, labels, mean, has_scores=any_scores, lines=context
                )
            )
        explained = 1 - errors / np.where(shares.variance > 0, shares.variance, np.nan)
        return cls(
            images=len(images),
            labelled=labels is not None,
            reason=reason,
            moments=shares.moments,
            content_of_weights=shares.weights,
            content_of_output=shares.output,
            kept=shares.kept,
            lines_explain=explained,
            **_fields_of_units(units),
            changes=() if known is None else known.names,
            **_fields_of_rates(known),
        )

    def numbers(self) -> Mapping[str, float]:
        found = {
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

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        from karat.analyses.attention.function_pictures import pictures

        return pictures(arms)

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        from karat.analyses.attention.function_text import chapter

        return chapter(arms)


def functions(model: nn.Module, images: Tensor, labels: Tensor | None = None) -> Functions:
    """The learned functions of a model, and how much of its attention depends on content.

    Args:
        model: a supported host, with any attention.
        images: (I, C, H, W), as the model takes them; the first 512 are used.
        labels: (I,), their classes; without them accuracies are left out.

    Raises:
        AnalysisError: the model's attention cannot be looked into.
    """
    return Functions.measure(Subject(model=model, images=images, labels=labels))


def _passes(
    model: nn.Module, images: Tensor, mean: MeanWeights | None = None
) -> Iterator[list[Seen]]:
    """What attention formed, batch by batch; the weights are added to the mean."""
    with observed(model, change_weights=None if mean is None else mean.add) as seen:
        for part in batches(len(images), batch_size(model)):
            seen.clear()
            if mean is not None:
                mean.begin(len(part))
            model(images[part])
            yield list(seen)


def _errors_of_lines(seen: Sequence[Seen], tables: Sequence[UnitTable], lines: Lines) -> Array:
    """Squared error of the output with lines for functions, (L, H); NaN for heads without units."""
    found = torch.full((len(seen), max(each.layer.num_heads for each in seen)), torch.nan)
    context: AbstractContextManager[None] = with_lines(tables, *lines)
    with context:
        for table in tables:
            for number, heads in table.uses:
                each = seen[number]
                assert each.scores is not None
                keep = each.keep
                if keep is not None:
                    keep = keep.expand(each.scores.shape)[:, heads]
                out = table.part(each.scores[:, heads], each.values[:, heads], keep)
                error = (out.double() - each.out[:, heads].double()).square().sum((0, 2, 3))
                found[number, heads] = error.float()
    return found.double().numpy()


def _fields_of_units(units: Learned | None) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(Learned)]
    return {name: None if units is None else getattr(units, name) for name in names}


def _fields_of_rates(known: Rates | None) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(Rates) if each.name != "names"]
    return {name: np.zeros(0) if known is None else getattr(known, name) for name in names}
