"""The value of each search trial against each tuned parameter, a row of panels for each arm."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from karat.parameters import is_number
from karat.report.facts.history import SearchTrial, thinned
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, left_out_text, svg
from karat.report.figures.axes import Panel, frame
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, Look, looks_of, mark
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import Units, in_unit, short, text_of

HIGH, TOP, APART, LEFT = 84.0, 46.0, 34.0, 50.0
COLUMNS = 3  # of one figure; further parameters are in further figures
MOST_MARKS = 300  # of a panel's trials, in all arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A tuned parameter as a horizontal axis.

    Args:
        name: in full.
        values: the categories; None for a range.
        low, high, log: of the range.
    """

    name: str
    values: tuple[str, ...] | None
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def scale(self, start: float, stop: float) -> Scale:
        """With a little room beside the ends of the range."""
        if self.values is not None:
            return Scale(low=-0.5, high=len(self.values) - 0.5, start=start, stop=stop)
        if self.log:
            room = (self.high / self.low) ** 0.03
            return Scale(
                low=self.low / room, high=self.high * room, start=start, stop=stop, log=True
            )
        room = 0.03 * (self.high - self.low)
        return Scale(low=self.low - room, high=self.high + room, start=start, stop=stop)

    def place(self, value: Any) -> float | None:
        """Where a value is on the scale; None where it is not on it."""
        if self.values is not None:
            return (
                float(self.values.index(text_of(value))) if text_of(value) in self.values else None
            )
        return float(value) if is_number(value) and (value > 0 or not self.log) else None


def slices(summary: Summary) -> Iterator[Figure]:
    """One for each three tuned parameters, where a search trial has a value."""
    drawn = _drawn(summary)
    if not any(trial.score is not None for trial in drawn):
        return
    known = [*_parameters(summary.setup.ranges, drawn)]
    for number, first in enumerate(range(0, len(known), COLUMNS), start=1):
        shown = known[first : first + COLUMNS]
        yield Figure(
            file=f"slices{f'_{number}' if number > 1 else ''}.svg",
            title=f"Validation against {', '.join(short(each.name) for each in shown)}",
            caption=" ".join(_caption(summary, drawn, shown)),
            draw=partial(_draw, summary, drawn, shown),
        )


