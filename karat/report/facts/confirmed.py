"""The confirmed arms of a study: their cells, their runs, and what these say against the reference."""

import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from karat.constraints import MACS, PARAMETERS
from karat.journal.outcomes import failed_seeds, test_values
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.parameters import Level, changes_size, is_number
from karat.report.facts.images import answers, population_interval
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.futility import is_futile
from karat.statistics.metric import Metric
from karat.statistics.samples import Sample, describe, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An arm with its tuned parameters fixed, as one tuning found it.

    Args:
        tuned: the tuned parameters' values.
        searched: the search metric by which it was chosen, of the search or the mean of the fresh runs of
            a shortlist; None where the journal does not say.
    """

    tuned: Mapping[str, Any]
    searched: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedArm:
    """One confirmed arm.

    Args:
        label, factors: of the arm.
        level: of the factor in question; None where the arm does not have it.
        against: label of the reference arm that it is compared with; None for a reference.
        cells: one of each tuning.
        parameters: of the model; None where the journal does not say.
        flops: multiply-adds of one image, forward; None where the journal does not say.
        planned, completed, ended: number of confirmation runs.
        failed: seed indices of the runs that failed.
        validation: mean of the search metric at the epoch whose weights are tested; None without runs.
        test: over completed runs; with several tunings over their means.
        runs: seed index to test value.
        seconds: median training time of a run; None without runs.
        comparison: with its reference; None for a reference.
        is_futile: whether it got no more seeds, although it might have, since a verdict was too unlikely.
        population: interval of that difference for images like the test images; None where the
            journal does not say image by image what was right.
        memory: median over completed runs of the peak memory in bytes, in the first epoch; None where
            the journal does not say.
        trials: seed index to the number of the completed run.
        place: of the arm in the space.
        raw: label of the arm of which it is the version at the cost of its reference; None for other arms.
    """

    label: str
    factors: Mapping[str, Level]
    level: Any
    against: str | None
    cells: tuple[Cell, ...]
    parameters: int | None
    flops: int | None
    planned: int
    completed: int
    ended: int
    failed: tuple[int, ...]
    validation: float | None
    test: Sample
    runs: Mapping[int, float]
    seconds: float | None
    comparison: Comparison | None
    is_futile: bool = False
    population: tuple[float, float] | None = None
    memory: float | None = None
    trials: Mapping[int, int] = field(default_factory=dict)
    place: int = 0
    raw: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it."""
        return self.against is None

    @property
    def searched(self) -> float | None:
        """Mean of the values by which its cells were chosen, from trials that confirm nothing."""
        values = [cell.searched for cell in self.cells if cell.searched is not None]
        return plain.fmean(values) if values else None


def best_searched(arms: Iterable[ConfirmedArm], metric: Metric) -> ConfirmedArm:
    """The best arm in the search, or in the fresh runs of the shortlists; one without a value comes last.

    Few validation images make equal values common. Of equally good arms it is the first in the space: the order
    in which a report shows them may be that of the test values, which must not choose.
    """

    def rank(arm: ConfirmedArm) -> tuple[bool, float, int]:
        value = arm.searched
        return value is not None, 0.0 if value is None else metric.goodness(value), -arm.place

    return max(arms, key=rank)


def headline_of(others: Iterable[ConfirmedArm], metric: Metric) -> ConfirmedArm | None:
    """The arm that an answer is about, of the arms but the reference; None where nothing has a result.

    It is the best of the search, or of the shortlists: its own result must not choose it.
    """
    measured = [arm for arm in others if arm.test.mean is not None]
    return best_searched(measured, metric) if measured else None


