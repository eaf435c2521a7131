"""The answer as a forest plot: each confirmed arm against its reference."""

import statistics
from collections.abc import Iterable, Iterator
from functools import partial

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Panel, horizontal
from karat.report.figures.scales import Scale
from karat.report.figures.style import WIDTH, Look, looks_of
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import Units, in_unit, interval_text
from karat.report.wording import name_of, reference_text, verdict_text
from karat.statistics.comparison import Comparison

ROW, TOP, NAMES, END = 28.0, 34.0, 236.0, 716.0
VERDICT = 86.0  # width of the longest one
ZONE = "#e3eef7"


def differences(summary: Summary) -> Iterator[Figure]:
    """Where at least one arm has a difference."""
    arms = [arm for arm in summary.others if _difference(arm) is not None]
    if not arms:
        return
    yield Figure(
        file="differences.svg",
        title=f"Differences to {reference_text(summary)}",
        caption=" ".join(_caption(summary, arms)),
        draw=partial(_draw, summary, arms),
    )


def _difference(arm: ConfirmedArm) -> float | None:
    return arm.comparison.difference if arm.comparison else None


def _caption(summary: Summary, arms: list[ConfirmedArm]) -> Iterator[str]:
    rule, units = summary.rule, Units(summary.metric)
    share = f"{100 * (1 - rule.alpha):g} % interval"
    paired = "seed" if rule.tunings == 1 else "tuning"
    looks = " (at all looks at once)" if rule.looks else ""
    yield (
        f"Each arm's test {summary.metric.noun} minus that of {reference_text(summary)}, paired by {paired}: "
        f"the mean, and as a thick line its {share}{looks} over {paired}s, for these test images."
    )
    if any(arm.population for arm in arms):
        yield "The thin line is the interval if the test images are a sample too."
    failed = (
        ", also with failed runs as outcomes" if any(arm.failed for arm in summary.arms) else ""
    )
    yield (
        f"The shaded zone is plus or minus the smallest difference of interest, {units.number(rule.smallest_difference)}"
        f"{units.step}; where the whole interval lies in it{failed}, an arm is called equivalent."
    )
    if len(arms) > 1 and summary.is_final:
        yield "Better and worse are corrected over the arms (Holm); each interval holds for itself."
    if not summary.is_final:
        yield "The confirmation has not ended, so there are no verdicts."


def _draw(summary: Summary, arms: list[ConfirmedArm]) -> str:
    looks, units = looks_of(summary), Units(summary.metric)
    bottom = TOP + ROW * len(arms) + 6
    low, high = _range(summary, arms)
    panel = Panel(
        x=Scale(
            low=low, high=high, start=_names(summary, arms), stop=_numbers_at(summary, arms) - 12
        ),
        y=Scale(low=0, high=1, start=bottom, stop=TOP),
    )
    zone = [panel.x(side * units.scaled(summary.rule.smallest_difference)) for side in (-1, 1)]
    rows = [
        _row(summary, arm, looks[arm.label], TOP + 3 + ROW * (place + 0.5), panel)
        for place, arm in enumerate(arms)
    ]
    return svg.document(
        f"Differences to {reference_text(summary)}",
        WIDTH,
        bottom + 62,
        _head(summary, panel.right + 12),
        svg.box(zone[0], TOP, zone[1] - zone[0], bottom - TOP, fill=ZONE),
        svg.line(panel.x(0), TOP, panel.x(0), bottom, stroke=SOFT, stroke_dasharray="3 3"),
        _axis(panel, summary),
        *rows,
    )


def _names(summary: Summary, arms: list[ConfirmedArm]) -> float:
    """Where the column with the names ends."""
    return svg.column_for((name_of(arm, summary) for arm in arms), NAMES)


def _numbers_at(summary: Summary, arms: list[ConfirmedArm]) -> float:
    """Where the column with the differences begins, so that it has room before that of the verdicts."""
    units = Units(summary.metric)
    texts = [_heading(summary), *(interval_text(arm.comparison, units) for arm in arms)]
    return END - VERDICT - max(map(svg.width_of, texts))


