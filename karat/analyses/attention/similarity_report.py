"""Heat maps, a table and sentences about how alike representations are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from karat.analyses.attention.similarity_found import CLASS_TOKEN, PATCHES, SimilarityFound, between
from karat.analyses.attention.words import count_of_runs, fitting
from karat.analyses.kinds import Arms, Chapter
from karat.analyses.pictures import SEQUENTIAL, WIDTH, Picture, panels, styled
from karat.report.tables import Table, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
READING = (
    "Linear CKA compares what two blocks say about the same images, up to rotation and scale: 1 for equal, about "
    "0 for unrelated features (Kornblith et al. 2019, with the unbiased estimator, which may be a little below "
    "0). Similarity between arms is to be held against that between two runs of one arm, which differ in nothing "
    "but the seed; runs of two arms with the same seed start from the same weights in the modules that they "
    "share."
)


def chapter(arms: Arms) -> Chapter:
    """Sentences and a table about all arms."""
    some = next(iter(arms.values()))[0]
    rows = list(_pairs(arms))
    tables: tuple[Table, ...] = ()
    if rows:
        tables = (
            table_of(
                rows,
                ("compared", "text", lambda row: row[0]),
                ("pairs of runs", "number", lambda row: row[1]),
                (CLASS_TOKEN, "range", lambda row: row[2]),
                (PATCHES, "range", lambda row: row[3]),
                title="CKA of the same block in two models, mean over blocks (least to greatest block)",
            ),
        )
    within = [_within(label, results[0]) for label, results in arms.items()]
    about = f"Of {some.images} validation images. {' '.join(filter(None, within))}"
    return Chapter(paragraphs=(about, READING, count_of_runs(arms)), tables=tables)


def _within(label: str, found: SimilarityFound) -> str:
    kind = found.kinds[0]
    name = "class_token" if kind == CLASS_TOKEN else "patches"
    value = found.numbers().get(f"cka_first_and_last_block_{name}")
    if value is None or found.features.shape[1] < 2:
        return ""
    return f"{label} (first run): the first and the last block have a CKA of {value:.2f} ({kind})."


def _pairs(arms: Arms) -> Iterator[tuple[str, str, str, str]]:
    """What is compared, number of pairs, and CKA by kind of features."""
    for label, results in arms.items():
        if pairs := list(itertools.combinations(results, 2)):
            yield f"runs of {label}", str(len(pairs)), *_texts(pairs)
    for first, second in itertools.combinations(arms, 2):
        pairs = list(itertools.product(arms[first], arms[second]))
        yield f"{first} and {second}", str(len(pairs)), *_texts(pairs)


def _texts(pairs: Sequence[tuple[SimilarityFound, SimilarityFound]]) -> tuple[str, str]:
    texts = []
    for kind in (CLASS_TOKEN, PATCHES):
        tables = [_table(*pair, kind) for pair in pairs]
        same = [np.diagonal(table) for table in tables if table is not None and np.ndim(table) == 2]
        if not same or len({len(each) for each in same}) > 1 or np.isnan(same).all():
            texts.append("-")
            continue
        by_block = np.nanmean(same, 0)
        low, high = np.nanmin(by_block), np.nanmax(by_block)
        texts.append(f"{np.nanmean(by_block):.2f} ({low:.2f} to {high:.2f})")
    return texts[0], texts[1]


def _table(first: SimilarityFound, second: SimilarityFound, kind: str) -> Array | None:
    """CKA by block of two models; None where they have no such features of the same number of images."""
    if first.images != second.images or kind not in first.kinds or kind not in second.kinds:
        return None
    return between(first.grams(kind), second.grams(kind))


def pictures(arms: Arms) -> Sequence[Picture]:
    """One for each kind of features."""
    shown, left_out = fitting(dict(arms))
    some = next(iter(arms.values()))[0]
    kinds = dict.fromkeys(kind for results in shown.values() for kind in results[0].kinds)
    return tuple(
        Picture(
            name=f"similarity_{'class_token' if kind == CLASS_TOKEN else 'patches'}",
            title=f"Similarity of blocks ({kind})",
            caption=(
                f"Linear CKA of the {kind} after each block, over {some.images} validation images: within the "
                f"first run of each arm, between its first two runs, and between first runs of {next(iter(shown))} "
                f"and each other arm. Values below 0 count as 0.{left_out}"
            ),
            draw=partial(_draw, shown, kind),
        )
        for kind in kinds
    )


def _panels(
    arms: Mapping[str, Sequence[SimilarityFound]], kind: str
) -> list[list[tuple[str, str, str, Array | None]]]:
    """Title, names of the axes and CKA of each panel: a row within runs, between runs, and with the first arm."""
    own = {label: runs for label, runs in arms.items() if kind in runs[0].kinds}
    base = next(iter(own))
    within, between_runs, with_first = [], [], []
    for label, runs in own.items():
        within.append((f"{label}", "block", "block", _table(runs[0], runs[0], kind)))
        second = _table(runs[0], runs[1], kind) if len(runs) > 1 else None
        between_runs.append((f"{label}\ntwo runs", "block, run 1", "block, run 2", second))
        other = None if label == base else _table(own[base][0], runs[0], kind)
        with_first.append((f"{base}\n{label}", "block, first", "block, second", other))
    return [
        row
        for row in (within, between_runs, with_first)
        if any(table is not None for *_, table in row)
    ]


def _draw(arms: Mapping[str, Sequence[SimilarityFound]], kind: str) -> Figure:
    found = _panels(arms, kind)
    if len(found[0]) <= 2:  # few enough for one row
        found = [[panel for row in found for panel in row if panel[3] is not None]]
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 0.2 + 1.85 * len(found)))
        grid = panels(figure, len(found), len(found[0]))
        image: Any = None
        for axes_of_row, row in zip(grid, found, strict=True):
            for axes, (title, vertical, horizontal, table) in zip(axes_of_row, row, strict=True):
                if table is None:
                    axes.set_axis_off()
                    continue
                image = axes.imshow(
                    np.clip(table, 0, 1), cmap=SEQUENTIAL, vmin=0, vmax=1, origin="lower"
                )
                axes.set_title(title, fontsize=8)
                axes.set_xlabel(horizontal, fontsize=8)
                axes.set_ylabel(vertical, fontsize=8)
                _numbered(axes, table)
        every = [axes for row in grid for axes in row]
        figure.colorbar(image, ax=every, label="CKA", shrink=0.8, aspect=25)
    return figure


def _numbered(axes: Any, table: Array) -> None:
    for axis, size in ((axes.yaxis, table.shape[0]), (axes.xaxis, table.shape[1])):
        step = max(1, -(-size // 6))
        axis.set_ticks(range(0, size, step), [str(1 + block) for block in range(0, size, step)])
    if max(table.shape) > 3:
        return
    for row, column in np.ndindex(*table.shape):
        value = table[row, column]
        if np.isfinite(value):
            colour = "white" if value < 0.5 else "black"
            text = f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
