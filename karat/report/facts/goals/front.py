"""The Pareto front of the confirmed arms: those that no other arm beats in one goal without losing in another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from karat.goals import Goal, front_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.report.facts.confirmed import ConfirmedArm
from karat.statistics.metric import Metric
from karat.statistics.samples import Sample, describe

RESAMPLES = 2000
_LEAST_SEEDS = 3  # of which to resample: with two, half of the draws have one seed alone
_MOST = 60  # arms that are compared in each resample


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontArm:
    """A confirmed arm and its goals.

    Args:
        label: of the arm.
        is_reference: whether others are compared with it.
        samples: of each goal, over the completed runs; the metrics of an epoch are those of the test.
        is_on_front: by its means, no other arm is as good in all goals and better in one.
        share: of the resamples of the seeds in which that is so; None where too few seeds are known of all arms.
    """

    label: str
    is_reference: bool
    samples: tuple[Sample, ...]
    is_on_front: bool
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontFacts:
    """The goals of a study, and how its arms stand.

    Args:
        goals: the first is about what the verdicts are.
        arms: confirmed arms of which every goal is known, in the order of the report.
        left_out: labels of those of which one is not.
        seeds: seed indices that all of these arms have completed.
        searched: completed trials of the search of which every goal is known.
        searched_front: of these, the numbers of those that no other one dominates.
    """

    goals: tuple[Goal, ...]
    arms: tuple[FrontArm, ...]
    left_out: tuple[str, ...]
    seeds: int
    searched: int
    searched_front: tuple[int, ...]


def front_facts(
    state: StudyState,
    confirmed: Mapping[str, Sequence[Trial]],
    arms: Sequence[ConfirmedArm],
    metric: Metric,
    alpha: float,
) -> FrontFacts | None:
    """How the arms stand in the goals; None for a study with one goal.

    Args:
        state: of the study.
        confirmed: label of an arm to its runs, at the longest training.
        arms: confirmed arms.
        metric: of the study.
        alpha: the intervals have 1 - alpha.
    """
    goals = tuple(Goal(**each) for each in state.created["search"].get("goals", ()))
    if not goals:
        return None
    runs = {arm.label: _runs_of(confirmed.get(arm.label, ()), goals) for arm in arms}
    known = [arm for arm in arms if runs[arm.label]]
    values = [runs[arm.label] for arm in known]
    means = [[float(np.mean(each)) for each in zip(*of.values(), strict=True)] for of in values]
    on_front = set(front_of([_good(goals, each) for each in means]))
    seeds = sorted(set.intersection(*map(set, values))) if values else []
    shares = _shares(goals, [[of[seed] for seed in seeds] for of in values])
    searched = {
        trial.number: point
        for trial in state.of_phase("search")
        if trial.status == "completed"
        and (point := _known([trial.goal(goal.metric) for goal in goals])) is not None
    }
    numbers = list(searched)
    found = front_of([_good(goals, each) for each in searched.values()])
    return FrontFacts(
        goals=goals,
        arms=tuple(
            FrontArm(
                label=arm.label,
                is_reference=arm.is_reference,
                samples=tuple(
                    describe(each, alpha) for each in zip(*values[place].values(), strict=True)
                ),
                is_on_front=place in on_front,
                share=None if shares is None else shares[place],
            )
            for place, arm in enumerate(known)
        ),
        left_out=tuple(arm.label for arm in arms if not runs[arm.label]),
        seeds=len(seeds),
        searched=len(searched),
        searched_front=tuple(numbers[place] for place in found),
    )


def _runs_of(trials: Sequence[Trial], goals: Sequence[Goal]) -> dict[int, tuple[float, ...]]:
    """Seed index to the goals of a completed run; empty if a goal of one of them is not known."""
    found = {}
    for trial in trials:
        if trial.status != "completed":
            continue
        point = _known([_tested(trial, goal.metric) for goal in goals])
        if point is None:
            return {}
        found[trial.seed_index] = point
    return found


def _tested(trial: Trial, metric: str) -> float | None:
    """A goal of a confirmed run: metrics of an epoch on the test images."""
    return trial.goal(metric.replace("val_", "test_", 1))


def _known(values: Sequence[float | None]) -> tuple[float, ...] | None:
    told = tuple(value for value in values if value is not None)
    return told if len(told) == len(values) else None


def _good(goals: Sequence[Goal], values: Sequence[float]) -> list[float]:
    return [goal.goodness(value) for goal, value in zip(goals, values, strict=True)]


def _shares(
    goals: Sequence[Goal], values: Sequence[Sequence[Sequence[float]]]
) -> list[float] | None:
    """The share of the resamples of the seeds, the same for all arms, in which each is on the front.

    Args:
        goals: G of them.
        values: [arms, seeds, G].
    """
    if not 2 <= len(values) <= _MOST or len(values[0]) < _LEAST_SEEDS:
        return None
    signs = np.array([1.0 if goal.mode == "max" else -1.0 for goal in goals])
    values_ASG = np.asarray(values, np.float64) * signs
    seeds = values_ASG.shape[1]
    draws_RS = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    means_ARG = values_ASG[:, draws_RS].mean(2)
    return [float(1 - _dominated(means_ARG, place).mean()) for place in range(len(values))]


def _dominated(means_ARG: npt.NDArray[np.float64], place: int) -> npt.NDArray[np.bool_]:
    """Whether another arm dominates this one, in each resample: [R]."""
    own_RG = means_ARG[place]
    # What is the same for all seeds, as parameters are, must not differ by the rounding of a mean.
    close = np.isclose(means_ARG, own_RG, rtol=1e-12, atol=0.0)
    as_good, better = (means_ARG >= own_RG) | close, (means_ARG > own_RG) & ~close
    found: npt.NDArray[np.bool_] = (as_good.all(2) & better.any(2)).any(0)
    return found
