"""Verdicts of a confirmation that adds seeds, against one with a fixed number: for `benchmarks.evidence`.

There is no search and no training: the differences of runs are drawn. All studies are judged at once, as arrays
(`judged`); a test compares that, study by study, with the functions that decide in a study (`confirmed`).
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from karat.planning.top_up import grown
from karat.seeds import derive
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.futility import FUTILE
from karat.statistics.samples import Array
from karat.statistics.sequential import nominal_level, overall_p

ALPHA = 0.05
FIXED, LOOKS = 20, (5, 8, 11, 14, 17, 20, 23, 26)
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
    """What each study found: [studies] each.

    A false verdict; the shares of arms called better, covered by their interval and called equivalent; runs.
    """

    false: Array
    better: Array
    covered: Array
    equivalent: Array
    runs: Array


FAMILIES = [
    Family(others=others, effect=effect) for others in (1, 8) for effect in (0.0, 0.9, 1.0, 1.3)
]


def confirmed(
    family: Family, seed: int, looks: tuple[int, ...]
) -> tuple[dict[str, Comparison], int]:
    """One study by the functions that decide in a study: its comparisons, and the number of its runs."""
    runs = drawn(family, seed)
    against = {label: REFERENCE for label in runs if label != REFERENCE}
    rule = Rule(mode="max", smallest_difference=SMALLEST, alpha=ALPHA, looks=looks)
    seeds = dict.fromkeys(runs, looks[0])
    compared = compare(_first(runs, seeds), against, rule)
    while more := grown(compared, rule, seeds):
        seeds |= more
        compared = compare(_first(runs, seeds), against, rule)
    return compared, sum(seeds.values())


def drawn(family: Family, seed: int) -> dict[str, list[float]]:
    """Values by seed; differences to the reference have sd 1, and are correlated by it."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0, SHARED, LOOKS[-1])
    runs = {REFERENCE: reference.tolist()}
    for number in range(family.others):
        runs[f"arm {number}"] = (family.effect + rng.normal(0, OWN, LOOKS[-1])).tolist()
    return runs


def _first(runs: dict[str, list[float]], seeds: dict[str, int]) -> dict[str, dict[int, float]]:
    return {label: dict(enumerate(values[: seeds[label]])) for label, values in runs.items()}


def judged(differences: Array, effect: float, looks: tuple[int, ...]) -> Found:
    """All studies at once.

    Args:
        differences: of arms to their reference, [studies, arms, seeds].
        effect: the true difference of every arm.
        looks: seeds at each look; one where their number is fixed.
    """
    studies, arms, _ = differences.shape
    level, last = nominal_level(ALPHA, looks), len(looks) - 1
    means, spreads, p = _by_look(differences, looks)
    overall = overall_p(np.minimum.accumulate(p, axis=0), looks)
    halves = special.stdtrit(np.array(looks) - 1, 1 - level / 2) / np.sqrt(looks)
    halves = halves[:, None, None] * spreads
    at = np.zeros((studies, arms), np.int64)  # the look to which each arm has come
    for look in range(last + 1):
        mean, half = _now(means, at), _now(halves, at)
        equivalent = np.abs(mean) + half < SMALLEST
        called = ~equivalent & (_holm(_now(overall, at)) < ALPHA) & (np.abs(mean) > half)
        if look < last:
            futile = _chance(mean, _now(spreads, at), looks[look], looks[-1], level) < FUTILE
            at += (at == look) & ~equivalent & ~called & ~futile
    better, worse = called & (mean > 0), called & (mean < 0)
    seeds = np.array(looks)[at]
    return Found(
        false=(worse if effect else called).any(axis=1).astype(float),
        better=better.mean(axis=1),
        covered=(np.abs(mean - effect) <= half).mean(axis=1),
        equivalent=equivalent.mean(axis=1),
        runs=(seeds.sum(axis=1) + seeds.max(axis=1)).astype(float),
    )


def _now(values: Array, at: npt.NDArray[np.int64]) -> Array:
    """What each arm has at its own look: from [looks, studies, arms], [studies, arms]."""
    return np.asarray(np.take_along_axis(values, at[None], axis=0)[0])


def _by_look(differences: Array, looks: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Mean, standard deviation and p of the t test at each look: [looks, studies, arms] each."""
    means = np.stack([differences[..., :n].mean(axis=-1) for n in looks])
    spreads = np.stack([differences[..., :n].std(axis=-1, ddof=1) for n in looks])
    n = np.array(looks)[:, None, None]
    return means, spreads, 2 * special.stdtr(n - 1, -np.abs(means) / spreads * np.sqrt(n))


def _holm(p: Array) -> Array:
    """Holm's adjusted p of each row: [studies, arms]."""
    order = np.argsort(p, axis=1)
    steps = np.arange(p.shape[1], 0, -1)
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, axis=1) * steps, axis=1)
    found = np.empty_like(p)
    np.put_along_axis(found, order, np.minimum(adjusted, 1.0), axis=1)
    return found


def _chance(mean: Array, spread: Array, n: int, most: int, level: float) -> Array:
    """`karat.statistics.futility`, of many comparisons at once."""
    half = special.stdtrit(most - 1, 1 - level / 2) * spread / math.sqrt(most)
    sd = spread * math.sqrt(1 / n - 1 / most)

    def inside(bound: Array) -> Array:
        found = special.ndtr((bound - mean) / sd) - special.ndtr((-bound - mean) / sd)
        return np.where(bound > 0, found, 0.0)

    zero = inside(half)
    return np.asarray(1 - zero + np.minimum(inside(SMALLEST - half), zero))


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
    each = [
        np.array([*drawn(family, derive(seed, family.others, family.effect, number)).values()])
        for number in range(studies)
    ]
    values = np.stack(each)
    differences = values[:, 1:] - values[:, :1]
    base = FIXED * (1 + family.others)
    for looks in ((FIXED,), LOOKS):
        found = judged(differences, family.effect, looks)
        of_arms = (found.false, found.better, found.equivalent, found.covered)
        yield [
            *(str(1 + family.others), f"{family.effect:g}", str(studies)),
            f"{' to '.join(map(str, dict.fromkeys((looks[0], looks[-1]))))} seeds",
            *map(_percent, of_arms),
            *(f"{found.runs.mean():.1f}", f"{100 * found.runs.mean() / base:.1f}"),
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