def _drawn(summary: Summary) -> list[SearchTrial]:
    history = summary.history
    most = max(1, MOST_MARKS // max(1, len(history.arms)))
    of_arm: dict[str, list[SearchTrial]] = {label: [] for label in history.arms}
    for trial in history.trials:
        if trial.arm in of_arm and trial.status in ("completed", "stopped", "failed"):
            of_arm[trial.arm].append(trial)
    return [t for of in of_arm.values() for t in thinned(of, most, summary.metric)]


def _parameters(
    ranges: Mapping[str, Mapping[str, Any]], drawn: Sequence[SearchTrial]
) -> Iterator[Parameter]:
    """Those that at least one trial has."""
    for name, given in ranges.items():
        if not any(name in trial.tuned for trial in drawn):
            continue
        low, high = given.get("low"), given.get("high")
        if low is not None and high is not None:
            log = bool(given.get("log", False))
            yield Parameter(name=name, values=None, low=float(low), high=float(high), log=log)
        else:
            values = given.get("values", ())
            yield Parameter(name=name, values=tuple(map(text_of, values)))


def _caption(
    summary: Summary, drawn: Sequence[SearchTrial], shown: Sequence[Parameter]
) -> Iterator[str]:
    states = {trial.status for trial in drawn}
    names = ", ".join(short(each.name) for each in shown)
    yield (
        f"Validation {summary.metric.noun} of the search trials after their last epoch against {names}, "
        "by arm. Filled marks are whole trials, ringed ones are of cells that were confirmed."
    )
    if "stopped" in states:
        yield "Grey rings were stopped early, so that their values are of fewer epochs."
    if "failed" in states:
        edge = "lower" if summary.metric.mode == "max" else "upper"
        yield f"Crosses at the {edge} edge failed."
    yield "Each arm has a vertical axis of its own, for its whole trials; marks at an edge are of values beyond."
    if len(shown) > 1:
        yield "Panels of one trial differ in all parameters at once."
    of = sum(trial.arm in summary.history.arms for trial in summary.history.trials)
    if len(drawn) < of:
        yield f"Of {of} trials {len(drawn)} are drawn: those that ended, of each arm the best one and others spread evenly."
    if summary.history.left_out:
        yield left_out_text(summary.history.left_out)


def _draw(summary: Summary, drawn: Sequence[SearchTrial], shown: Sequence[Parameter]) -> str:
    units, looks = Units(summary.metric), looks_of(summary)
    wide = (WIDTH - LEFT - 12 - 24 * (len(shown) - 1)) / len(shown)
    labels = [each for each in summary.history.arms if any(t.arm == each for t in drawn)]
    parts = []
    for row, label in enumerate(labels):
        top = TOP + row * (HIGH + APART)
        mine = [trial for trial in drawn if trial.arm == label]
        low, high = _ends(mine, units)
        parts.append(
            svg.text(LEFT, top - 8, svg.fitted(label, 0.92 * (WIDTH - LEFT - 12)), font_weight=600)
        )
        for column, parameter in enumerate(shown):
            left = LEFT + column * (wide + 24)
            panel = Panel(
                x=parameter.scale(left, left + wide),
                y=Scale(low=low, high=high, start=top + HIGH, stop=top),
            )
            parts.append(_axes(panel, parameter, row == len(labels) - 1, column == 0))
            marks = (_mark(panel, parameter, trial, looks[label], units) for trial in mine)
            parts.append(svg.group(*marks, data_arm=label))
    bottom = TOP + len(labels) * (HIGH + APART) - APART
    name = f"validation {summary.metric.noun}{in_unit(units.unit)}"
    heading = svg.text(LEFT, 18, name, fill=SOFT)
    return svg.document("Validation against tuned parameters", WIDTH, bottom + 42, heading, *parts)


def _ends(trials: Sequence[SearchTrial], units: Units) -> tuple[float, float]:
    """Of the vertical axis of one arm."""
    scores = [units.scaled(trial.score) for trial in trials if trial.score is not None]
    values = [units.scaled(trial.value) for trial in trials if trial.value is not None]
    seen = most_of(scores or values or [0.0])
    least = 0.5 if units.metric.is_share else 0.05 * max(map(abs, seen))
    return range_of(seen, share=units.metric.is_share, least=least)


def _axes(panel: Panel, parameter: Parameter, is_last: bool, is_first: bool) -> Svg:
    ticks = None
    if parameter.values is not None:
        room = (panel.right - panel.left) / max(1, len(parameter.values)) - 4
        ticks = [
            (float(place), svg.fitted(value, room, 11))
            for place, value in enumerate(parameter.values)
        ]
    name = short(parameter.name) + (" (logarithmic)" if parameter.log else "")
    return frame(
        panel,
        x_name=name if is_last else "",
        x_ticks=ticks,
        x_labels=is_last,
        y_labels=is_first,
    )


def _mark(panel: Panel, parameter: Parameter, trial: SearchTrial, look: Look, units: Units) -> Svg:
    if parameter.name not in trial.tuned:
        return Svg("")
    value, at = trial.tuned[parameter.name], parameter.place(trial.tuned[parameter.name])
    if at is None or not panel.x.has(at):
        return Svg("")
    x, number = panel.x(at), str(trial.number)
    reached = "" if trial.value is None else f"{units.number(trial.value)}{units.unit}, "
    told = svg.title(f"trial {number}: {reached}{text_of(value)}, {trial.status}")
    if trial.status == "failed":
        return mark("cross", x, _worse(panel, units), 3, told, fill="#1b1f23", data_trial=number)
    if trial.value is None or not math.isfinite(trial.value):
        return Svg("")
    y = panel.y(min(max(units.scaled(trial.value), panel.y.low), panel.y.high))
    if trial.status == "stopped":
        return mark("circle", x, y, 2.6, told, fill="#fff", stroke="#9aa2ab", data_trial=number)
    ring = mark("circle", x, y, 7, fill="none", stroke="#000") if trial.is_confirmed else Svg("")
    return svg.group(ring, mark(look.marker, x, y, 3.6, told, fill=look.colour, data_trial=number))


def _worse(panel: Panel, units: Units) -> float:
    """The edge at which values are worse, a little inside."""
    return panel.bottom - 5 if units.metric.mode == "max" else panel.top + 5
