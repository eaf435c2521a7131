"""Numbers of several runs of an arm in words, and how many runs there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def number_text(value: float) -> str:
    """Three digits, without an exponent where it can be read without one."""
    if value != value:
        return "-"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    text = f"{value:#.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return text.rstrip(".")


def share_text(value: float) -> str:
    """A share of 1 in percent, with one digit behind the point."""
    return "-" if value != value else f"{100 * value:.1f} %"


def over_runs(
    results: Sequence[T], value: Callable[[T], float], text: Callable[[float], str] = number_text
) -> str:
    """A number of one run; of several their mean, with least and greatest: `1.20 (1.00 to 1.50)`."""
    values = [value(each) for each in results]
    if len(values) == 1:
        return text(values[0])
    mean = sum(values) / len(values)
    return f"{text(mean)} ({text(min(values))} to {text(max(values))})"


def runs_text(arms: Mapping[str, Sequence[Any]]) -> str:
    """How many runs stand behind the numbers of a table, and what they do not say."""
    counts = {len(results) for results in arms.values()}
    if counts == {1}:
        each = "The numbers are of one run each" if len(arms) > 1 else "The numbers are of one run"
        return f"{each}, so they do not say how much of a difference is due to the seed."
    if len(counts) == 1:
        return f"The numbers are means over {counts.pop()} runs of each arm, with the least and the greatest."
    many = ", ".join(f"{len(results)} of {label}" for label, results in arms.items())
    alone = (
        " One run does not say how much of a difference is due to the seed." if 1 in counts else ""
    )
    return (
        f"The numbers are means over runs with the least and the greatest; there are {many}.{alone}"
    )


def span_text(values: Iterable[int]) -> str:
    """`216`, or `200 to 216` where they differ."""
    every = sorted(values)
    return str(every[0]) if every[0] == every[-1] else f"{every[0]} to {every[-1]}"
