"""What the confirmation of a study can see, before its launch and, with the study's own spread, after it."""

from collections.abc import Iterator

from karat.journal.outcomes import rule_of
from karat.journal.state import StudyState
from karat.planning.top_up import compared_arms
from karat.report.formatting import Units
from karat.space.space import Space
from karat.statistics.metric import Metric
from karat.statistics.power import POWER, Sight, Spread, pooled_spread, sight


def spread_of(state: StudyState) -> Spread | None:
    """The spread of paired differences in a study, pooled over its arms; None before two runs of a pair."""
    if not state.created or state.confirmation is None:
        return None
    return pooled_spread(compared_arms(state, rule_of(state.created)).values())


def sight_of(space: Space, spread: float) -> Sight:
    """What the confirmation of a space can see, if paired differences have this standard deviation."""
    confirm = space.confirm
    return sight(
        seeds=confirm.tunings if confirm.tunings > 1 else confirm.most_each,
        looks=confirm.looks,
        arms=len(space.references),
        alpha=confirm.alpha,
        smallest_difference=confirm.smallest_difference,
        spread=spread,
    )


def rule_text(space: Space) -> str:
    """The rule of the verdicts, in words (`karat.statistics.comparison.compare`)."""
    confirm, arms = space.confirm, len(space.references)
    units = Units(Metric(name=space.search.metric, mode=space.search.mode))
    least = f"{units.number(confirm.smallest_difference)}{units.step}"
    holm = f", Holm-corrected over {arms} comparisons," if arms > 1 else ""
    looks = ", at all looks at once" if confirm.looks else ""
    return (
        f"an arm is equivalent if the {100 * (1 - confirm.alpha):g} % interval of its paired difference lies within "
        f"{least} of zero{looks}; otherwise better or worse if p of the paired t test{holm} is below "
        f"{confirm.alpha:g}; otherwise inconclusive"
    )


def sight_lines(space: Space, state: StudyState | None) -> Iterator[str]:
    """What can be seen, in words: in standard deviations, then in the metric's unit.

    Args:
        space: of the study.
        state: of the study on disk; None where there is none.
    """
    units = Units(Metric(name=space.search.metric, mode=space.search.mode))
    known = None if state is None else spread_of(state)
    found = sight_of(space, known.sd if known else space.confirm.smallest_difference)
    unit = "tunings" if space.confirm.tunings > 1 else "seeds"
    at_most = "at most " if space.confirm.looks else ""
    arms = len(space.references)
    holm = f", the first of {arms} arms in Holm's correction" if arms > 1 else ""
    yield (
        f"{at_most}{found.seeds} {unit} call a true difference of {found.effect:.2f} standard deviations of the "
        f"paired differences in {100 * POWER:.0f} % of studies (alpha {space.confirm.alpha:g}{holm})"
    )
    sd = f"{units.number(found.spread)}{units.step}"
    if known:
        pairs = f"{known.pairs} pairs of {known.arms} arm{'s' * (known.arms != 1)}"
        begin = f"in this study that deviation is {sd} so far ({pairs})"
    else:
        begin = f"if that deviation is {sd}, which no run has shown yet"
    yield (
        f"{begin}: {units.number(found.difference)}{units.step}; equal arms are then called equivalent in "
        f"{100 * found.equivalent:.0f} %"
    )
