"""Singular values of the scores and of the weights: how many directions attention uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.pictures import COLOURS, WIDTH, Picture, panels, styled
from karat.analyses.seeing import seen_by_batch
from karat.analyses.subject import Subject
from karat.errors import AnalysisError
from karat.report.tables import table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

Array = NDArray[np.float64]
MOST_IMAGES = 16
ROUNDING = 1e-6  # of a singular value, relative to the largest: below lies what float32 rounds


@dataclass(frozen=True, kw_only=True)
class Spectra(Analysis):
    """Singular values before the activation (scores) and after it (weights).

    The paper shows them for three heads of the last block and five validation images (arXiv 2503.10632,
    Section 5). Shapes: L blocks, H heads, S singular values, the largest first; 3 stands for least, mean and
    greatest over the images.

    Args:
        images: number of images.
        before: (L, H, S, 3), of the scores; NaN for heads without scores.
        after: (L, H, S, 3), of the weights.
        effective_before, effective_after: (L, H), effective rank, the exponential of the entropy of the
            singular values divided by their sum (Roy and Vetterli 2007), mean over the images; 1 to S.
        stable_before, stable_after: (L, H), stable rank, the squared Frobenius norm by the squared largest
            singular value, mean over the images; 1 to S.
    """

    title: ClassVar[str] = "Spectra of scores and weights"
    order: ClassVar[int] = 30

    images: int
    before: Array
    after: Array
    effective_before: Array
    effective_after: Array
    stable_before: Array
    stable_after: Array

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        few = Subject(model=subject.model, images=subject.images[:MOST_IMAGES])
        found: dict[str, list[list[Tensor]]] = {}
        for seen in seen_by_batch(few, size=8):
            for number, each in enumerate(seen):
                if each.weights.shape[1:] != seen[0].weights.shape[1:]:
                    raise AnalysisError(
                        "blocks differ in heads or tokens, so they have no common spectrum"
                    )
                scores = (
                    torch.full_like(each.weights, torch.nan) if each.scores is None else each.scores
                )
                for name, matrices in (("before", scores), ("after", each.weights)):
                    by_block = found.setdefault(name, [[] for _ in seen])
                    by_block[number].append(singular_values(matrices))
        of_both = {}
        for name, blocks in found.items():
            values_LIHS = torch.stack([torch.cat(parts) for parts in blocks]).numpy()
            of_both[name] = np.stack(
                [values_LIHS.min(1), values_LIHS.mean(1), values_LIHS.max(1)], axis=-1
            )
            of_both[f"effective_{name}"] = effective_rank(values_LIHS).mean(1)
            of_both[f"stable_{name}"] = stable_rank(values_LIHS).mean(1)
        return cls(images=len(few.images), **of_both)

    def numbers(self) -> Mapping[str, float]:
        found = {}
        for when in ("before", "after"):
            for kind in ("effective", "stable"):
                ranks = getattr(self, f"{kind}_{when}")
                if np.isfinite(ranks).any():
                    found[f"{kind}_rank_{when}"] = float(np.nanmean(ranks))
        return found

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for when, values in (("before", self.before), ("after", self.after)):
            for block, head, place in np.ndindex(*values.shape[:3]):
                least, mean, greatest = values[block, head, place]
                yield {
                    "matrix": "scores" if when == "before" else "weights",
                    "block": block + 1,
                    "head": head + 1,
                    "singular_value": place + 1,
                    "min": least,
                    "mean": mean,
                    "max": greatest,
                    "effective_rank": getattr(self, f"effective_{when}")[block, head],
                    "stable_rank": getattr(self, f"stable_{when}")[block, head],
                }

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        count = next(iter(arms.values()))[0].images
        return (
            Picture(
                name="spectra",
                title="Singular values in the last block",
                caption=(
                    "Mean singular value of the scores (above) and of the weights (below), the largest first, with "
                    f"least and greatest over {count} validation images as a band; a colour for each head. Values below "
                    "a millionth of the largest are rounding, and not drawn."
                ),
                draw=partial(_draw, {label: results[0] for label, results in arms.items()}),
            ),
        )

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        first = {label: results[0] for label, results in arms.items()}
        tokens = next(iter(first.values())).after.shape[2]
        table = table_of(
            first.items(),
            ("arm", "text", lambda item: item[0]),
            (
                "effective rank, scores",
                "number",
                lambda item: _text(item[1], "effective_rank_before"),
            ),
            (
                "effective rank, weights",
                "number",
                lambda item: _text(item[1], "effective_rank_after"),
            ),
            ("stable rank, scores", "number", lambda item: _text(item[1], "stable_rank_before")),
            ("stable rank, weights", "number", lambda item: _text(item[1], "stable_rank_after")),
        )
        count = next(iter(first.values())).images
        note = (
            f"Of one run each, means over {count} validation images, heads and blocks. The matrices are {tokens} x "
            f"{tokens}, so a rank is at most {tokens}; scores are products of queries and keys, so theirs is at most "
            "the width of a head, and the weights of an operator have at most its rank."
        )
        return Chapter(paragraphs=(note,), tables=(table,))


def spectra(model: nn.Module, images: Tensor) -> Spectra:
    """Singular values of the scores and the weights of a model.

    Args:
        model: a supported host, with any attention.
        images: (I, C, H, W), as the model takes them; the first 16 are used.

    Raises:
        AnalysisError: the model's attention cannot be looked into, or its blocks differ in shape.
    """
    return Spectra.measure(Subject(model=model, images=images))


def singular_values(matrices: Tensor) -> Tensor:
    """In float64, the largest first: (..., S) of (..., N, M); NaN where a matrix has NaN."""
    wide = matrices.double()
    is_known = wide.isfinite().all(-1).all(-1)
    values = torch.linalg.svdvals(wide.nan_to_num())
    found: Tensor = values.masked_fill(~is_known[..., None], torch.nan)
    return found


def effective_rank(values: Array) -> Array:
    """exp(-Σ p log p) with p = σ / Σ σ: (...) of singular values (..., S)."""
    total = values.sum(-1, keepdims=True)
    shares = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.where(np.isnan(total[..., 0]), np.nan, np.exp(-(shares * logs).sum(-1)))


def stable_rank(values: Array) -> Array:
    """Σ σ² / σ₁²: (...) of singular values (..., S), the largest first; 0 for a matrix of zeros."""
    largest = values[..., 0] ** 2
    total = (values**2).sum(-1)
    found: Array = np.where(np.isnan(largest), np.nan, 0.0)
    np.divide(total, largest, out=found, where=largest > 0)
    return found


def _text(found: Spectra, name: str) -> str:
    value = found.numbers().get(name)
    return "-" if value is None else f"{value:.1f}"


def _draw(arms: Mapping[str, Spectra]) -> Figure:
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 4.6))
        grid = panels(figure, 2, len(arms), sharex=True, sharey="row")
        for column, (label, found) in enumerate(arms.items()):
            for row, (values, name) in enumerate(
                ((found.before, "scores"), (found.after, "weights"))
            ):
                axes = grid[row][column]
                axes.set_yscale("log")
                _lines(axes, values[-1])
                if row == 0:
                    axes.set_title(label)
                if column == 0:
                    axes.set_ylabel(f"singular value of {name}")
        figure.supxlabel("number of the singular value", fontsize="medium")
        grid[0][0].legend()
    return figure


def _lines(axes: Any, values_HS3: Array) -> None:
    places = np.arange(1, values_HS3.shape[1] + 1)
    for head, of_head in enumerate(values_HS3):
        if np.isnan(of_head).any():
            axes.text(0.5, 0.5, "no scores", ha="center", va="center", transform=axes.transAxes)
            continue
        colour = COLOURS[head % len(COLOURS)]
        shown = np.where(of_head > ROUNDING * of_head.max(), of_head, np.nan)
        axes.plot(places, shown[:, 1], color=colour, label=f"head {head + 1}")
        axes.fill_between(places, shown[:, 0], shown[:, 2], color=colour, alpha=0.2, linewidth=0)
