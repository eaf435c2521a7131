"""Validation of the confirmed arms by epoch: all epochs, and the second half of them close up."""

from collections.abc import Iterator, Sequence
from functools import partial

from karat.report.facts.summary import Curve, Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import LINE_GAP, Line, Panel, end_names, frame, lines
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, Look, looks_of, short_names
from karat.report.figures.svg import Svg
from karat.report.formatting import Units, in_unit

TOP, NAMES = 34.0, 236.0


def by_epoch(summary: Summary) -> Iterator[Figure]:
    """Where a confirmed arm has reported."""
    if not summary.curves:
        return
    noun, runs = summary.metric.noun, "completed runs" if summary.is_final else "runs so far"
    close = (
        "; right, the second half of the epochs close up (a name with an arrow: its line is beyond that axis)"
        if _is_long(summary)
        else ""
    )
    matched = "; each reference is dashed, in the colour of its arm" if summary.is_matched else ""
    yield Figure(
        file=f"validation_{noun}_by_epoch.svg",
        title=f"Validation {noun} by epoch",
        caption=(
            f"Validation {noun} of each confirmed arm by epoch, as the mean over its {runs}{close}{matched}. "
            "How much single runs vary is left out here: see the test values."
        ),
        draw=partial(_draw, summary),
    )


def _is_long(summary: Summary) -> bool:
    return max(curve.epochs[-1] for curve in summary.curves) >= 4


def _draw(summary: Summary) -> str:
    units, looks = Units(summary.metric), looks_of(summary)
    references = [arm.label for arm in summary.references]
    names = short_names([curve.label for curve in summary.curves], NAMES - 130, references)
    drawn = [
        _line(curve, looks[curve.label], units, names[curve.label]) for curve in summary.curves
    ]
    bottom = TOP + max(230.0, LINE_GAP * len(drawn))
    last = max(curve.epochs[-1] for curve in summary.curves)
    name = f"validation {summary.metric.noun}{in_unit(units.unit)}"
    panels: list[Svg] = []
    wide = svg.column_for((line.name for line in drawn), NAMES - 32) + 32
    right = WIDTH - wide - 8
    middle = 54 + 0.45 * (right - 54)
    ends = (54.0, middle - 24) if _is_long(summary) else (54.0, right)
    whole = _panel(drawn, 1, last, ends, bottom, summary)
    panels += [frame(whole, y_name=name, x_name="epoch"), lines(whole, drawn)]
    named = whole
    if _is_long(summary):
        first = last - last // 2
        named = _panel(drawn, first, last, (middle + 26, right), bottom, summary)
        panels.append(frame(named, y_name=f"from epoch {first} on", x_name="epoch"))
        panels.append(lines(named, drawn))
    panels.append(end_names(named, drawn, wide))
    return svg.document(f"Validation {summary.metric.noun} by epoch", WIDTH, bottom + 44, *panels)


def _panel(
    drawn: Sequence[Line],
    first: int,
    last: int,
    ends: tuple[float, float],
    bottom: float,
    summary: Summary,
) -> Panel:
    """Epochs `first` to `last`; without arms at their end that would make the others look alike."""
    at_end = [line.points[-1][1] for line in drawn]
    near = set(most_of(at_end)) if first > 1 else set(at_end)
    seen = [
        y for line in drawn if line.points[-1][1] in near for x, y in line.points if x >= first
    ] or at_end
    low, high = range_of(seen, share=summary.metric.is_share)
    return Panel(
        x=Scale(low=first, high=max(last, first + 1), start=ends[0], stop=ends[1]),
        y=Scale(low=low, high=high, start=bottom, stop=TOP),
    )


def _line(curve: Curve, look: Look, units: Units, name: str) -> Line:
    name += " (reference)" * curve.is_reference
    end = f"{units.number(curve.mean[-1])}{units.unit} ± {units.number(curve.sd[-1])} after epoch {curve.epochs[-1]}"
    values = map(units.scaled, curve.mean)
    return Line(
        arm=curve.label,
        name=name,
        points=[*zip(curve.epochs, values, strict=True)],
        look=look,
        told=f"{curve.label}: {end}",
    )
