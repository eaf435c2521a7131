"""The validation of every search trial by epoch, a panel for each arm."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from karat.report.facts.history import LearningCurve, SearchTrial
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, left_out_text, svg
from karat.report.figures.axes import Panel, frame
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, Look, looks_of, mark, short_names
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import Units, in_unit

HIGH, TOP, APART, LEFT = 112.0, 46.0, 44.0, 50.0


def learning_curves(summary: Summary) -> Iterator[Figure]:
    """Where a search trial has reported."""
    if summary.history.curves:
        yield Figure(
            file="learning_curves.svg",
            title="Learning curves of the search",
            caption=" ".join(_caption(summary)),
            draw=partial(_draw, summary),
        )


def _caption(summary: Summary) -> Iterator[str]:
    history, states = summary.history, {curve.trial.status for curve in summary.history.curves}
    yield f"Validation {summary.metric.noun} of the search trials by epoch, a line for each."
    if "stopped" in states:
        yield "Grey lines that end in a ring were stopped early."
    if "failed" in states:
        yield "Those that end in a cross failed."
    if any(curve.trial.is_confirmed for curve in history.curves):
        yield "The trials whose cells were confirmed are thick."
    if history.each is not None:
        yield (
            f"At most {history.each} trial{'s' * (history.each != 1)} of an arm are drawn: the confirmed one, the best one, and others spread "
            f"evenly over the search; {len(history.curves)} of {len(history.trials)} in all."
        )
    if history.left_out:
        yield left_out_text(history.left_out)
    low, high = _ends(summary)
    if any(not low <= value <= high for value in _values(summary)):
        yield "Lines that are cut off go on beyond the axis."


def _values(summary: Summary) -> list[float]:
    scaled = Units(summary.metric).scaled
    return [scaled(value) for curve in summary.history.curves for value in curve.values]


def _ends(summary: Summary) -> tuple[float, float]:
    """Of the vertical axis of all panels, so that they compare; the first epochs may lie beyond it."""
    scaled, curves = Units(summary.metric).scaled, summary.history.curves
    last = max(curve.trial.epochs for curve in curves)
    late = [
        scaled(value)
        for curve in curves
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
        if epoch >= last / 4 or epoch == curve.epochs[-1]
    ]
    return range_of(most_of(late), share=summary.metric.is_share)


def _draw(summary: Summary) -> str:
    curves, looks, ends = summary.history.curves, looks_of(summary), _ends(summary)
    labels = list(dict.fromkeys(curve.trial.arm for curve in curves))
    columns = min(3, len(labels))
    wide = (WIDTH - LEFT - 12 - 24 * (columns - 1)) / columns
    last = max(2, max(curve.trial.epochs for curve in curves))
    names = short_names(labels, 0.92 * wide, [arm.label for arm in summary.references])
    parts = []
    for place, label in enumerate(labels):
        row, column = divmod(place, columns)
        left, top = LEFT + column * (wide + 24), TOP + row * (HIGH + APART)
        panel = Panel(
            x=Scale(low=1, high=last, start=left, stop=left + wide),
            y=Scale(low=ends[0], high=ends[1], start=top + HIGH, stop=top),
        )
        mine = [curve for curve in curves if curve.trial.arm == label]
        parts.append(frame(panel, heading=names[label], y_labels=column == 0))
        parts.append(_arm(panel, mine, looks[label], summary, label))
    bottom = TOP + math.ceil(len(labels) / columns) * (HIGH + APART) - APART
    units = Units(summary.metric)
    name = f"validation {summary.metric.noun}{in_unit(units.unit)} by epoch"
    heading = svg.text(LEFT, 18, name, fill=SOFT)
    return svg.document("Learning curves of the search", WIDTH, bottom + 26, heading, *parts)


def _arm(
    panel: Panel, curves: Sequence[LearningCurve], look: Look, summary: Summary, label: str
) -> Svg:
    """Stopped and failed ones above the whole ones, whose beginnings hide them; the confirmed one on top."""
    drawn = sorted(
        curves, key=lambda each: (each.trial.is_confirmed, each.trial.status != "completed")
    )
    return svg.group(*(_curve(panel, curve, look, summary) for curve in drawn), data_arm=label)


def _curve(panel: Panel, curve: LearningCurve, look: Look, summary: Summary) -> Svg:
    units, trial = Units(summary.metric), curve.trial
    points = [
        (epoch, units.scaled(value))
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
    ]
    is_whole = trial.status not in ("stopped", "failed")
    colour = look.colour if is_whole else "#9aa2ab"
    number = str(trial.number)
    told = f"trial {number}, {trial.status} after epoch {curve.epochs[-1]}: {units.number(curve.values[-1])}{units.unit}"
    line = svg.path(
        panel.cut(points),
        svg.title(told),
        stroke=colour,
        stroke_width=2.6 if trial.is_confirmed else 1,
        stroke_opacity=None if trial.is_confirmed else 0.6,
        data_trial=number,
    )
    end = _end(panel, points, trial, colour, told) if panel.has(*points[-1]) else Svg("")
    return Svg(line * (len(points) > 1) + end)


def _end(
    panel: Panel,
    points: Sequence[tuple[float, float]],
    trial: SearchTrial,
    colour: str,
    told: str,
) -> Svg:
    x, y = panel.x(points[-1][0]), panel.y(points[-1][1])
    shown, number = svg.title(told), str(trial.number)
    if trial.status == "failed":
        return mark("cross", x, y, 3.4, shown, fill="#1b1f23", data_trial=number)
    if trial.status == "stopped":
        pen: dict[str, str | float | None] = {"stroke": colour, "stroke_width": 1.2}
        return mark("circle", x, y, 2.6, shown, fill="#fff", data_trial=number, **pen)
    if len(points) == 1:
        return mark("circle", x, y, 1.8, shown, fill=colour, data_trial=number)
    return Svg("")
