"""Interactions of two factors: does what one gains depend on the level of another?"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from karat.parameters import Level, label_of
from karat.report.facts.confirmed import ConfirmedArm
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.samples import Runs

Arms = Mapping[Level, ConfirmedArm]  # by level of a factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """The gain by one factor at two levels of another, in four arms that differ in nothing else.

    Args:
        factor: full name of the factor whose gain it is; `levels` are the two, and the gain is the
            second minus the first.
        other: full name of the factor that it may depend on, with two levels `at`.
        within: label of the levels that all four arms share; empty where they share none.
        comparison: of the gain at the second level of `other` against the gain at the first, by
            seed. It belongs to one family with all other interactions of the study.
    """

    factor: str
    levels: tuple[str, str]
    other: str
    at: tuple[str, str]
    within: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class _Square:
    """Four arms, [level of the factor][level of the other]."""

    factor: str
    other: str
    rows: tuple[Mapping[str, Level], Mapping[str, Level]]
    at: tuple[Level, Level]
    arms: tuple[tuple[ConfirmedArm, ConfirmedArm], tuple[ConfirmedArm, ConfirmedArm]]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(arm.label for row in self.arms for arm in row)

    @property
    def has_failures(self) -> bool:
        return any(arm.failed for row in self.arms for arm in row)


def interactions_of(
    arms: Sequence[ConfirmedArm], rule: Rule, seeds: int
) -> tuple[Interaction, ...]:
    """Every interaction that the confirmed arms can show, against the first level of each factor.

    The contrast is the difference of two paired differences, (y22 - y12) - (y21 - y11) for each
    seed, tested as `karat.statistics.comparison.compare` tests a difference; with two levels each it
    is the interaction of the two-way analysis of variance with repeated measures (Maxwell & Delaney,
    Designing Experiments and Analyzing Data, chapter 12). All contrasts are one family (Holm).

    Args:
        arms: the confirmed arms; the first level of a factor is that of the first arm that has it.
        rule: of the study.
        seeds: the number that every arm has, whatever was found in it: seeds that were added because of
            a result would bias the contrast.
    """
    rule = replace(rule, looks=())
    squares: dict[frozenset[str], _Square] = {}
    for square in _squares(arms):  # the same four arms come again with the two factors exchanged
        squares.setdefault(square.labels, square)
    known = list(squares.values())
    found = _contrasts(known, rule, seeds, counts_failures=False)
    if any(square.has_failures for square in known):
        again = _contrasts(known, rule, seeds, counts_failures=True)
        found = [
            _both(one, two, rule) if square.has_failures else one
            for square, one, two in zip(known, found, again, strict=True)
        ]
    return tuple(
        Interaction(
            factor=square.factor,
            levels=(_name(square, 0), _name(square, 1)),
            other=square.other,
            at=(label_of({square.other: square.at[0]}), label_of({square.other: square.at[1]})),
            within=_within(square),
            comparison=comparison,
        )
        for square, comparison in zip(known, found, strict=True)
    )


def _squares(arms: Sequence[ConfirmedArm]) -> Iterable[_Square]:
    """Each two rows of arms that differ in one factor, at the first and each later common level of another."""
    keys = reversed(dict.fromkeys(key for arm in arms for key in arm.factors))
    # Factors that every arm has come first: one that is part of another's level depends on that one.
    for other in sorted(keys, key=lambda key: any(key not in arm.factors for arm in arms)):
        rows: dict[str, tuple[dict[str, Level], dict[Level, ConfirmedArm]]] = {}
        for arm in arms:
            if other in arm.factors and len(arm.runs) >= 2:
                rest = {key: level for key, level in arm.factors.items() if key != other}
                rows.setdefault(repr(rest), (rest, {}))[1][arm.factors[other]] = arm
        taken: set[tuple[str, str]] = set()
        for (one, first), (two, second) in itertools.combinations(rows.values(), 2):
            factor = _only_difference(one, two)
            if factor is None or (factor, repr(two)) in taken:
                continue
            taken.add((factor, repr(two)))  # the first row that it differs from is its base
            levels = [level for level in first if level in second]
            for level in levels[1:]:
                pair = (levels[0], level)
                yield _Square(
                    factor, other, (one, two), pair,
                    ((first[pair[0]], first[pair[1]]), (second[pair[0]], second[pair[1]])),
                )  # fmt: skip


def _only_difference(one: Mapping[str, Level], two: Mapping[str, Level]) -> str | None:
    """The factor in which two rows differ; beside it only factors that one of them does not have."""
    differing = [key for key in one if key in two and one[key] != two[key]]
    return differing[0] if len(differing) == 1 else None


def _name(square: _Square, row: int) -> str:
    """The levels by which a row differs from the other one."""
    mine, others = square.rows[row], square.rows[1 - row]
    own = {key: level for key, level in mine.items() if others.get(key) != level}
    return label_of(own)


def _within(square: _Square) -> str:
    one, two = square.rows
    return label_of({key: level for key, level in one.items() if two.get(key) == level})


def _contrasts(
    squares: Sequence[_Square], rule: Rule, seeds: int, *, counts_failures: bool
) -> list[Comparison]:
    """The comparison of each square's two gains, all of them as one family."""
    gains: dict[str, Runs] = {}
    against: dict[str, str] = {}
    for number, square in enumerate(squares):
        for place in (0, 1):
            base, arm = (_runs(row[place], rule, seeds, counts_failures) for row in square.arms)
            gains[f"{number} {place}"] = {i: arm[i] - base[i] for i in arm if i in base}
        against[f"{number} 1"] = f"{number} 0"
    found = compare(gains, against, rule)
    return [found[label] for label in against]


def _runs(arm: ConfirmedArm, rule: Rule, seeds: int, counts_failures: bool) -> dict[int, Any]:
    runs = {index: value for index, value in arm.runs.items() if index < seeds}
    if counts_failures and rule.worst is not None:
        runs |= {index: rule.worst for index in arm.failed if index < seeds}
    return runs


def _both(found: Comparison, counted: Comparison, rule: Rule) -> Comparison:
    """As `compare`: a verdict stands if it is the same with failed runs, which need a worst value."""
    if rule.worst is None:
        return replace(found, verdict="inconclusive")
    if found.verdict == counted.verdict:
        return replace(found, with_failures=counted)
    return replace(found, verdict="inconclusive", with_failures=counted)
