"""Test values of every confirmed run, by arm."""

from collections.abc import Iterator
from functools import partial

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Panel, horizontal, round_ticks
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, Look, looks_of, mark
from karat.report.figures.svg import GRID, SOFT, Svg
from karat.report.formatting import Units, in_unit, spread_text
from karat.report.wording import name_of, reference_text

ROW, TOP, NAMES, RIGHT, NUMBERS = 32.0, 30.0, 236.0, 596.0, 716.0


def by_arm(summary: Summary) -> Iterator[Figure]:
    """Where at least one confirmation run was completed."""
    arms = [arm for arm in summary.arms if arm.runs]
    if not arms:
        return
    rule = summary.rule
    share, unit = f"{100 * (1 - rule.alpha):g} %", "seed" if rule.tunings == 1 else "tuning"
    cut = (
        " An interval ends at 100 % where it would go on beyond."
        if summary.metric.is_share and any((arm.test.high or 0.0) > 1 for arm in arms)
        else ""
    )
    yield Figure(
        file=f"test_{summary.metric.noun}.svg",
        title=f"Test {summary.metric.noun} of each arm",
        caption=(
            f"Test {summary.metric.noun} of each confirmed run, a dot for each seed, with the mean of each arm and its "
            f"{share} interval over {unit}s. These intervals are of single means; whether arms differ "
            f"is said by the differences to {reference_text(summary)}, which are paired by {unit}.{cut}"
        ),
        draw=partial(_draw, summary, arms),
    )


def _draw(summary: Summary, arms: list[ConfirmedArm]) -> str:
    units, looks = Units(summary.metric), looks_of(summary)
    near = set(most_of([arm.test.mean for arm in arms if arm.test.mean is not None]))
    close = [arm for arm in arms if arm.test.mean in near]
    bottom = TOP + ROW * len(arms) + 4
    left = svg.column_for((_name(arm, summary) for arm in arms), NAMES)
    panels = [_panel(summary, arms, left, RIGHT, bottom)]
    if len(close) < len(arms):
        middle = left + (RIGHT - left) / 3
        panels = [
            _panel(summary, arms, left, middle - 18, bottom),
            _panel(summary, close, middle + 18, RIGHT, bottom),
        ]
    places = [TOP + 2 + ROW * (place + 0.5) for place in range(len(arms))]
    axis = f"test {summary.metric.noun}{in_unit(units.unit)}"
    return svg.document(
        f"Test {summary.metric.noun} of each arm",
        WIDTH,
        bottom + 44,
        svg.text(4, TOP - 10, "arm", fill=SOFT),
        svg.text(
            NUMBERS, TOP - 10, f"mean ± s.d.{in_unit(units.unit)}", fill=SOFT, text_anchor="end"
        ),
        *(_axis(panel, axis if number == 0 else "close up") for number, panel in enumerate(panels)),
        *(
            _row(summary, arm, looks[arm.label], y, panels)
            for arm, y in zip(arms, places, strict=True)
        ),
    )


def _panel(
    summary: Summary, arms: list[ConfirmedArm], left: float, right: float, bottom: float
) -> Panel:
    """Holds the runs of these arms, and their intervals."""
    ends = [end for arm in arms for end in (arm.test.low, arm.test.high) if end is not None]
    seen = [*ends, *(value for arm in arms for value in arm.runs.values())]
    scaled = map(Units(summary.metric).scaled, seen)
    low, high = range_of(scaled, share=summary.metric.is_share)
    return Panel(
        x=Scale(low=low, high=high, start=left, stop=right),
        y=Scale(low=0, high=1, start=bottom, stop=TOP),
    )


def _axis(panel: Panel, name: str) -> Svg:
    ticks = round_ticks(panel.x, panel.right - panel.left)
    grid = (svg.line(panel.x(at), TOP, panel.x(at), panel.bottom, stroke=GRID) for at, _ in ticks)
    return svg.group(*grid, horizontal(panel.x, panel.bottom, name))


def _row(summary: Summary, arm: ConfirmedArm, look: Look, y: float, panels: list[Panel]) -> Svg:
    units = Units(summary.metric)
    return svg.group(
        svg.row_name(4, y, _name(arm, summary), panels[0].left - 14),
        *(_runs(summary, arm, look, y, panel) for panel in panels),
        *(_mean(panel, arm, look, units, y + 7) for panel in panels),
        svg.text(NUMBERS, y + 4, spread_text(arm.test, units), text_anchor="end"),
        data_arm=arm.label,
    )


def _name(arm: ConfirmedArm, summary: Summary) -> str:
    return name_of(arm, summary) + " (reference)" * arm.is_reference


def _runs(summary: Summary, arm: ConfirmedArm, look: Look, y: float, panel: Panel) -> Svg:
    """A dot for each seed, one below the other so that equal values are seen."""
    units, name = Units(summary.metric), name_of(arm, summary)
    runs = sorted(arm.runs.items())
    gap = min(2.4, 12 / max(1, len(runs) - 1))
    dots = []
    for place, (seed, value) in enumerate(runs):
        if not panel.x.has(units.scaled(value)):
            continue
        told = f"{name}, trial {arm.trials.get(seed, '?')}, seed {seed}: {units.number(value)}{units.unit}"
        dots.append(
            svg.element(
                "circle", svg.title(told),
                cx=panel.x(units.scaled(value)), cy=y - 6 + gap * (place - (len(runs) - 1) / 2), r=3,
                data_trial=str(arm.trials[seed]) if seed in arm.trials else None,
            )
        )  # fmt: skip
    return svg.group(*dots, fill=look.colour, fill_opacity=0.45)


def _mean(panel: Panel, arm: ConfirmedArm, look: Look, units: Units, y: float) -> Svg:
    sample = arm.test
    if sample.mean is None or not panel.x.has(units.scaled(sample.mean)):
        return Svg("")
    told = svg.title(f"{arm.label}: mean {spread_text(sample, units)}{units.unit}")
    parts = []
    if sample.low is not None and sample.high is not None:
        low, high = units.scaled(sample.low), units.scaled(sample.high)
        left, right = panel.x(max(low, panel.x.low)), panel.x(min(high, panel.x.high))
        parts.append(svg.line(left, y, right, y))
        parts += [
            svg.line(at, y - 5, at, y + 5)
            for at, end in ((left, low), (right, high))
            if panel.x.has(end)
        ]
    x = panel.x(units.scaled(sample.mean))
    return svg.group(
        told,
        svg.group(*parts, stroke="#000", stroke_width=1.6),
        mark("diamond", x, y, 5, fill=look.colour, stroke="#000", stroke_width=1.2),
    )
