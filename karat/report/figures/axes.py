"""Panels with axes, and lines in them with their names at their ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from karat.report.figures import svg
from karat.report.figures.scales import Scale, cut, tick_text
from karat.report.figures.style import Look, spread
from karat.report.figures.svg import GRID, SMALL, SOFT, Point, Svg

LINE_GAP = 14.0  # between names at the ends of lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A box with a scale for each direction; `y.start` is its bottom."""

    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        return self.x.start

    @property
    def right(self) -> float:
        return self.x.stop

    @property
    def top(self) -> float:
        return self.y.stop

    @property
    def bottom(self) -> float:
        return self.y.start

    def cut(self, points: Sequence[Point]) -> list[list[Point]]:
        """Coordinates of a line through values, in the parts that lie in the panel."""
        placed = [(self.x(x), self.y(y)) for x, y in points]
        return cut(placed, self.left, self.top, self.right, self.bottom)

    def has(self, x: float, y: float) -> bool:
        """Whether a point of values is in the panel."""
        return self.x.has(x) and self.y.has(y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One arm's line in a panel.

    Args:
        arm, name: its label, and what is written at its end.
        points: values.
        look: of the arm.
        told: what its tooltip says.
    """

    arm: str
    name: str
    points: Sequence[Point]
    look: Look
    told: str


def frame(
    panel: Panel,
    *,
    heading: str = "",
    x_name: str = "",
    y_name: str = "",
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_labels: bool = True,
    x_labels: bool = True,
) -> Svg:
    """Grid, ticks and names of a panel.

    Args:
        panel: the box.
        heading: above it.
        x_name, y_name: of the axes; that of the vertical axis stands above it.
        x_ticks: values and their texts; None for round numbers.
        y_labels, x_labels: whether there are numbers beside the ticks.
    """
    wide, high = panel.right - panel.left, panel.bottom - panel.top
    parts = []
    for value in panel.y.ticks(max(2, int(high / 26))):
        y = panel.y(value)
        parts.append(svg.line(panel.left, y, panel.right, y, stroke=GRID))
        if y_labels:
            parts.append(_tick(panel.left - 6, y + 4, tick_text(value), "end"))
    for value, shown in round_ticks(panel.x, wide) if x_ticks is None else x_ticks:
        x = panel.x(value)
        parts.append(svg.line(x, panel.bottom, x, panel.bottom + 4, stroke=SOFT))
        if x_labels:
            parts.append(_tick(x, panel.bottom + 17, shown, "middle"))
    parts.append(svg.line(panel.left, panel.bottom, panel.right, panel.bottom, stroke=SOFT))
    if heading:
        parts.append(
            svg.text(panel.left, panel.top - 8, svg.fitted(heading, 0.92 * wide), font_weight=600)
        )
    if y_name:
        parts.append(svg.text(panel.left, panel.top - 8, svg.fitted(y_name, wide), fill=SOFT))
    if x_name:
        middle, shown = (panel.left + panel.right) / 2, svg.fitted(x_name, wide + 60)
        parts.append(svg.text(middle, panel.bottom + 34, shown, text_anchor="middle", fill=SOFT))
    return svg.group(*parts)


def horizontal(x: Scale, y: float, name: str) -> Svg:
    """A horizontal axis alone."""
    flat = Panel(x=x, y=Scale(low=0, high=1, start=y, stop=y - 1))
    return frame(flat, x_name=name, y_labels=False)


def round_ticks(scale: Scale, wide: float) -> list[tuple[float, str]]:
    """Round values that have room beside each other on a horizontal axis."""
    for most in range(max(2, int(wide / 40)), 1, -1):
        ticks = [(value, tick_text(value)) for value in scale.ticks(most)]
        widest = max((svg.width_of(shown, SMALL) for _, shown in ticks), default=0.0)
        places = sorted(scale(value) for value, _ in ticks)
        gaps = [b - a for a, b in pairwise(places)]
        if not gaps or min(gaps) >= widest + 4:
            return ticks
    return ticks[:1] + ticks[-1:]


def _tick(x: float, y: float, shown: str, anchor: str) -> Svg:
    return svg.text(x, y, shown, text_anchor=anchor, font_size=SMALL, fill=SOFT)


def lines(panel: Panel, drawn: Sequence[Line]) -> Svg:
    """The lines of arms, as far as they lie in the panel; a single point is a dot."""
    return svg.group(*(_line(panel, each) for each in drawn))


def _line(panel: Panel, each: Line) -> Svg:
    told = svg.title(each.told)
    if len(each.points) == 1:
        [(x, y)] = each.points
        dot = svg.element("circle", told, cx=panel.x(x), cy=panel.y(y), r=4, fill=each.look.colour)
        return svg.group(dot if panel.has(x, y) else Svg(""), data_arm=each.arm)
    shown = svg.path(
        panel.cut(each.points), told,
        stroke=each.look.colour, stroke_width=2, stroke_dasharray=each.look.dash,
        stroke_linejoin="round",
    )  # fmt: skip
    return svg.group(shown, data_arm=each.arm)


def end_names(panel: Panel, drawn: Sequence[Line], width: float) -> Svg:
    """The name of each line right of the panel, joined with its end; with an arrow where that is beyond the panel.

    Args:
        panel: whose height is at least `LINE_GAP` for each line.
        drawn: the lines.
        width: that the names may take.
    """
    ends = [each.points[-1] for each in drawn]
    wanted = [panel.y(min(max(y, panel.y.low), panel.y.high)) for _, y in ends]
    places = spread(wanted, LINE_GAP, panel.top, panel.bottom)
    parts = []
    for each, (x, value), y, place in zip(drawn, ends, wanted, places, strict=True):
        start = panel.x(x) + 2 if panel.has(x, value) else panel.right + 6
        arrow = "" if panel.y.has(value) else "↑ " if value > panel.y.high else "↓ "
        join = [
            (start, y),
            (panel.right + 6, y),
            (panel.right + 14, place),
            (panel.right + 28, place),
        ]
        pen = {"stroke": each.look.colour, "stroke_dasharray": each.look.dash}
        name = svg.fitted(arrow + each.name, width - 32)
        parts.append(
            svg.group(
                svg.path([join if panel.y.has(value) else join[2:]], stroke_width=1.4, **pen),
                svg.text(panel.right + 32, place + 4, name),
                data_arm=each.arm,
            )
        )
    return svg.group(*parts)
