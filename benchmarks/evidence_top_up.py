"""Verdicts of a confirmation that adds seeds, against one with a fixed number: for `benchmarks.evidence`.

There is no search and no training: the differences of runs are drawn, and the functions that decide in a
study (`karat.statistics.comparison`, `karat.planning.top_up`) take them as the values of seeds.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from karat.planning.top_up import grown
from karat.seeds import derive
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.samples import Array

ALPHA = 0.05
FIXED, LOOKS = 20, (5, 8, 11, 14, 17, 20, 23, 24)
SMALLEST = 0.4  # smallest difference of interest, in spreads of the paired differences
SHARED, OWN = (
    0.6,
    0.8,
)  # of the reference's and of each arm's runs; their differences have a spread of 1
REFERENCE = "reference"
TITLE = "Seeds that are added, against a fixed number"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of confirmation.

    Args:
        others: arms that are compared with one reference.
        effect: true difference of each, in spreads of the paired differences.
    """

    others: int
    effect: float


class Found(NamedTuple):
    """One confirmation: whether a verdict is false, the shares called better, covered and equivalent, and runs."""

    false: bool
    better: float
    covered: float
    equivalent: float
    runs: int


FAMILIES = [Family(others=others, effect=effect) for others in (1, 8) for effect in (0.0, 0.9, 1.3)]


def confirmed(family: Family, number: int, seed: int) -> tuple[Found, Found]:
    """The same runs judged with a fixed number of seeds, and with seeds added."""
    runs = _runs(family, derive(seed, family.others, family.effect, number))
    against = {label: REFERENCE for label in runs if label != REFERENCE}
    fixed = Rule(mode="max", smallest_difference=SMALLEST, alpha=ALPHA)
    seeds = dict.fromkeys(runs, FIXED)
    one = _found(compare(_first(runs, seeds), against, fixed), family, seeds)
    rule = Rule(mode="max", smallest_difference=SMALLEST, alpha=ALPHA, looks=LOOKS)
    seeds = dict.fromkeys(runs, LOOKS[0])
    compared = compare(_first(runs, seeds), against, rule)
    while more := grown(compared, rule, seeds):
        seeds |= more
        compared = compare(_first(runs, seeds), against, rule)
    return one, _found(compared, family, seeds)


def _runs(family: Family, seed: int) -> dict[str, list[float]]:
    """Values by seed; differences to the reference have sd 1, and are correlated by it."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0, SHARED, LOOKS[-1])
    runs = {REFERENCE: reference.tolist()}
    for number in range(family.others):
        runs[f"arm {number}"] = (family.effect + rng.normal(0, OWN, LOOKS[-1])).tolist()
    return runs


def _first(runs: dict[str, list[float]], seeds: dict[str, int]) -> dict[str, dict[int, float]]:
    return {label: dict(enumerate(values[: seeds[label]])) for label, values in runs.items()}


def _found(compared: dict[str, Comparison], family: Family, seeds: dict[str, int]) -> Found:
    each = list(compared.values())
    ends = [(one.low, one.high) for one in each if one.low is not None and one.high is not None]
    called = [
        one.verdict in (("better", "worse") if not family.effect else ("worse",)) for one in each
    ]
    return Found(
        false=any(called),
        better=_share([one.verdict == "better" for one in each]),
        covered=_share([low <= family.effect <= high for low, high in ends]),
        equivalent=_share([one.verdict == "equivalent" for one in each]),
        runs=sum(seeds.values()),
    )


def _share(held: list[bool]) -> float:
    return sum(held) / len(held)


COLUMNS = (
    *("arms", "true difference (d_z)", "studies", "plan", "false calls (%)", "called better (%)"),
    *(
        "called equivalent (%)",
        "interval covers the difference (%)",
        "runs",
        "runs, of the fixed (%)",
    ),
)


def rows(family: Family, studies: int, seed: int) -> Iterator[list[str]]:
    """Two rows: the fixed number of seeds, then added ones."""
    pairs = [confirmed(family, number, seed) for number in range(studies)]
    base = float(np.mean([fixed.runs for fixed, _ in pairs]))
    names = (f"{FIXED} seeds", f"{LOOKS[0]} to {LOOKS[-1]} seeds")
    for name, found in zip(names, zip(*pairs, strict=True), strict=True):
        values = [np.array([float(getattr(one, of)) for one in found]) for of in Found._fields]
        false, better, covered, equivalent, runs = values
        yield [
            *(str(1 + family.others), f"{family.effect:g}", str(studies), name),
            *map(_percent, (false, better, equivalent, covered)),
            *(f"{runs.mean():.1f}", f"{100 * runs.mean() / base:.1f}"),
        ]


def _percent(values: Array) -> str:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{100 * values.mean():.1f} ± {100 * error:.1f}"


def table(studies: int, seed: int) -> str:
    """The whole table in Markdown; each row is printed for those who wait."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    started = time.perf_counter()
    for family in FAMILIES:
        for row in rows(family, studies, seed):
            lines.append(f"| {' | '.join(row)} |")
            print(
                f"{time.perf_counter() - started:.0f} s: {lines[-1]}", file=sys.stderr, flush=True
            )
    return "\n".join(lines)
