"""Main effects and interactions of a factorial, or of a fraction of one, by seed."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from karat.designs import design_of
from karat.designs.fractional import Fraction, Fractional, Word
from karat.parameters import Level, label_of
from karat.space.design.recorded import recorded_design
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.samples import Runs

if TYPE_CHECKING:  # a chapter of the summary, which has them
    from karat.report.facts.confirmed import ConfirmedArm

MOST_ALIASED = 2  # factors of an interaction that is named as an alias


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a factor gives on average, or half of what it gives more at another level of a second factor.

    Args:
        factors: full name of the factor, or of the two.
        levels: the two levels of each, as labels; the effect is that of the second.
        arms: how many it is computed from.
        aliases: what cannot be told from it in a fraction: whether it enters with a minus sign, and full names of its
            factors; those of at most `MOST_ALIASED` factors.
        comparison: the effect and its interval. All effects of a study are one family.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]
    arms: int
    aliases: tuple[tuple[bool, tuple[str, ...]], ...]
    comparison: Comparison

    @property
    def is_main(self) -> bool:
        """Whether it is of one factor."""
        return len(self.factors) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """The mean of some arms minus that of others; the weights of each side sum to 1."""

    factors: tuple[str, ...]
    levels: tuple[tuple[Level, Level], ...]
    plus: Mapping[str, float]
    minus: Mapping[str, float]
    aliases: tuple[tuple[bool, tuple[str, ...]], ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        return (*self.plus, *self.minus)


def effects_in(
    source: Mapping[str, object], arms: Sequence["ConfirmedArm"], rule: Rule, seeds: int
) -> tuple[Effect, ...]:
    """The effects that a study's design shows; none where it shows none.

    Args:
        source: data of the space.
        arms: the confirmed arms.
        rule: of the study.
        seeds: the number that every arm has, whatever was found in it.
    """
    if not design_of(source.get("design")).has_effects:
        return ()
    design, crossing = recorded_design(source)
    levels = {key: factor.values for key, factor in crossing.factors.items()}
    if isinstance(design, Fractional):
        fraction = design.fraction(crossing)
        return _tested(_of_fraction(fraction, levels, arms), arms, rule, seeds)
    return effects_of(levels, arms, rule, seeds)


def effects_of(
    levels: Mapping[str, Sequence[Level]], arms: Sequence["ConfirmedArm"], rule: Rule, seeds: int
) -> tuple[Effect, ...]:
    """Main effects and interactions of two factors, of each level against the first.

    The main effect of a level is its mean minus that of the first level, over the combinations of the other factors
    that are there with both. The interaction of two factors is half the difference between what the one gives at two
    levels of the other; both are the effects of Yates where each factor has two levels (Box, Hunter & Hunter, Statistics
    for Experimenters, 2nd edition, chapter 5). A factor that exists at some levels of another one only is averaged over
    where that one is varied.

    Each is a contrast of the arms for every seed, tested as `karat.statistics.comparison.compare` tests a difference.
    No error is pooled over arms, whose spread over seeds may differ.

    Args:
        levels: of each factor, the first one first.
        arms: the confirmed arms; those without runs are left out, with the combinations that need them.
        rule: of the study.
        seeds: the number that every arm has, whatever was found in it.
    """
    known = [arm for arm in arms if len(arm.runs) >= 2]
    found = [*_mains(levels, known), *_interactions(levels, known)]
    return _tested(found, arms, rule, seeds)


def _mains(
    levels: Mapping[str, Sequence[Level]], arms: Sequence["ConfirmedArm"]
) -> Iterable[_Contrast]:
    for key, values in levels.items():
        for value in values[1:]:
            sides = _weighted(arms, [{key: value}, {key: values[0]}])
            if sides is not None:
                plus, minus = sides
                yield _Contrast(
                    factors=(key,), levels=((values[0], value),), plus=plus, minus=minus
                )


def _interactions(
    levels: Mapping[str, Sequence[Level]], arms: Sequence["ConfirmedArm"]
) -> Iterable[_Contrast]:
    for (one, ours), (two, theirs) in itertools.combinations(levels.items(), 2):
        for value, other in itertools.product(ours[1:], theirs[1:]):
            corners = itertools.product((value, ours[0]), (other, theirs[0]))
            sides = _weighted(arms, [{one: a, two: b} for a, b in corners])
            if sides is None:
                continue
            both, first, second, neither = sides
            yield _Contrast(
                factors=(one, two),
                levels=((ours[0], value), (theirs[0], other)),
                plus=_halves(both, neither),
                minus=_halves(first, second),
            )


def _halves(one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, float]:
    return {label: weight / 2 for side in (one, two) for label, weight in side.items()}


def _weighted(
    arms: Sequence["ConfirmedArm"], sides: Sequence[Mapping[str, Level]]
) -> list[dict[str, float]] | None:
    """The weights of the arms with each of these levels, so that all are averaged over the same combinations of the
    other factors; None where there is no such combination.
    """
    of_side = [
        [arm for arm in arms if all(arm.factors.get(k) == v for k, v in side.items())]
        for side in sides
    ]
    if not all(of_side):
        return None
    varied = set(sides[0])
    # A factor that some of them do not have depends on what is varied, so that it tells no combinations apart.
    shared = set.intersection(*(set(arm.factors) for side in of_side for arm in side)) - varied
    grouped = [_by_combination(side, sorted(shared)) for side in of_side]
    common = set.intersection(*map(set, grouped))
    if not common:
        return None
    return [
        {
            label: 1 / len(common) / len(labels)
            for combination, labels in side.items()
            if combination in common
            for label in labels
        }
        for side in grouped
    ]


def _by_combination(arms: Iterable["ConfirmedArm"], keys: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for arm in arms:
        found.setdefault(repr([arm.factors[key] for key in keys]), []).append(arm.label)
    return found


def _of_fraction(
    fraction: Fraction, levels: Mapping[str, Sequence[Level]], arms: Sequence["ConfirmedArm"]
) -> Iterable[_Contrast]:
    """One contrast for each main effect and each interaction of two factors that is aliased with no earlier one."""
    names = list(levels)
    signs = {
        arm.label: [2 * levels[key].index(arm.factors[key]) - 1 for key in names] for arm in arms
    }
    if len(signs) < fraction.runs:
        return  # an arm is missing, without which nothing is balanced
    taken: set[Word] = set()
    for word in map(
        frozenset,
        (*((i,) for i in range(len(names))), *itertools.combinations(range(len(names)), 2)),
    ):
        if word in taken:
            continue
        aliases = fraction.aliases(word)
        taken |= {word, *(other for other, _ in aliases)}
        sides: dict[bool, list[str]] = {True: [], False: []}
        for label, of_arm in signs.items():
            # The product of the levels as signs is plus where an even number of them is minus.
            sides[sum(of_arm[place] < 0 for place in word) % 2 == 0].append(label)
        factors = tuple(names[place] for place in sorted(word))
        yield _Contrast(
            factors=factors,
            levels=tuple((levels[key][0], levels[key][1]) for key in factors),
            plus=dict.fromkeys(sides[True], 1 / len(sides[True])),
            minus=dict.fromkeys(sides[False], 1 / len(sides[False])),
            aliases=tuple(
                (sign < 0, tuple(names[place] for place in sorted(other)))
                for other, sign in aliases
                if len(other) <= MOST_ALIASED
            ),
        )


def _tested(
    contrasts: Iterable[_Contrast], arms: Sequence["ConfirmedArm"], rule: Rule, seeds: int
) -> tuple[Effect, ...]:
    """The effects with their tests, all of them as one family."""
    rule = replace(rule, looks=())
    known, of_arm = list(contrasts), {arm.label: arm for arm in arms}
    found = _compared(known, of_arm, rule, seeds, counts_failures=False)
    failing = {label for label, arm in of_arm.items() if arm.failed}
    if failing and rule.worst is not None:
        counted = _compared(known, of_arm, rule, seeds, counts_failures=True)
    else:
        counted = found
    return tuple(
        Effect(
            factors=each.factors,
            levels=tuple(
                (label_of({key: one}), label_of({key: two}))
                for key, (one, two) in zip(each.factors, each.levels, strict=True)
            ),
            arms=len(each.arms),
            aliases=each.aliases,
            comparison=one if failing.isdisjoint(each.arms) else _both(one, two, rule),
        )
        for each, one, two in zip(known, found, counted, strict=True)
    )


def _both(found: Comparison, counted: Comparison, rule: Rule) -> Comparison:
    """As `compare`: a verdict stands if it is the same with failed runs, which need a worst value."""
    if rule.worst is None:
        return replace(found, verdict="inconclusive")
    same = found.verdict == counted.verdict
    return replace(found, verdict=found.verdict if same else "inconclusive", with_failures=counted)


def _compared(
    contrasts: Sequence[_Contrast],
    arms: Mapping[str, "ConfirmedArm"],
    rule: Rule,
    seeds: int,
    *,
    counts_failures: bool,
) -> list[Comparison]:
    runs = {label: _runs(arm, rule, seeds, counts_failures) for label, arm in arms.items()}
    sides: dict[str, Runs] = {}
    against: dict[str, str] = {}
    for number, each in enumerate(contrasts):
        sides[f"{number} +"] = _mean(each.plus, runs)
        sides[f"{number} -"] = _mean(each.minus, runs)
        against[f"{number} +"] = f"{number} -"
    if not against:
        return []
    found = compare(sides, against, rule)
    return [found[label] for label in against]


def _runs(arm: "ConfirmedArm", rule: Rule, seeds: int, counts_failures: bool) -> dict[int, float]:
    runs = {index: value for index, value in arm.runs.items() if index < seeds}
    if counts_failures and rule.worst is not None:
        runs |= {index: rule.worst for index in arm.failed if index < seeds}
    return runs


def _mean(weights: Mapping[str, float], runs: Mapping[str, Runs]) -> dict[int, float]:
    """The weighted mean of the arms, of each seed that all of them have."""
    shared = set.intersection(*(set(runs[label]) for label in weights))
    return {
        index: sum(weight * runs[label][index] for label, weight in weights.items())
        for index in sorted(shared)
    }
