"""The facts of a study, as its journal tells them: everything that a report shows.

A study that has not ended has a summary too: it says what is missing and is not final, so that
no verdict is given, since looking early would spoil their alpha.
"""

import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from karat.errors import JournalError
from karat.journal.outcomes import is_final, metric_of, rule_of
from karat.journal.state import StudyState
from karat.journal.trial import Extension, Trial
from karat.parameters import EACH_ARM, Level, label_of
from karat.report.facts.confirmed import (
    ConfirmedArm,
    completed,
    confirmed_arms,
    headline_of,
)
from karat.report.facts.contrasts.matched import MatchFacts, match_facts
from karat.report.facts.contrasts.places import PlacesFacts, places_facts
from karat.report.facts.designs.changes import Change, changes_of
from karat.report.facts.designs.effects import Effect, effects_in
from karat.report.facts.designs.fixed import Design, fixed_design
from karat.report.facts.family import FactorTest, FamilyTest, factor_tests, family_test
from karat.report.facts.goals.front import FrontFacts, front_facts
from karat.report.facts.history import History, history_of
from karat.report.facts.interactions import Interaction, interactions_of
from karat.report.facts.lengths import Length, length_of, of_budget
from karat.report.facts.progress import Progress, progress_of
from karat.report.facts.search_summary import SearchFacts, by_arm, search_facts
from karat.report.facts.setup import Setup, setup_of
from karat.report.facts.shortlists import ShortlistFacts, shortlist_facts
from karat.report.facts.testing.scores import ArmScores, scores_of_arms
from karat.report.facts.testing.shifted import ShiftedFacts, shifted_facts
from karat.report.facts.training.attention import ArmHealth, attention_of
from karat.space.published import Published, published_in
from karat.space.rates import Spent, limits_of
from karat.statistics.comparison import Comparison, Rule, pairwise, pooled_variance_cut
from karat.statistics.metric import Metric
from karat.statistics.samples import Runs


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
class Summary:
    """Everything that the views show.

    Args:
        status: of the study; `cause` and `details` say why it is interrupted or has failed
            (`karat.causes`).
        by: full name of the factor in question.
        matched: full names of the factors in which the reference arms differ, each for the arms with its levels;
            empty for a single reference.
        reference, contender: label of the levels that the reference arms have in common, and the
            others confirmed; empty where they have none.
        planned_runs: of the confirmation; None before it is planned for every level.
        ended_runs: of the confirmation, of every length of training.
        is_final: every planned confirmation run has ended, so verdicts are given; where seeds may be
            added, the study too.
        arms: confirmed arms by level, each reference before the arms compared with it.
        lengths: the results at each length of training, increasing; the last is that of `arms`.
        progress: how far each arm's runs were trained, by label.
        pairs: the confirmed arms but the references, each against each.
        family: one test over all confirmed arms that share seeds; None where it is not defined.
        factor_tests: one over the levels of each factor, where the study has several.
        interactions: of two factors, where the confirmed arms cross them.
        variance_cut: see `karat.statistics.comparison.pooled_variance_cut`.
        also_different: full names of other factors in which the confirmed arms differ.
        curves: validation metric by epoch.
        attention: what it does by epoch, of the arms that were looked at.
        design: what was fixed before the launch.
        setup: how trials were trained.
        environment: of the last launch.
        launches, slots: number of launches; trials at a time in the last.
        began_at, ended_at: seconds since the epoch; None while the study has no end.
        extensions: how the question was made larger after the launch.
        spent, limits: what was used, and what may be.
        history: the search trial by trial, and which trial ran when.
        search_cut: details of why the search ended early; None where it did not.
        shortlist: the cells that were trained again before one was confirmed; None without a shortlist.
        places: the arms over several data sets or models; None where there is one.
        match: how the arms' cost was matched to that of their references; None where it was not asked for.
        published: results that somebody has published for such arms; None without any.
        scores: of the confirmed arms on the clean test images; empty in older journals.
        front: how the confirmed arms stand in several goals; None for a study with one.
        shifted: the confirmed arms on corrupted test images; None where there are none.
        effects: of the factors, where the design shows them; then there are no `factor_tests` and `interactions`,
            which would say the same twice.
        changes: what each change gives, where the design varies one factor at a time.
    """

    name: str
    question: str
    status: str
    cause: str
    details: Mapping[str, Any]
    metric: Metric
    rule: Rule
    by: str
    matched: tuple[str, ...]
    reference: str
    contender: str
    seeds: int
    planned_runs: int | None
    ended_runs: int
    is_final: bool
    arms: tuple[ConfirmedArm, ...]
    lengths: tuple[Length, ...]
    progress: Mapping[str, Progress]
    pairs: tuple[Comparison, ...]
    family: FamilyTest | None
    factor_tests: tuple[FactorTest, ...]
    interactions: tuple[Interaction, ...]
    variance_cut: float | None
    also_different: tuple[str, ...]
    curves: tuple[Curve, ...]
    attention: tuple[ArmHealth, ...]
    search: SearchFacts
    history: History
    failed: tuple[Trial, ...]
    excluded: tuple[Mapping[str, str], ...]
    skipped: tuple[Mapping[str, Any], ...]
    design: Design
    setup: Setup
    environment: Mapping[str, Any]
    launches: int
    slots: int
    began_at: float
    ended_at: float | None
    extensions: tuple[Extension, ...] = ()
    spent: Spent = field(default_factory=Spent)
    limits: Mapping[str, float] = field(default_factory=dict)
    search_cut: Mapping[str, Any] | None = None
    shortlist: ShortlistFacts | None = None
    match: MatchFacts | None = None
    places: PlacesFacts | None = None
    published: Published | None = None
    scores: tuple[ArmScores, ...] = ()
    shifted: ShiftedFacts | None = None
    front: FrontFacts | None = None
    effects: tuple[Effect, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def others(self) -> tuple[ConfirmedArm, ...]:
        """The confirmed arms but the references."""
        return tuple(arm for arm in self.arms if not arm.is_reference)

    @property
    def references(self) -> tuple[ConfirmedArm, ...]:
        """The reference arms that were confirmed."""
        return tuple(arm for arm in self.arms if arm.is_reference)

    @property
    def measured(self) -> tuple[ConfirmedArm, ...]:
        """The confirmed arms but the references that have a result."""
        return tuple(arm for arm in self.others if arm.test.mean is not None)

    @property
    def is_matched(self) -> bool:
        """Whether there are several references, each for the arms with its levels."""
        return bool(self.matched)

    @property
    def headline(self) -> ConfirmedArm | None:
        """The arm that the answer is about; None where it is about levels, or nothing has a result."""
        return None if self.is_matched else headline_of(self.others, self.metric)


def summarise(state: StudyState) -> Summary:
    """The facts of a study, whether it has ended or not.

    Raises:
        JournalError: the journal does not even say what the question is.
    """
    created = state.created
    if not created:
        raise JournalError("the journal is empty: no study was created in it")
    metric, rule, confirm = metric_of(created), rule_of(created), created["confirm"]
    tunings = rule.tunings
    runs_of = by_arm(state.of_phase("confirm"))
    budgets = tuple(confirm.get("budgets", (1,)))
    confirmed = of_budget(runs_of, budgets[-1])
    arms = confirmed_arms(state, confirmed, metric, rule)
    # Matched arms have the levels of others, and answer another question than factors do.
    as_they_are = [arm for arm in arms if arm.raw is None]
    places = places_facts(_in_order(arms), metric, rule, confirm["seeds"])
    runs = {arm.label: arm.runs for arm in arms}
    failed = {arm.label: arm.failed for arm in arms}
    against = {arm.label: arm.against for arm in arms if arm.against is not None}
    others = {label: runs[label] for label in against}
    last = state.launches[-1] if state.launches else None
    planned = None
    if state.confirmation is not None and state.all_planned:
        planned = state.planned_runs
    in_order, seeds = _in_order(as_they_are), confirm["seeds"]
    effects = effects_in(created["space"], in_order, rule, seeds)
    lengths = tuple(
        length_of(of_budget(runs_of, budget), against, budget, metric, rule) for budget in budgets
    )
    return Summary(
        name=created["name"],
        question=created["question"],
        status=state.status,
        cause=state.cause,
        details=state.details,
        metric=metric,
        rule=rule,
        by=confirm["by"],
        matched=_matched(state),
        reference=_common_name(state, state.reference_arms),
        contender=_common_name(state, tuple(others)),
        seeds=confirm["seeds"],
        planned_runs=planned,
        ended_runs=sum(trial.ended for trials in runs_of.values() for trial in trials),
        is_final=is_final(state),
        arms=arms,
        lengths=lengths,
        progress=progress_of(
            {label: completed(trials) for label, trials in confirmed.items()},
            metric,
            rule,
            lengths,
        ),
        # Values on different data sets do not compare.
        pairs=() if places is not None else pairwise(others, rule, failed),
        family=None
        if len(state.reference_arms) > 1
        else family_test(_first(runs, confirm["seeds"]), tunings),
        factor_tests=factor_tests(in_order, seeds, tunings)
        if confirm["by"] == EACH_ARM and is_final(state) and not effects
        else (),
        interactions=() if effects else interactions_of(in_order, rule, seeds),
        variance_cut=pooled_variance_cut(
            ((runs[arm], runs.get(reference, {})) for arm, reference in against.items()), tunings
        ),
        also_different=_also_different(state, arms),
        curves=tuple(_curves(confirmed, arms, metric)),
        attention=attention_of({arm.label: _drawn(confirmed, arm) for arm in arms}),
        search=search_facts(state, metric),
        history=history_of(state, [arm.label for arm in arms], metric),
        failed=tuple(trial for trial in state.trials.values() if trial.status == "failed"),
        excluded=tuple(created["excluded"]),
        skipped=tuple(state.confirmation["skipped"]) if state.confirmation else (),
        design=fixed_design(created),
        setup=setup_of(state),
        environment=last.environment if last else {},
        launches=len(state.launches),
        slots=last.slots if last else 0,
        began_at=state.created_at,
        ended_at=state.ended_at,
        extensions=tuple(state.extensions),
        spent=state.usage.until(),
        limits=limits_of(created["space"]),
        search_cut=state.search_cut,
        shortlist=shortlist_facts(state, metric),
        match=match_facts(state, arms),
        places=places,
        published=published_in(created["space"]),
        scores=scores_of_arms(runs, confirmed, created["data"]),
        shifted=shifted_facts(arms, confirmed, metric, rule),
        front=front_facts(state, confirmed, arms, metric, rule.alpha),
        effects=effects,
        changes=changes_of(created["space"], in_order),
    )


def _first(runs: Mapping[str, Runs], seeds: int) -> dict[str, Runs]:
    """The runs with the seeds that every arm has, whatever was found in them."""
    return {
        label: {index: value for index, value in of.items() if index < seeds}
        for label, of in runs.items()
    }


def _in_order(arms: Sequence[ConfirmedArm]) -> list[ConfirmedArm]:
    """The arms in the order of the space, so that the first level of a factor is the one named first."""
    return sorted(arms, key=lambda arm: arm.place)


def _factors(state: StudyState, label: str) -> Mapping[str, Level]:
    found: Mapping[str, Level] = next(
        arm["factors"] for arm in state.created["arms"] if arm["label"] == label
    )
    return found


def _matched(state: StudyState) -> tuple[str, ...]:
    by, labels = state.created["confirm"]["by"], state.reference_arms
    if len(labels) < 2:
        return ()
    if by != EACH_ARM:
        return (by,)
    factors = [_factors(state, label) for label in labels]
    keys = dict.fromkeys(key for each in factors for key in each)
    return tuple(key for key in keys if len({each.get(key) for each in factors}) > 1)


def _common_name(state: StudyState, labels: Sequence[str]) -> str:
    """A label of the levels that all these arms share; empty if there is none."""
    factors = [_factors(state, label) for label in labels]
    shared = factors[0].items() if factors else ()
    return label_of({k: v for k, v in shared if all(each.get(k) == v for each in factors)})


def _also_different(state: StudyState, arms: Sequence[ConfirmedArm]) -> tuple[str, ...]:
    labels = {arm.label for arm in arms if not arm.is_reference}
    factors = [arm["factors"] for arm in state.created["arms"] if arm["label"] in labels]
    keys = dict.fromkeys(key for each in factors for key in each)
    by = state.created["confirm"]["by"]
    if by == EACH_ARM:  # then an arm stands for itself alone
        return ()
    keys.pop(by, None)
    return tuple(key for key in keys if len({repr(each.get(key)) for each in factors}) > 1)


def _curves(
    confirmed: Mapping[str, Sequence[Trial]], arms: Sequence[ConfirmedArm], metric: Metric
) -> Iterable[Curve]:
    """By arm, up to the last epoch that all its runs have reached; unless one is complete, of those under way."""
    for arm in arms:
        series = [
            [r.metrics[metric.name] for r in run.reports if metric.name in r.metrics]
            for run in _drawn(confirmed, arm)
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


def _drawn(confirmed: Mapping[str, Sequence[Trial]], arm: ConfirmedArm) -> Sequence[Trial]:
    """The completed runs of an arm; unless one is, those under way."""
    runs = confirmed.get(arm.label, ())
    return completed(runs) or [t for t in runs if t.status != "failed" and t.reports]
