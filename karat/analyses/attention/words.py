"""Phrases that chapters of several analyses share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from karat.analyses.kinds import Arms

T = TypeVar("T")
MOST_ARMS = 4  # beside each other in a picture


def runs_of(arms: Arms) -> Iterator[tuple[str, str, Any]]:
    """Label of the arm, number of the run and its result, run by run."""
    for label, results in arms.items():
        for number, found in enumerate(results, 1):
            yield label, str(number), found


def first_of(arms: Arms) -> dict[str, Any]:
    """The representative's result of each arm."""
    return {label: results[0] for label, results in arms.items()}


def fitting(arms: Mapping[str, T]) -> tuple[dict[str, T], str]:
    """The first arms, as many as fit beside each other, and a sentence about the others."""
    shown = dict(list(arms.items())[:MOST_ARMS])
    left = [label for label in arms if label not in shown]
    return shown, f" Not shown for lack of room: {', '.join(left)}." if left else ""


def count_of_runs(arms: Arms) -> str:
    """On how many runs of an arm numbers stand, as a sentence."""
    counts = {len(results) for results in arms.values()}
    if counts == {1}:
        return "Of one run each: what differs between arms here may as well differ between two runs of one arm."
    most = max(counts)
    return (
        f"Of at most {most} runs of an arm: these are descriptions of single runs, and no test of a difference "
        "between arms."
    )


def percent(share: float) -> str:
    """A share of 1 in percent, with one digit; `-` for NaN."""
    return "-" if share != share else f"{100 * share:.1f}".replace("-0.0", "0.0")


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
