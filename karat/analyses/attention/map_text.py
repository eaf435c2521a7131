"""What the numbers about attention weights say, in sentences and tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.analyses.attention.agreement import agreement
from karat.analyses.attention.words import count_of_runs, percent, runs_of
from karat.analyses.kinds import Arms, Chapter
from karat.report.tables import Table, table_of

if TYPE_CHECKING:
    from karat.analyses.attention.maps_found import MapsFound

READING = (
    "Weights may be negative and rows need not sum to 1, so that entropy, distance and shares are of absolute "
    "values, divided by their sum. Entropy is divided by log N: 100 % for uniform weights, 0 for one key alone. "
    "Distance is the mean between a patch and the patches that it weighs. The largest column is the key that gets "
    "most in an image; a value norm well below 1 there means that such a head adds little to its queries, which "
    "arXiv 2606.08105 takes for one of two kinds of attention sinks."
)
AGREEMENT = (
    "Agreement of two runs of an arm: the correlation of their mean weights, and of how the class token's rows of "
    "single images differ from their mean over the images; means over blocks, the heads of each block matched so "
    "that it is highest, which raises it for unrelated heads too. A dash where nothing differs between images."
)


def chapter(arms: Arms) -> Chapter:
    """Sentences and tables about all arms."""
    some = next(iter(arms.values()))[0]
    tokens = some.mean_maps.shape[-1]
    about = (
        f"Means over {some.images} validation images, heads and blocks; matrices are {tokens} x {tokens}. Uniform "
        f"weights have a distance of {some.uniform_distance:.2f} patches, and {100 / tokens:.1f} % on each token."
    )
    tables, paragraphs = [_table(arms)], [about, READING, count_of_runs(arms)]
    if pairs := list(_pairs(arms)):
        tables.append(
            table_of(
                pairs,
                ("arm", "text", lambda row: row[0]),
                ("runs", "number", lambda row: row[1]),
                ("mean weights", "number", lambda row: row[2]),
                ("maps of single images", "number", lambda row: row[3]),
                title="Agreement between runs of an arm (correlation)",
            )
        )
        paragraphs.append(AGREEMENT)
    return Chapter(paragraphs=tuple(paragraphs), tables=tuple(tables))


def _pairs(arms: Arms) -> Iterator[tuple[str, str, str, str]]:
    """The agreement of each pair of runs of an arm."""
    for label, results in arms.items():
        for (a, first), (b, second) in itertools.combinations(enumerate(results, 1), 2):
            if first.rows_per_image.shape != second.rows_per_image.shape:
                continue  # of other images or another shape of model
            found = agreement(
                (first.mean_maps, second.mean_maps), (first.rows_per_image, second.rows_per_image)
            )
            yield label, f"{a} and {b}", _mean(found[0]), _mean(found[1])


def _mean(by_block: np.ndarray[Any, Any]) -> str:
    return "-" if np.isnan(by_block).all() else f"{np.nanmean(by_block):z.2f}"


def _table(arms: Arms) -> Table:
    def shown(name: str, kind: str) -> Any:
        return lambda row: _text(row[2], name, kind)

    return table_of(
        runs_of(arms),
        ("arm", "text", lambda row: row[0]),
        ("run", "number", lambda row: row[1]),
        ("entropy (%)", "number", shown("entropy", "%")),
        ("distance (patches)", "number", shown("distance", ".2f")),
        ("negative (%)", "number", shown("negative_share", "%")),
        ("row sum", "range", lambda row: _row_sums(row[2])),
        ("norm / √N", "number", shown("frobenius_norm", ".3f")),
        ("on the class token (%)", "number", shown("first_token_share", "%")),
        ("largest column (%)", "number", shown("largest_column_share", "%")),
        ("its value norm", "number", shown("largest_column_value", ".2f")),
        title="Attention weights",
    )


def _text(found: MapsFound, name: str, kind: str) -> str:
    value = found.numbers().get(name)
    if value is None:
        return "-"
    return percent(value) if kind == "%" else format(value, kind)


def _row_sums(found: MapsFound) -> str:
    numbers = found.numbers()
    return f"{numbers['row_sum']:.2f} ± {numbers['row_sum_sd']:.2f}"
