"""The tables of `benchmarks.evidence`: what was promised, what was found, and whether the promise was kept."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.evidence_studies import ALPHA, TRIALS_PER_ARM, Outcome, Question

COVERAGE = (0.93, 0.97)
Values = Sequence[float | bool | None]


class Row(NamedTuple):
    """A question and its outcomes, one of each study."""

    question: Question
    outcomes: Sequence[Outcome]

    def of(self, name: str) -> list[float | bool | None]:
        """One field of all outcomes."""
        return [getattr(each, name) for each in self.outcomes]


def mean(values: Values) -> tuple[float, float] | None:
    """Mean over studies of what is known, and its standard error; None where nothing is."""
    known = [float(each) for each in values if each is not None]
    if not known:
        return None
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return float(np.mean(known)), error


def promised(studies: int) -> float:
    """The highest share of studies with a false call: alpha and two standard errors of that share."""
    return ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / studies)


def is_about_arms(question: Question) -> bool:
    """Whether its verdicts promise anything of arms: with one tuning only where all cells are equal."""
    return question.tunings > 1 or question.landscape.steepness == 0


def missed(row: Row) -> list[str]:
    """Promises that are not kept, in words.

    False calls are promised where the verdict is about arms. Intervals are promised for the cells of one
    tuning, and for arms that truly differ; where runs fail nothing is promised of them, since a failed run
    has no value.
    """
    question, found = row.question, []
    if is_about_arms(question):
        for name, key in {"false calls": "false", "between levels": "false_levels"}.items():
            share = mean(row.of(key))
            if share is not None and share[0] > promised(len(row.outcomes)):
                found.append(name)
    intervals = {}
    if question.tunings == 1 and not question.failing:
        intervals = {"cells": "covered_cells"}
    elif question.difference:
        intervals = {"arms": "covered", "arm of the answer": "headline_covered"}
    for name, key in intervals.items():
        share = mean(row.of(key))
        if share is not None and not COVERAGE[0] <= share[0] <= COVERAGE[1]:
            # The error at the promise, which a share far below it would overstate.
            error = min(share[1], math.sqrt(ALPHA * (1 - ALPHA) / len(row.outcomes)))
            near = abs(share[0] - (1 - ALPHA)) <= 2 * error
            found.append(f"coverage, {name}" + " (but 95 is within 2 standard errors)" * near)
    return found


def table_of(question: Question) -> str:
    """The name of the table to which a question belongs."""
    if question.trials != TRIALS_PER_ARM:
        return "shortlist"
    if question.failing:
        return "failing"
    return "different" if question.difference else "equal"


def table(rows: Sequence[Row]) -> str:
    """The rows of one table, in Markdown."""
    columns = COLUMNS[table_of(rows[0].question)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(of(row) for of in columns.values())} |" for row in rows]
    return "\n".join(lines)


def line(row: Row) -> str:
    """A row as one line of text, for those who wait."""
    shown = ", ".join(
        f"{name} {text}" for name, of in EVERYTHING.items() if (text := of(row)) and name != "kept"
    )
    return f"{shown}, kept: {_kept(row)}"


def _percent(name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = mean(row.of(name))
        return "" if found is None else f"{100 * found[0]:.1f} ± {100 * found[1]:.1f}"

    return text


def _points(name: str) -> Callable[[Row], str]:
    return lambda row: "{:.2f} ± {:.2f}".format(*_known(row, name))


def _known(row: Row, name: str) -> tuple[float, float]:
    found = mean(row.of(name))
    assert found is not None
    return found


def _promise(row: Row) -> str:
    if not is_about_arms(row.question):
        return "nothing"
    return f"at most {100 * promised(len(row.outcomes)):.1f}"


def _kept(row: Row) -> str:
    bad = missed(row)
    if bad:
        return f"**no: {'; '.join(bad)}**"
    return "yes" if is_about_arms(row.question) else "cells only"


def _cells(row: Row) -> str:
    return _percent("covered_cells")(row) if row.question.tunings == 1 else ""


FIRST: dict[str, Callable[[Row], str]] = {
    "landscape": lambda row: row.question.landscape.name,
    "arms": lambda row: str(1 + row.question.others),
    "tunings": lambda row: str(row.question.tunings),
    "studies": lambda row: str(len(row.outcomes)),
}
FALSE: dict[str, Callable[[Row], str]] = {
    "false calls (%)": _percent("false"),
    "promised (%)": _promise,
    "false calls between levels (%)": _percent("false_levels"),
}
OF_PAIR = {name: FALSE[name] for name in ("false calls (%)", "promised (%)")}
LAST: dict[str, Callable[[Row], str]] = {"kept": _kept}
COVERED: dict[str, Callable[[Row], str]] = {
    "interval covers the arms' difference (%)": _percent("covered"),
    "interval covers the cells' difference (%)": _cells,
}
ANSWER: dict[str, Callable[[Row], str]] = {
    "called better (%)": _percent("found"),
    "interval covers the difference (%)": _percent("covered"),
    "that of the arm of the answer (%)": _percent("headline_covered"),
}
LISTED: dict[str, Callable[[Row], str]] = {
    "trials for each arm": lambda row: str(row.question.trials),
    "shortlist": lambda row: str(row.question.shortlist),
    "runs": lambda row: f"{_known(row, 'runs')[0]:g}",
    "cell confirmed, below the best one tried (points)": _points("below_tried"),
    "below the best there is (points)": _points("below_best"),
}
COLUMNS = {
    "equal": {**FIRST, **FALSE, **COVERED, **LAST},
    "different": {**FIRST, **FALSE, **ANSWER, **LAST},
    "failing": {**FIRST, **FALSE, **LAST},
    "shortlist": {**FIRST, **LISTED, **OF_PAIR, **LAST},
}
EVERYTHING = {**FIRST, **FALSE, **COVERED, **ANSWER, **LISTED}
TABLES = {
    "equal": "Equal arms",
    "different": "Every arm truly 1.0 point better than the reference",
    "failing": "Equal arms, of which one fails in a fifth of its runs",
    "shortlist": "Two equal arms: the best cell of a search, or the best of a shortlist in fresh runs",
}