def _heading(summary: Summary) -> str:
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    return f"difference{in_unit(Units(summary.metric).step)}, {share}"


def _range(summary: Summary, arms: list[ConfirmedArm]) -> tuple[float, float]:
    """Zero, the zone and every difference are on the axis; an interval only as far as it is not too wide."""
    scaled = Units(summary.metric).scaled
    zone = scaled(summary.rule.smallest_difference)
    ends = [0.0, zone, -zone, *(scaled(_difference(arm) or 0.0) for arm in arms)]
    halves = [scaled(_half(arm.comparison)) for arm in arms if arm.comparison]
    most = 2.5 * max(statistics.median(halves), zone)
    for arm in arms:
        at, half = scaled(_difference(arm) or 0.0), min(scaled(_half(arm.comparison)), most)
        ends += [at - half, at + half]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low)
    return low - room, high + room


def _half(found: Comparison | None) -> float:
    if found is None or found.low is None or found.high is None:
        return 0.0
    return (found.high - found.low) / 2


def _head(summary: Summary, numbers: float) -> Svg:
    return svg.group(
        svg.text(4, TOP - 12, "arm"),
        svg.text(numbers, TOP - 12, _heading(summary)),
        svg.text(END, TOP - 12, "verdict" if summary.is_final else "", text_anchor="end"),
        fill=SOFT,
    )


def _axis(panel: Panel, summary: Summary) -> Svg:
    units = Units(summary.metric)
    sides = ("worse", "better") if summary.metric.mode == "max" else ("better", "worse")
    y = panel.bottom + 52
    return svg.group(
        horizontal(panel.x, panel.bottom, f"test {summary.metric.noun}{in_unit(units.step)}"),
        svg.text(panel.left, y, f"← {sides[0]}", fill=SOFT),
        svg.text(panel.right, y, f"{sides[1]} →", fill=SOFT, text_anchor="end"),
    )


def _row(summary: Summary, arm: ConfirmedArm, look: Look, y: float, panel: Panel) -> Svg:
    found, units = arm.comparison, Units(summary.metric)
    assert found is not None
    verdict = verdict_text(arm, summary)
    told = f"{name_of(arm, summary)}: {interval_text(found, units)}{units.step}, {verdict}"
    settled = verdict in ("better", "worse")
    return svg.group(
        svg.title(told),
        svg.row_name(4, y, name_of(arm, summary), panel.left - 14),
        _interval(panel, arm.population, units, y, {"stroke": SOFT, "stroke_width": 1.2}),
        _interval(
            panel, _ends(found), units, y, {"stroke": look.colour, "stroke_width": 4}, beyond=True
        ),
        svg.element(
            "circle",
            cx=panel.x(units.scaled(found.difference or 0.0)),
            cy=y,
            r=4,
            fill="#fff",
            stroke=look.colour,
            stroke_width=2,
        ),
        svg.text(panel.right + 12, y + 4, interval_text(found, units)),
        svg.text(END, y + 4, verdict, text_anchor="end", font_weight=700 if settled else None),
        data_arm=arm.label,
    )


def _ends(found: Comparison) -> tuple[float, float] | None:
    return None if found.low is None or found.high is None else (found.low, found.high)


def _interval(
    panel: Panel,
    ends: tuple[float, float] | None,
    units: Units,
    y: float,
    pen: dict[str, str | float | None],
    *,
    beyond: bool = False,
) -> Svg:
    """A line from end to end, with an arrow where it goes on beyond the axis."""
    if ends is None:
        return Svg("")
    low, high = map(units.scaled, ends)
    left, right = max(low, panel.x.low), min(high, panel.x.high)
    parts = [svg.line(panel.x(left), y, panel.x(right), y, **pen)]
    tips: Iterable[tuple[bool, float, float]] = (
        (low < panel.x.low, panel.left, 7),
        (high > panel.x.high, panel.right, -7),
    )
    for is_cut, x, back in tips:
        if is_cut and beyond:
            tip = [(x + back, y - 5), (x, y), (x + back, y + 5)]
            parts.append(svg.path([tip], stroke=pen["stroke"], stroke_width=2))
    return svg.group(*parts)
