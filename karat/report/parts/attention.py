"""What is said of attention that is at an end of what it can be in all heads, as a fact."""

from collections.abc import Iterator

from karat.report.facts.summary import Summary
from karat.report.facts.training.attention import ArmHealth, Collapse
from karat.report.tables import Card
from karat.report.wording import name_of

_NAMED = 6  # arms that the card names


def collapsed_card(summary: Summary) -> Card | None:
    """The arms whose attention has collapsed in all heads, with figures; None without any."""
    names = {arm.label: name_of(arm, summary) for arm in summary.arms}
    arms = [arm for arm in summary.attention if arm.collapses]
    if not arms:
        return None
    told = [f"{names[arm.label]}: {'; '.join(_told(arm))}." for arm in arms[:_NAMED]]
    if len(arms) > _NAMED:
        told.append(f"And {len(arms) - _NAMED} more.")
    return Card(
        title="Attention has collapsed in all heads",
        found=" ".join(told),
        helps="The figure of attention by epoch shows the course; it does not say why.",
    )


def _told(arm: ArmHealth) -> Iterator[str]:
    for each in arm.collapses:
        yield f"{_text(each)} (after the last epoch of {each.runs} of {arm.runs} run{'s' * (arm.runs != 1)})"


def _text(collapse: Collapse) -> str:
    if collapse.kind == "same weights":
        return (
            "the queries of an image have nearly the same weights but for their size, mean effective rank "
            f"{_span(collapse, 2)} of {collapse.tokens}"
        )
    how = "one token nearly alone" if collapse.kind == "one token" else "all tokens nearly alike"
    return f"queries attend to {how}, mean entropy by head {_span(collapse, 3)}"


def _span(collapse: Collapse, digits: int) -> str:
    ends = dict.fromkeys(f"{value:.{digits}f}" for value in (collapse.low, collapse.high))
    return " to ".join(ends)
