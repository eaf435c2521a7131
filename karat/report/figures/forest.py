"""Differences with their intervals, one below the other, around zero."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from karat.report.design_text import (
    change_verdict,
    changed_text,
    effect_name,
    effect_verdict,
    ranked,
)
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import horizontal
from karat.report.figures.scales import Scale
from karat.report.figures.style import OKABE_ITO, WIDTH
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import Units, in_unit, interval_text
from karat.statistics.comparison import Comparison

ROW, TOP, NAMES, END, ZONE = 26.0, 34.0, 300.0, 716.0, "#e3eef7"


def forests(summary: Summary) -> Iterator[Figure]:
    """Of the effects of a design, or of its changes, where there are any with a difference."""
    zone = "the shaded zone is plus or minus the smallest difference of interest."
    if summary.effects:
        yield from _figure(
            "effects.svg",
            "Effects of the factors",
            f"Main effects and interactions, the largest first; lines are intervals over seeds, and {zone}",
            [
                Row(effect_name(e), e.comparison, effect_verdict(e, summary))
                for e in ranked(summary)
            ],
            summary,
        )
    if summary.changes:
        yield from _figure(
            "changes.svg",
            "What each change gives",
            f"Difference to the reference: {changed_text(summary)}; lines are intervals over seeds, and {zone}",
            [
                Row(
                    f"{each.before} to {each.after}", each.comparison, change_verdict(each, summary)
                )
                for each in summary.changes
            ],
            summary,
        )


def _figure(
    file: str, title: str, caption: str, rows: list["Row"], summary: Summary
) -> Iterator[Figure]:
    known = [row for row in rows if row.comparison.difference is not None]
    if known:
        draw = partial(forest, title, known, summary)
        yield Figure(file=file, title=title, caption=caption, draw=draw)


@dataclass(frozen=True, slots=True)
class Row:
    """One difference: its name, and the word at its end."""

    name: str
    comparison: Comparison
    word: str


def forest(title: str, rows: Sequence[Row], summary: Summary) -> str:
    """The drawing; every row has a difference."""
    units = Units(summary.metric)
    bottom = TOP + ROW * len(rows) + 6
    numbers = max(svg.width_of(interval_text(row.comparison, units)) for row in rows)
    words = max(svg.width_of(row.word) for row in rows)
    names = svg.column_for((row.name for row in rows), NAMES)
    x = Scale(
        low=_ends(rows, summary)[0],
        high=_ends(rows, summary)[1],
        start=names,
        stop=END - words - numbers - 34,
    )
    zone = [x(side * units.scaled(summary.rule.smallest_difference)) for side in (-1, 1)]
    return svg.document(
        title,
        WIDTH,
        bottom + 44,
        svg.box(zone[0], TOP, zone[1] - zone[0], bottom - TOP, fill=ZONE),
        svg.line(x(0), TOP, x(0), bottom, stroke=SOFT, stroke_dasharray="3 3"),
        horizontal(x, bottom, f"difference of the test {summary.metric.noun}{in_unit(units.step)}"),
        *(_drawn(row, TOP + 3 + ROW * (place + 0.5), x, units) for place, row in enumerate(rows)),
    )


def _ends(rows: Sequence[Row], summary: Summary) -> tuple[float, float]:
    """Zero, the zone, and every interval that is known."""
    scaled = Units(summary.metric).scaled
    zone = scaled(summary.rule.smallest_difference)
    ends = [0.0, zone, -zone]
    for row in rows:
        found = row.comparison
        ends += [
            scaled(each) for each in (found.difference, found.low, found.high) if each is not None
        ]
    room = 0.06 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _drawn(row: Row, y: float, x: Scale, units: Units) -> Svg:
    found, colour = row.comparison, OKABE_ITO[5]
    told = interval_text(found, units)
    line = Svg("")
    if found.low is not None and found.high is not None:
        low, high = x(units.scaled(found.low)), x(units.scaled(found.high))
        line = svg.line(low, y, high, y, stroke=colour, stroke_width=4)
    return svg.group(
        svg.title(f"{row.name}: {told}{units.step}, {row.word}"),
        svg.row_name(4, y, row.name, x.start - 14),
        line,
        svg.element(
            "circle", cx=x(units.scaled(found.difference or 0.0)), cy=y, r=4, fill="#fff",
            stroke=colour, stroke_width=2,
        ),
        svg.text(x.stop + 12, y + 4, told),
        svg.text(END, y + 4, row.word, text_anchor="end"),
    )  # fmt: skip
