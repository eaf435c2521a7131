"""The learned functions of scores, and how much of attention depends on what an image contains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from karat.analyses.attention.content import ContentShares
from karat.analyses.attention.functions_found import FunctionsFound
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
from karat.analyses.attention.learned.table import UnitTable, unit_tables, with_lines
from karat.analyses.kinds import Arms, Chapter
from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.hosts import attention_layers
from karat.models.observing import Seen, observed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from karat.analyses.pictures import Picture

Array = NDArray[np.float64]
MOST_IMAGES, MOST_PAIRS = 512, 2**22  # images, and scores of a head in all of them


@dataclass(frozen=True, kw_only=True)
class Functions(FunctionsFound):
    """The learned functions, content and positions, and accuracy with attention changed: see `FunctionsFound`."""

    title: ClassVar[str] = "Learned functions, content and positions"
    order: ClassVar[int] = 10
    seeds: ClassVar[int] = 2

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        try:
            most = most_images(subject.model)
            labels = None if subject.labels is None else subject.labels[:most]
            return cls._measured(subject.model, subject.images[:most], labels)
        except HostError as error:
            raise AnalysisError(str(error)) from error

    @classmethod
    @torch.no_grad()
    def _measured(cls, model: nn.Module, images: Tensor, labels: Tensor | None) -> Self:
        if other := next(
            (each for each in attention_layers(model) if each.keys != each.num_tokens), None
        ):
            raise AnalysisError(
                f"{other.name} has {other.num_tokens} queries and {other.keys} keys, which are not the same tokens: a "
                "pair has no kind (a patch and itself, a patch and another)"
            )
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

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        from karat.analyses.attention.function_pictures import pictures

        return pictures(arms)

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        from karat.analyses.attention.function_text import chapter

        return chapter(arms)


def most_images(model: nn.Module) -> int:
    """How many images are looked at: 512, to bound the time fewer for many tokens (108 for ViT-Tiny at 224)."""
    pairs = max(layer.pairs for layer in attention_layers(model))
    return min(MOST_IMAGES, max(64, MOST_PAIRS // pairs))


def functions(model: nn.Module, images: Tensor, labels: Tensor | None = None) -> Functions:
    """The learned functions of a model, and how much of its attention depends on content.

    Args:
        model: a supported host, with any attention.
        images: (I, C, H, W), as the model takes them; the first 512 are used, 108 for ViT-Tiny at 224.
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
                out = table.part.of_scores(each.scores[:, heads], each.values[:, heads], keep)
                error = (out.double() - each.out[:, heads].double()).square().sum((0, 2, 3))
                found[number, heads] = error.float()
    return found.double().numpy()


def _fields_of_units(units: Learned | None) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(Learned)]
    return {name: None if units is None else getattr(units, name) for name in names}


def _fields_of_rates(known: Rates | None) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(Rates) if each.name != "names"]
    return {name: np.zeros(0) if known is None else getattr(known, name) for name in names}
