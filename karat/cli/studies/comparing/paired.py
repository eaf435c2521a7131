"""The difference of two arms over the seeds that both have: planned, with a verdict, or a look that was not."""

from dataclasses import dataclass
from typing import Literal

from karat.cli.studies.comparing.sides import Side
from karat.journal.outcomes import is_final, metric_of, rule_of, test_values
from karat.journal.trial import Trial
from karat.statistics.comparison import Comparison, Rule, compare, turned

# Why there is no paired difference: other images or another metric, no seed in common, one only, an unfinished study.
Missing = Literal["", "data", "seeds", "one_seed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A paired difference, one minus other.

    Args:
        found: the comparison; None if there is none. Of a look that was not planned it has no p and no verdict.
        is_planned: whether the study was to compare these arms, so that there is a verdict.
        missing: why there is no difference.
        alpha: intervals are at 1 - alpha.
    """

    found: Comparison | None = None
    is_planned: bool = False
    missing: Missing = ""
    alpha: float = 0.05


def paired_difference(one: Side, other: Side, *, is_same_data: bool) -> Paired:
    """The difference of two arms or trials in the test metric.

    Args:
        one, other: arms or trials.
        is_same_data: whether their values can be compared at all.
    """
    if not is_same_data:
        return Paired(missing="data")
    is_one_study = one.folder.samefile(other.folder)
    are_arms = one.kind == other.kind == "arm"
    if is_one_study and are_arms:
        if not is_final(one.state):
            return Paired(missing="open")
        if (planned := _planned(one, other)) is not None:
            return Paired(found=planned, is_planned=True, alpha=rule_of(one.state.created).alpha)
    return _look(one, other)


def _planned(one: Side, other: Side) -> Comparison | None:
    """The comparison that the study makes of these arms; None if it makes none."""
    from karat.report.facts.summary import summarise

    summary = summarise(one.state)
    against = [arm.comparison for arm in summary.arms if arm.comparison is not None]
    for found in (*against, *summary.pairs):
        if (found.arm, found.against) == (one.arm, other.arm):
            return found
        if (found.arm, found.against) == (other.arm, one.arm):
            return turned(found)
    return None


def _look(one: Side, other: Side) -> Paired:
    """A comparison that nobody planned: its interval is of this look alone, and there is no verdict."""
    mine, theirs = _by_index(one.runs), _by_index(other.runs)
    shared = [i for i in mine.keys() & theirs.keys() if mine[i].seed == theirs[i].seed]
    if not shared or one.tunings != other.tunings:
        return Paired(missing="seeds")
    metric = metric_of(one.state.created)
    sides = [
        test_values([runs[index] for index in sorted(shared)], metric) for runs in (mine, theirs)
    ]
    if min(map(len, sides)) < 2:
        return Paired(missing="one_seed")
    stated = rule_of(one.state.created)
    rule = Rule(
        mode=stated.mode,
        smallest_difference=stated.smallest_difference,
        alpha=stated.alpha,
        tunings=stated.tunings,
    )
    labels = (one.given, other.given) if one.given != other.given else ("one", "other")
    found = compare(dict(zip(labels, sides, strict=True)), {labels[0]: labels[1]}, rule)
    return Paired(found=found[labels[0]], alpha=stated.alpha)


def _by_index(runs: list[Trial]) -> dict[int, Trial]:
    return {run.seed_index: run for run in runs}
