"""The facts of a study, as its journal tells them: everything that a report shows.

A study that has not ended has a summary too: it says what is missing and is not final, so that
no verdict is given, since looking early would spoil their alpha.
"""

import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from karat.errors import JournalError
from karat.journal.state import Extension, StudyState, Trial
from karat.parameters import Level, is_number, label_of
from karat.report.metric import Metric
from karat.report.search_summary import SearchFacts, by_arm, search_facts
from karat.report.statistics import (
    Comparison,
    Rule,
    Sample,
    compare,
    describe,
    pairwise,
    pooled_variance_cut,
)
from karat.space.rates import Spent, limits_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedArm:
    """One confirmed cell.

    Args:
        label, factors: of the arm.
        level: of the factor in question; None where the arm does not have it.
        against: label of the reference arm that it is compared with; None for a reference.
        tuned: the tuned parameters' values.
        parameters: of the model; None where the journal does not say.
        flops: multiply-adds of one image, forward; None where the journal does not say.
        completed, ended: number of confirmation runs.
        validation: mean of the search metric after the last epoch; None without runs.
        test: over completed runs.
        runs: seed index to test value.
        seconds: median training time of a run; None without runs.
        comparison: with its reference; None for a reference.
    """

    label: str
    factors: Mapping[str, Level]
    level: Any
    against: str | None
    tuned: Mapping[str, Any]
    parameters: int | None
    flops: int | None
    completed: int
    ended: int
    validation: float | None
    test: Sample
    runs: Mapping[int, float]
    seconds: float | None
    comparison: Comparison | None

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it."""
        return self.against is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One arm's metric by epoch, over its seeds.

    Args:
        label: of the arm.
        epochs, mean, sd: of equal length; sd is 0 for a single seed.
        is_reference: whether others are compared with it.
        group: the same for a reference and the arms compared with it.
    """

    label: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    is_reference: bool
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What was fixed before the launch, beside the rule of the comparison.

    Args:
        sampler, allocation: of the search.
        early_stopping: its rule, `scheduler`, and what that one takes.
        seed: of the study.
        space_hash, data_fingerprint: of the question and of the data.
    """

    sampler: str
    allocation: str
    early_stopping: Mapping[str, Any]
    seed: int
    space_hash: str
    data_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Everything that the views show.

    Args:
        status: of the study; `cause` and `details` say why it is interrupted or has failed
            (`karat.causes`).
        by: full name of the factor in question.
        is_matched: whether each of its levels has a reference of its own.
        reference, contender: label of the levels that the reference arms have in common, and the
            others confirmed; empty where they have none.
        planned_runs: of the confirmation; None before it is planned for every level.
        is_final: every planned confirmation run has ended, so verdicts are given.
        arms: confirmed arms by level, each reference before the arms compared with it.
        pairs: the confirmed arms but the references, each against each.
        variance_cut: see `karat.report.statistics.pooled_variance_cut`.
        also_different: full names of other factors in which the confirmed arms differ.
        curves: validation metric by epoch.
        design: what was fixed before the launch.
        environment: of the last launch.
        launches, slots: number of launches; trials at a time in the last.
        began_at, ended_at: seconds since the epoch; None while the study has no end.
        extensions: how the question was made larger after the launch.
        spent, limits: what was used, and what may be.
        search_cut: details of why the search ended early; None where it did not.
    """

    name: str
    question: str
    status: str
    cause: str
    details: Mapping[str, Any]
    metric: Metric
    rule: Rule
    by: str
    is_matched: bool
    reference: str
    contender: str
    seeds: int
    planned_runs: int | None
    is_final: bool
    arms: tuple[ConfirmedArm, ...]
    pairs: tuple[Comparison, ...]
    variance_cut: float | None
    also_different: tuple[str, ...]
    curves: tuple[Curve, ...]
    search: SearchFacts
    failed: tuple[Trial, ...]
    excluded: tuple[Mapping[str, str], ...]
    skipped: tuple[Mapping[str, str], ...]
    design: Design
    environment: Mapping[str, Any]
    launches: int
    slots: int
    began_at: float
    ended_at: float | None
    extensions: tuple[Extension, ...] = ()
    spent: Spent = field(default_factory=Spent)
    limits: Mapping[str, float] = field(default_factory=dict)
    search_cut: Mapping[str, Any] | None = None

    @property
    def others(self) -> tuple[ConfirmedArm, ...]:
        """The confirmed arms but the references."""
        return tuple(arm for arm in self.arms if not arm.is_reference)

    @property
    def references(self) -> tuple[ConfirmedArm, ...]:
        """The reference arms that were confirmed."""
        return tuple(arm for arm in self.arms if arm.is_reference)


