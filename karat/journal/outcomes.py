"""What the confirmation of a study has found, as its plan and its report both take it: values, failures, the rule."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from karat.journal.trial import Trial
from karat.statistics.comparison import Rule
from karat.statistics.metric import Metric
from karat.statistics.sequential import looks_at


def metric_of(created: Mapping[str, Any]) -> Metric:
    """The metric of a study, from the data of `study_created`."""
    return Metric(name=created["metric"], mode=created["mode"])


def rule_of(created: Mapping[str, Any]) -> Rule:
    """What the study calls a difference, from the data of `study_created`."""
    confirm = created["confirm"]
    return Rule(
        mode=created["mode"],
        smallest_difference=confirm["smallest_difference"],
        alpha=confirm["alpha"],
        tunings=confirm.get("tunings", 1),
        worst=metric_of(created).worst,
        looks=looks_of(confirm),
    )


def looks_of(confirm: Mapping[str, Any]) -> tuple[int, ...]:
    """Seeds of an arm at which its verdict is looked at; empty where none are added."""
    top_up = confirm.get("top_up")
    if top_up is None:
        return ()
    return looks_at(confirm["seeds"], top_up["most"], top_up["step"])


def test_values(trials: Iterable[Trial], metric: Metric) -> dict[int, float]:
    """Seed index to test value of the completed runs."""
    return {
        trial.seed_index: value
        for trial in trials
        if trial.status == "completed" and (value := trial.last(metric.test)) is not None
    }


def failed_seeds(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Seed indices of the runs that failed."""
    return tuple(trial.seed_index for trial in trials if trial.status == "failed")
