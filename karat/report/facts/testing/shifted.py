"""Verdicts on shifted test images: every arm against its reference, for each corruption and for their mean.

A run's value under a corruption is the mean over its strengths, of the study's metric. All comparisons, of every arm under every
corruption and under their mean, are one family of Holm's correction, by the rule that the study fixed for its verdicts.
"""

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from karat.journal.trial import Trial
from karat.report.facts.confirmed import ConfirmedArm
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.metric import Metric
from karat.statistics.samples import Runs, Sample, describe, values_of

ALL = "all"  # in place of a corruption: the mean over all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedArm:
    """One confirmed arm on shifted images.

    Args:
        label: of the arm.
        against: label of its reference; None for a reference.
        runs: corruption to seed index to the mean over the strengths.
        samples: corruption to the runs' mean and spread.
        by_strength: mean over runs and corruptions at each strength, from 1.
        comparisons: corruption to the comparison with the reference; empty for a reference.
    """

    label: str
    against: str | None
    runs: Mapping[str, Runs]
    samples: Mapping[str, Sample]
    by_strength: tuple[float, ...]
    comparisons: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedFacts:
    """What the confirmation found on shifted images.

    Args:
        corruptions: names, in the order of the space; with several, `ALL` is among the keys of the arms too.
        arms: in the order of the report.
        comparisons: how many there are, which is the size of the family.
    """

    corruptions: tuple[str, ...]
    arms: tuple[ShiftedArm, ...]
    comparisons: int

    @property
    def keys(self) -> tuple[str, ...]:
        """The corruptions, and `ALL` where there are several."""
        return (*self.corruptions, *((ALL,) if len(self.corruptions) > 1 else ()))


def shifted_facts(
    arms: Sequence[ConfirmedArm],
    confirmed: Mapping[str, Sequence[Trial]],
    metric: Metric,
    rule: Rule,
) -> ShiftedFacts | None:
    """The facts; None where no run was tested on shifted images.

    Args:
        arms: confirmed, in the order of the report.
        confirmed: trials of the confirmation at full length, by label.
        metric, rule: of the study.
    """
    tested = {arm.label: _tested(confirmed.get(arm.label, ())) for arm in arms}
    names = tuple(
        dict.fromkeys(name for of in tested.values() for t in of for name in t.shifted or ())
    )
    if not names:
        return None
    facts = ShiftedFacts(corruptions=names, arms=(), comparisons=0)
    runs = {label: _runs(of, names, facts.keys, metric) for label, of in tested.items()}
    # One family: an arm under a corruption is an arm of its own.
    pairs = [(arm, key) for arm in arms if arm.against is not None for key in facts.keys]
    compared = compare(
        {_joined(label, key): of for label, by in runs.items() for key, of in by.items()},
        {_joined(arm.label, key): _joined(str(arm.against), key) for arm, key in pairs},
        rule,
        {_joined(arm.label, key): arm.failed for arm in arms for key in facts.keys},
    )
    found = tuple(
        ShiftedArm(
            label=arm.label,
            against=arm.against,
            runs=runs[arm.label],
            samples={
                key: describe(values_of(of, rule.tunings), rule.alpha)
                for key, of in runs[arm.label].items()
            },
            by_strength=_by_strength(tested[arm.label], names, metric),
            comparisons={
                key: replace(compared[_joined(arm.label, key)], arm=arm.label, against=arm.against)
                for key in facts.keys
                if arm.against is not None
            },
        )
        for arm in arms
        if tested[arm.label]
    )
    return replace(facts, arms=found, comparisons=len(pairs))


def _joined(label: str, key: str) -> str:
    return f"{label}\0{key}"


def _tested(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.status == "completed" and trial.shifted]


def _runs(
    trials: Sequence[Trial], names: Sequence[str], keys: Sequence[str], metric: Metric
) -> dict[str, Runs]:
    """Corruption to seed index to value, of the runs that were tested under all corruptions."""
    found: dict[str, dict[int, float]] = {key: {} for key in keys}
    for trial in trials:
        shifted = trial.shifted or {}
        if not all(name in shifted for name in names):
            continue
        values = {name: plain.fmean(each[metric.noun] for each in shifted[name]) for name in names}
        if ALL in found:
            values[ALL] = plain.fmean(values.values())
        for key, value in values.items():
            found[key][trial.seed_index] = value
    return dict(found)


def _by_strength(
    trials: Sequence[Trial], names: Sequence[str], metric: Metric
) -> tuple[float, ...]:
    series = [
        [each[metric.noun] for each in (trial.shifted or {})[name]]
        for trial in trials
        for name in names
        if name in (trial.shifted or {})
    ]
    return tuple(map(plain.fmean, zip(*series, strict=True)))