def summarise(state: StudyState) -> Summary:
    """The facts of a study, whether it has ended or not.

    Raises:
        JournalError: the journal does not even say what the question is.
    """
    created = state.created
    if not created:
        raise JournalError("the journal is empty: no study was created in it")
    metric = Metric(name=created["metric"], mode=created["mode"])
    confirm = created["confirm"]
    rule = Rule(
        mode=created["mode"],
        smallest_difference=confirm["smallest_difference"],
        alpha=confirm["alpha"],
    )
    arms = _confirmed_arms(state, metric, rule)
    runs = {arm.label: arm.runs for arm in arms}
    against = {arm.label: arm.against for arm in arms if arm.against is not None}
    others = {label: runs[label] for label in against}
    last = state.launches[-1] if state.launches else None
    planned = None
    if state.confirmation is not None and state.all_planned:
        planned = len(state.confirmation["cells"]) * confirm["seeds"]
    return Summary(
        name=created["name"],
        question=created["question"],
        status=state.status,
        cause=state.cause,
        details=state.details,
        metric=metric,
        rule=rule,
        by=confirm["by"],
        is_matched=_is_matched(state),
        reference=_common_name(state, state.reference_arms),
        contender=_common_name(state, tuple(others)),
        seeds=confirm["seeds"],
        planned_runs=planned,
        is_final=bool(arms)
        and state.all_planned
        and all(arm.ended >= confirm["seeds"] for arm in arms),
        arms=arms,
        pairs=pairwise(others, rule),
        variance_cut=pooled_variance_cut(
            (runs[arm], runs.get(reference, {})) for arm, reference in against.items()
        ),
        also_different=_also_different(state, arms),
        curves=tuple(_curves(state, arms, metric)),
        search=search_facts(state, metric),
        failed=tuple(trial for trial in state.trials.values() if trial.status == "failed"),
        excluded=tuple(created["excluded"]),
        skipped=tuple(state.confirmation["skipped"]) if state.confirmation else (),
        design=_design(created),
        environment=last.environment if last else {},
        launches=len(state.launches),
        slots=last.slots if last else 0,
        began_at=state.created_at,
        ended_at=state.ended_at,
        extensions=tuple(state.extensions),
        spent=state.usage.until(),
        limits=limits_of(created["space"]),
        search_cut=state.search_cut,
    )


def _confirmed_arms(state: StudyState, metric: Metric, rule: Rule) -> tuple[ConfirmedArm, ...]:
    if state.confirmation is None:
        return ()
    confirmed = by_arm(state.of_phase("confirm"))
    tests = {
        cell["arm"]: {
            trial.seed_index: value
            for trial in _completed(confirmed.get(cell["arm"], ()))
            if (value := trial.last(metric.test)) is not None
        }
        for cell in state.confirmation["cells"]
    }
    against = {
        cell["arm"]: state.references[cell["level"]]
        for cell in state.confirmation["cells"]
        if cell["arm"] not in state.reference_arms
    }
    compared = compare(tests, against, rule)
    described = {arm["label"]: arm for arm in state.created["arms"]}
    found = []
    for cell in state.confirmation["cells"]:
        label, all_of_it = cell["arm"], confirmed.get(cell["arm"], [])
        runs = _completed(all_of_it)
        validation = [value for t in runs if (value := t.last(metric.name)) is not None]
        arm = ConfirmedArm(
            label=label,
            factors=described[label]["factors"],
            level=cell["level"],
            against=against.get(label),
            tuned=cell["tuned"],
            parameters=described[label].get("parameters"),
            flops=described[label].get("flops"),
            completed=len(runs),
            ended=sum(trial.ended for trial in all_of_it),
            validation=plain.fmean(validation) if validation else None,
            test=describe(list(tests[label].values()), rule.alpha),
            runs=tests[label],
            seconds=plain.median(trial.seconds for trial in runs) if runs else None,
            comparison=compared.get(label),
        )
        found.append(arm)
    in_order = sorted(found, key=_reading_order(state.references))
    return _ranked(in_order, metric) if _names_only(state) else tuple(in_order)


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


def _is_matched(state: StudyState) -> bool:
    return len(state.reference_arms) > 1


def _factors(state: StudyState, label: str) -> Mapping[str, Level]:
    found: Mapping[str, Level] = next(
        arm["factors"] for arm in state.created["arms"] if arm["label"] == label
    )
    return found


def _common_name(state: StudyState, labels: Sequence[str]) -> str:
    """A label of the levels that all these arms share; empty if there is none."""
    factors = [_factors(state, label) for label in labels]
    shared = factors[0].items() if factors else ()
    return label_of({k: v for k, v in shared if all(each.get(k) == v for each in factors)})


def _completed(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.status == "completed"]


def _also_different(state: StudyState, arms: Sequence[ConfirmedArm]) -> tuple[str, ...]:
    labels = {arm.label for arm in arms if not arm.is_reference}
    factors = [arm["factors"] for arm in state.created["arms"] if arm["label"] in labels]
    keys = dict.fromkeys(key for each in factors for key in each)
    keys.pop(state.created["confirm"]["by"], None)
    return tuple(key for key in keys if len({repr(each.get(key)) for each in factors}) > 1)


def _curves(state: StudyState, arms: Sequence[ConfirmedArm], metric: Metric) -> Iterable[Curve]:
    """By arm, up to the last epoch that all its runs have reached; unless one is complete, of those under way."""
    confirmed = by_arm(state.of_phase("confirm"))
    for arm in arms:
        all_of_it = confirmed.get(arm.label, [])
        runs = _completed(all_of_it) or [
            trial for trial in all_of_it if trial.status != "failed" and trial.reports
        ]
        series = [
            [r.metrics[metric.name] for r in run.reports if metric.name in r.metrics]
            for run in runs
        ]
        reached = min(map(len, series), default=0)
        if reached:
            at_epoch = [[values[place] for values in series] for place in range(reached)]
            yield Curve(
                label=arm.label,
                epochs=tuple(range(1, reached + 1)),
                mean=tuple(map(plain.fmean, at_epoch)),
                sd=tuple(plain.stdev(v) if len(v) > 1 else 0.0 for v in at_epoch),
                is_reference=arm.is_reference,
                group=arm.against or arm.label,
            )


def _design(created: Mapping[str, Any]) -> Design:
    search = created["search"]
    return Design(
        sampler=search["sampler"],
        allocation=search.get("allocation", "equal"),  # studies of the first version know no other
        early_stopping=created["early_stopping"],
        seed=created["seed"],
        space_hash=created["space_hash"],
        data_fingerprint=created["data"]["fingerprint"],
    )
