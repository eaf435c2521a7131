"""The section of a report about several goals: the Pareto front of the confirmed arms."""

from collections.abc import Callable, Iterator

from karat.report.facts.goals.front import RESAMPLES, FrontArm, FrontFacts
from karat.report.facts.summary import Summary
from karat.report.formatting import GOAL_NAMES, listed, percent
from karat.report.tables import Section, table_of
from karat.report.wording import name_of
from karat.statistics.samples import Sample

TITLE = "Pareto front"


def front_section(summary: Summary) -> Section | None:
    """How the confirmed arms stand in all goals; None for a study with one goal, or without results."""
    facts = summary.front
    if facts is None or not facts.arms:
        return None
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    table = table_of(
        sorted(facts.arms, key=lambda arm: not arm.is_on_front),
        ("arm", "text", lambda arm: arm.label + " (reference)" * arm.is_reference),
        *((f"{GOAL_NAMES[goal.metric][0]}, {share}", "range", _goal(facts, k)) for k, goal in enumerate(facts.goals)),
        ("on the front", "text", lambda arm: "yes" if arm.is_on_front else "no"),
        ("of resamples", "number", lambda arm: "-" if arm.share is None else percent(arm.share)),
        cards=True,
    )  # fmt: skip
    return Section(
        title=TITLE,
        paragraphs=tuple(_notes(summary, facts)),
        tables=(table,),
    )


def _notes(summary: Summary, facts: FrontFacts) -> Iterator[str]:
    if not summary.is_final:
        yield "The confirmation has not ended: the front may change."
    arms = {arm.label: name_of(arm, summary) for arm in summary.arms}
    names = listed([arms[arm.label] for arm in facts.arms if arm.is_on_front])
    yield (
        f"Goals: {listed([str(goal) for goal in facts.goals])}. By their means, no other confirmed arm is as good in all goals and "
        f"better in one as these: {names}. Each arm stands there with the cell that was best in the search in "
        f"{facts.goals[0].metric}, about which the verdicts are; whether arms of the front differ was not tested."
    )
    if any(arm.share is not None for arm in facts.arms):
        yield (
            f"Of resamples: the {facts.seeds} seeds were drawn {RESAMPLES:,} times with replacement, the same for all arms, and "
            "this share of the draws leaves the arm on the front. It says how far its place depends on these seeds, and is no "
            "probability that it belongs there."
        )
    else:
        yield "Too few seeds are known of all arms to say how far the front depends on them."
    if facts.left_out:
        yield f"Left out, since a goal of theirs is not known: {listed([arms[label] for label in facts.left_out])}."
    if facts.searched:
        yield (
            f"In the search, by validation values of one seed each, {len(facts.searched_front)} of {facts.searched} trials at full "
            f"length are on the front of all arms: trials {listed([str(n) for n in facts.searched_front])}."
        )


def _goal(facts: FrontFacts, place: int) -> Callable[[FrontArm], str]:
    """What a column shows of an arm: the mean and its interval; the mean alone where all seeds have the same value."""
    _, unit = GOAL_NAMES[facts.goals[place].metric]

    def shown(arm: FrontArm) -> str:
        sample: Sample = arm.samples[place]
        assert sample.mean is not None
        middle = number(sample.mean / unit)
        if sample.low is None or sample.high is None or sample.low == sample.high:
            return middle
        return f"{middle} [{number(sample.low / unit)}, {number(sample.high / unit)}]"

    return shown


def number(value: float) -> str:
    """A number with as many digits as its size asks for: `30,472`, `96.21`, `0.2514`."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"
