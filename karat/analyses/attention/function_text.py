"""What the numbers about learned functions and content say, in sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.analyses.attention.interventions import BLIND, LINES, MEAN, SHUFFLED, TRAINED
from karat.analyses.attention.learned.fitted import COMMON
from karat.analyses.attention.learned.simple import SIMPLE
from karat.analyses.attention.words import count_of_runs, first_of, percent, runs_of
from karat.analyses.kinds import Arms, Chapter
from karat.report.tables import Table, table_of

if TYPE_CHECKING:
    from karat.analyses.attention.functions_found import FunctionsFound

CONTENT = (
    "The weights of a head are split into three parts: what all pairs of a kind have in common (a patch and "
    "another patch, a patch and the class token, ...), what a pair of positions has in common over all images, "
    "and the rest, which differs between images: content. Shares of their second moment sum to 100 %. The content "
    "share is content in percent of position and content: 0 for weights that are the same for every image; 100 "
    "for attention that knows no positions, on images whose patches may be exchanged. On images whose border is "
    "always dark, say, position and typical content are not told apart. The last column is the share of the "
    "variance over images of the output of attention that is left if the weights are replaced by their mean over "
    "the images; below 0 where this is worse than the mean output."
)
CHANGED = (
    "Accuracy on the same images of the trained models with attention changed in all blocks and heads, not "
    "trained again: what the weights still do, and not what a model trained that way would reach. Scores of "
    "another image: each image gets the scores that another image has in the trained model (mean of three "
    "shuffles). Queries and keys at zero: softmax then weighs all tokens alike by construction, and where weights "
    "are functions of the scores, the value of each at zero is left, which may differ between pairs of positions. "
    "Mean weights: those over these images, so that only positions decide how tokens are mixed. In brackets the "
    "difference to the model as trained in points, with its 95 % interval over images (none where no answer changed)."
)
UNITS = (
    "A learned function is compared with six simple ones by least squares over the scores that occur; the nearest "
    "is the one with the lowest BIC, which counts parameters. R² of a line: the median over the functions, and "
    "quartiles. Output by lines: the share of the variance over images of the output of attention that is left if "
    "each function is replaced by its line. One for all: the simple function that explains most if all functions "
    "are multiples of it plus a constant, and the mean share that it explains, weighted by how much each function "
    "contributes. A basis may have a form by construction: Fourier functions of one frequency are cosines, those "
    "of the basis linear lines."
)


def chapter(arms: Arms) -> Chapter:
    """Sentences and tables about all arms."""
    tables = [_content_table(arms)]
    paragraphs = [*_sentences(arms), count_of_runs(arms), CONTENT]
    if any(found.changes for found in _all(arms)):
        tables.append(_accuracy_table(arms))
        paragraphs.append(CHANGED)
    else:
        paragraphs.append("The classes of the images were not known: accuracies are left out.")
    if any(found.r2 is not None for found in _all(arms)):
        tables.append(_units_table(arms))
        paragraphs.append(UNITS)
    return Chapter(paragraphs=tuple(paragraphs), tables=tuple(tables))


def _all(arms: Arms) -> Iterator[FunctionsFound]:
    for _, _, found in runs_of(arms):
        yield found


def _sentences(arms: Arms) -> Iterator[str]:
    """The key numbers of the first run of each arm."""
    first: dict[str, Any] = first_of(arms)
    for label, found in first.items():
        numbers = found.numbers()
        yield (
            f"{label} (first run, {found.images} images): content share of the weights "
            f"{percent(numbers['content_share_of_weights'])} %, of the output "
            f"{percent(numbers['content_share_of_output'])} %.{_of_changes(found)}{_of_units(found)}"
        )


def _of_changes(found: FunctionsFound) -> str:
    accuracy = dict(zip(found.changes, found.accuracy, strict=True))
    if not accuracy:
        return ""
    said = {
        MEAN: "with mean weights",
        SHUFFLED: "with the scores of another image",
        BLIND: "with queries and keys at zero",
    }
    parts = [
        f"{percent(accuracy[name])} % {text}" for name, text in said.items() if name in accuracy
    ]
    return f" Accuracy: {percent(accuracy[TRAINED])} % as trained, {', '.join(parts)}."


def _of_units(found: FunctionsFound) -> str:
    if found.best is None or found.r2 is None:
        return ""
    shares = np.bincount(found.best, minlength=len(SIMPLE)) / len(found.best)
    nearest = int(shares.argmax())
    linear = found.r2[:, SIMPLE.index("linear")]
    text = (
        f" Of {len(found.best):,} learned functions {percent(shares[nearest])} % are nearest to a "
        f"{SIMPLE[nearest]} one; a line explains {percent(float(np.median(linear)))} % of a function's variance in "
        "the median"
    )
    if LINES in found.changes:
        place = found.changes.index(LINES)
        text += f", and with lines for all of them accuracy is {percent(found.accuracy[place])} %"
    return f"{text}."


def _content_table(arms: Arms) -> Table:
    def column(name: str) -> Any:
        return lambda row: percent(row[2].numbers().get(name, np.nan))

    return table_of(
        runs_of(arms),
        ("arm", "text", lambda row: row[0]),
        ("run", "number", lambda row: row[1]),
        ("weights: by kind of pair (%)", "number", column("weights_by_kind_of_pair")),
        ("by position (%)", "number", column("weights_by_position")),
        ("by content (%)", "number", column("weights_by_content")),
        ("content share of weights (%)", "number", column("content_share_of_weights")),
        ("of output (%)", "number", column("content_share_of_output")),
        ("output kept by mean weights (%)", "number", column("output_kept_by_mean_weights")),
        title="Weights and output by position and content, means over blocks and heads",
    )


def _accuracy_table(arms: Arms) -> Table:
    changes = list(dict.fromkeys(name for found in _all(arms) for name in found.changes))
    images = " or ".join(dict.fromkeys(str(found.images) for found in _all(arms)))
    columns: list[Any] = [
        ("arm", "text", lambda row: row[0]),
        ("run", "number", lambda row: row[1]),
    ]
    for name in changes:
        columns.append((f"{name} (%)", "range", lambda row, name=name: _cell(row[2], name)))
    return table_of(
        runs_of(arms), *columns, title=f"Accuracy on {images} validation images", cards=True
    )


def _cell(found: FunctionsFound, name: str) -> str:
    if name not in found.changes:
        return "-"
    place = found.changes.index(name)
    text = percent(found.accuracy[place])
    if name == TRAINED:
        return f"{text} ({percent(found.low[place])} to {percent(found.high[place])})"
    difference = f"{100 * found.difference[place]:+.1f}"
    low, high = 100 * found.difference_low[place], 100 * found.difference_high[place]
    if low == high:
        return f"{text} ({difference})"
    return f"{text} ({difference}; {low:+.1f} to {high:+.1f})"


def _units_table(arms: Arms) -> Table:
    rows = [row for row in runs_of(arms) if getattr(row[2], "r2", None) is not None]

    def nearest(name: str) -> Any:
        return lambda row: percent(row[2].numbers()[f"units_nearest_{name}"])

    return table_of(
        rows,
        ("arm", "text", lambda row: row[0]),
        ("run", "number", lambda row: row[1]),
        ("functions", "number", lambda row: f"{len(row[2].best):,}"),
        *[(f"{name} (%)", "number", nearest(name)) for name in SIMPLE],
        ("R² of a line", "range", lambda row: _quartiles(row[2])),
        (
            "output by lines (%)",
            "number",
            lambda row: percent(row[2].numbers().get("output_explained_by_lines", np.nan)),
        ),
        ("one for all", "text", lambda row: _one_for_all(row[2])),
        title="Learned functions by the simple function that is nearest",
    )


def _quartiles(found: Any) -> str:
    low, middle, high = np.percentile(found.r2[:, SIMPLE.index("linear")], (25, 50, 75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _one_for_all(found: Any) -> str:
    best = int(found.common[:, 2].argmax())
    return f"{COMMON[best]}, {percent(found.common[best, 2])} %"
