"""The section of a report that shows published results beside the study's own."""

from dataclasses import dataclass

from karat.parameters import label_of
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, interval_text, spread_text
from karat.report.tables import Section, table_of
from karat.space.published import Published, about_no_arm


@dataclass(frozen=True, slots=True)
class _Row:
    """A confirmed arm beside what was published: its value, and its difference to the published reference."""

    arm: ConfirmedArm
    value: float
    difference: float | None


def published_section(summary: Summary) -> Section | None:
    """The confirmed arms that have a published result; None without any published results."""
    published, units = summary.published, Units(summary.metric)
    if published is None:
        return None
    rows = _rows(published, summary)
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    table = table_of(
        rows,
        ("arm", "text", lambda row: row.arm.label + " (reference)" * row.arm.is_reference),
        (f"published{in_unit(units.unit)}", "number", lambda row: units.number(row.value)),
        (f"here{in_unit(units.unit)}", "number", lambda row: spread_text(row.arm.test, units)),
        (
            f"published difference{in_unit(units.step)}",
            "number",
            lambda row: units.number(row.difference, "+"),
        ),
        (
            f"difference here{in_unit(units.step)}, {share}",
            "range",
            lambda row: interval_text(row.arm.comparison, units),
        ),
        ("published one in it", "text", lambda row: _is_inside(row, summary)),
        cards=True,
    )
    return Section(
        title="Beside published results",
        paragraphs=(
            f"Published: {published.source}. {published.setting.rstrip('.')}.",
            "They were not checked here. How this study's runs were trained, which may differ, is said below. No "
            "verdict of this report rests on them.",
            *_left_out(published, summary),
        ),
        tables=(table,) if rows else (),
    )


def _rows(published: Published, summary: Summary) -> list[_Row]:
    found = {
        arm.label: published.of(arm.factors) if arm.raw is None else None for arm in summary.arms
    }
    rows = []
    for arm in summary.arms:
        own, other = found[arm.label], found.get(arm.against or "")
        if own is not None:
            difference = None if other is None else own.value - other.value
            rows.append(_Row(arm, own.value, difference))
    return rows


def _is_inside(row: _Row, summary: Summary) -> str:
    """Whether the interval found here has the published difference in it; `-` before all runs have ended."""
    found = row.arm.comparison
    if not summary.is_final or row.difference is None:
        return "-"
    if found is None or found.low is None or found.high is None:
        return "-"
    return "yes" if found.low <= row.difference <= found.high else "no"


def _left_out(published: Published, summary: Summary) -> tuple[str, ...]:
    """A note on the results that the table does not show."""
    rest = about_no_arm(published, (arm.factors for arm in summary.arms))
    if not rest:
        return ()
    names = "; ".join(label_of(each.levels) for each in rest)
    return (f"Published results of arms that are not confirmed here: {names}.",)