def confirmed_arms(
    state: StudyState, confirmed: Mapping[str, Sequence[Trial]], metric: Metric, rule: Rule
) -> tuple[ConfirmedArm, ...]:
    """The confirmed arms in reading order, each reference before the arms compared with it.

    Args:
        state: of the study.
        confirmed: trials of the confirmation, by label.
        metric, rule: of the study.
    """
    if state.confirmation is None:
        return ()
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for cell in state.confirmation["cells"]:
        cells.setdefault(cell["arm"], []).append(cell)
    tests = {label: test_values(confirmed.get(label, ()), metric) for label in cells}
    failed = {label: failed_seeds(confirmed.get(label, ())) for label in cells}
    against = {
        label: state.references[of_arm[0]["level"]]
        for label, of_arm in cells.items()
        if label not in state.reference_arms
    }
    compared = compare(tests, against, rule, failed)
    right = {label: answers(confirmed.get(label, ())) for label in cells} if metric.is_share else {}
    described = {arm["label"]: arm for arm in state.created["arms"]}
    places = {label: place for place, label in enumerate(described)}
    found = []
    for label, of_arm in cells.items():
        trials = confirmed.get(label, ())
        runs = completed(trials)
        validation = [value for t in runs if (value := t.of_kept_weights(metric.name)) is not None]
        arm = ConfirmedArm(
            label=label,
            factors=described[label]["factors"],
            level=of_arm[0]["level"],
            against=against.get(label),
            cells=tuple(_cell(cell, state, metric) for cell in of_arm),
            parameters=_cost(PARAMETERS, trials, described[label].get("parameters"), of_arm),
            flops=_cost(MACS, trials, described[label].get("flops"), of_arm),
            planned=len(of_arm) * state.seeds_of(label),
            completed=len(runs),
            ended=sum(trial.ended for trial in trials),
            failed=failed[label],
            validation=plain.fmean(validation) if validation else None,
            test=describe(values_of(tests[label], rule.tunings), rule.alpha),
            runs=tests[label],
            seconds=plain.median(trial.seconds for trial in runs) if runs else None,
            comparison=compared.get(label),
            is_futile=_is_given_up(compared.get(label), rule, state.seeds_of(label)),
            population=population_interval(
                right.get(label, {}),
                right.get(against.get(label, ""), {}),
                rule.tunings,
                rule.level,
            ),
            memory=_median_memory(runs),
            trials={trial.seed_index: trial.number for trial in runs},
            place=places[label],
            raw=described[label].get("raw"),
        )
        found.append(arm)
    in_order = sorted(found, key=_reading_order(state.references))
    return _ranked(in_order, metric) if _names_only(state) else tuple(in_order)


def _cost(
    name: str, trials: Sequence[Trial], of_arm: int | None, cells: Sequence[Mapping[str, Any]]
) -> int | None:
    """Parameters or operations of the model that was confirmed; None where the journal does not say, or cells differ.

    Where the model itself is tuned, what the journal says of the whole arm is about the lower ends of the ranges.
    """
    told = {int(trial.costs[name]) for trial in trials if name in trial.costs}
    if told:
        return told.pop() if len(told) == 1 else None
    return None if any(map(changes_size, cells[0]["tuned"])) else of_arm


def _is_given_up(found: Comparison | None, rule: Rule, seeds: int) -> bool:
    return found is not None and bool(rule.looks) and is_futile(found, rule, seeds)


def completed(trials: Iterable[Trial]) -> list[Trial]:
    """Those that ran to their end."""
    return [trial for trial in trials if trial.status == "completed"]


def _median_memory(runs: Iterable[Trial]) -> float | None:
    told = [trial.peak_bytes for trial in runs if trial.peak_bytes is not None]
    return plain.median(told) if told else None


def _cell(cell: Mapping[str, Any], state: StudyState, metric: Metric) -> Cell:
    value = cell.get("value")
    if value is None and cell.get("trial") in state.trials:  # journals of the first version
        value = state.trials[cell["trial"]].last(metric.name)
    return Cell(tuned=cell["tuned"], searched=value)


def _names_only(state: StudyState) -> bool:
    """Whether the levels are names, such as bases, which have no order of their own."""
    return len(state.reference_arms) == 1 and all(isinstance(x, str) for x in state.references)


def _ranked(arms: Sequence[ConfirmedArm], metric: Metric) -> tuple[ConfirmedArm, ...]:
    """The reference, then the others by their mean, the best first; those without one last."""

    def place(arm: ConfirmedArm) -> tuple[bool, bool, float]:
        mean = arm.test.mean
        return not arm.is_reference, mean is None, 0.0 if mean is None else -metric.goodness(mean)

    return tuple(sorted(arms, key=place))


def _reading_order(
    references: Mapping[Level, str],
) -> Callable[[ConfirmedArm], tuple[int, bool, int]]:
    """The key that sorts arms by level, each reference before the arms compared with it."""
    numeric = all(map(is_number, references))
    levels: list[Any] = sorted(references) if numeric else list(references)
    labels = list(dict.fromkeys(references[level] for level in levels))

    def place(arm: ConfirmedArm) -> tuple[int, bool, int]:
        if arm.against is None:
            return labels.index(arm.label), False, 0
        return labels.index(arm.against), True, levels.index(arm.level)

    return place
