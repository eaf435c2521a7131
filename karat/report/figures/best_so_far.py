"""The best value of each arm against the epochs that its search has spent."""

from collections.abc import Iterator
from functools import partial

from karat.report.facts.summary import Summary
from karat.report.figures import Figure, left_out_text, svg
from karat.report.figures.axes import LINE_GAP, Line, Panel, end_names, frame, lines
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, looks_of, short_names
from karat.report.formatting import Units, in_unit

TOP, LEFT, NAMES = 34.0, 54.0, 236.0


def best_so_far(summary: Summary) -> Iterator[Figure]:
    """Where a search trial was completed."""
    history = summary.history
    if not history.best:
        return
    more = f" {left_out_text(history.left_out)}" if history.left_out else ""
    yield Figure(
        file="best_so_far.svg",
        title="Best so far, against budget",
        caption=(
            f"Best validation {summary.metric.noun} of the whole search trials of an arm so far, against the epochs "
            "that its trials had run, in the order in which they ended; epochs of stopped and failed trials count. "
            f"The best of several trials is probably too good. A name with an arrow: its line is beyond the axis.{more}"
        ),
        draw=partial(_draw, summary),
    )


def _draw(summary: Summary) -> str:
    units, looks, best = Units(summary.metric), looks_of(summary), summary.history.best
    names = short_names([*best], NAMES - 46, [arm.label for arm in summary.references])
    drawn = []
    for label, steps in best.items():
        points = [(float(spent), units.scaled(value)) for spent, value in steps]
        end = f"{units.number(steps[-1][1])}{units.unit} after {steps[-1][0]} epochs"
        drawn.append(
            Line(
                arm=label, name=names[label], points=_stairs(points), look=looks[label],
                told=f"{label}: {end}",
            )
        )  # fmt: skip
    ends = [line.points[-1][1] for line in drawn]
    seen = [*most_of([y for line in drawn for _, y in line.points]), *most_of(ends)]
    low, high = range_of(seen, share=summary.metric.is_share)
    bottom = TOP + max(230.0, LINE_GAP * len(drawn))
    most = max(line.points[-1][0] for line in drawn)
    wide = svg.column_for((line.name for line in drawn), NAMES - 32) + 32
    panel = Panel(
        x=Scale(low=0, high=max(1.0, most), start=LEFT, stop=WIDTH - wide - 8),
        y=Scale(low=low, high=high, start=bottom, stop=TOP),
    )
    name = f"best validation {summary.metric.noun}{in_unit(units.unit)}"
    return svg.document(
        "Best so far, against budget",
        WIDTH,
        bottom + 44,
        frame(panel, y_name=name, x_name="epochs spent on the arm"),
        lines(panel, drawn),
        end_names(panel, drawn, wide),
    )


def _stairs(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A value holds until a better one is found."""
    found = points[:1]
    for x, y in points[1:]:
        found += [(x, found[-1][1]), (x, y)]
    return list(dict.fromkeys(found))
