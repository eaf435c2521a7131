"""How an arm looks: the same in every figure of a report, told apart by colour and by shape.

Colours are those of Okabe and Ito (2008), which colour-blind people can tell apart; dashes and
markers differ as well, for prints in black and white. A single reference is black; where each level
has its own, it has the colour of the arm that is compared with it, dashed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

from karat.report.facts.summary import Summary
from karat.report.figures import svg
from karat.report.figures.svg import Svg

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = (None, "7 3", "2 2", "9 3 2 3", "4 2")
MARKERS = ("circle", "triangle", "diamond", "down", "plus", "star", "left")
REFERENCE, OWN_DASH = "#000", "5 3"
WIDTH = 720  # of every figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colour, `stroke-dasharray` of lines (None: solid), and marker of an arm."""

    colour: str
    dash: str | None
    marker: str


def looks_of(summary: Summary) -> dict[str, Look]:
    """The look of every arm, by label; no two of the first 30 look the same."""
    reference = {arm.label for arm in summary.references}
    confirmed = [arm.label for arm in summary.arms]
    others = [arm.label for arm in summary.search.arms if arm.label not in confirmed]
    plain = [label for label in (*confirmed, *others) if label not in reference]
    looks = {label: _look(place) for place, label in enumerate(plain)}
    looks |= dict.fromkeys(reference, Look(colour=REFERENCE, dash=None, marker="square"))
    if summary.is_matched:
        for arm in summary.others:
            own = looks[arm.label]
            looks[arm.label] = Look(colour=own.colour, dash=None, marker=own.marker)
            if arm.against in reference:
                looks[arm.against or ""] = Look(colour=own.colour, dash=OWN_DASH, marker="square")
    return looks


def short_names(labels: Sequence[str], width: float, references: Collection[str]) -> dict[str, str]:
    """Label to name: the label, or if one is wider than there is room, without the words that all arms share."""
    if all(svg.width_of(label) <= width for label in labels):
        return {label: label for label in labels}
    words = [label.split() for label in labels if label not in references]
    shared = set.intersection(*map(set, words)) if len(words) > 1 else set()
    names = {
        label: " ".join(word for word in label.split() if word not in shared) or label
        for label in labels
    }
    are_distinct = len(set(names.values())) == len(names)
    return names if are_distinct else {label: label for label in labels}


def _look(place: int) -> Look:
    return Look(
        colour=OKABE_ITO[place % len(OKABE_ITO)],
        dash=DASHES[place % len(DASHES)],
        marker=MARKERS[place % len(MARKERS)],
    )


def mark(
    kind: str, x: float, y: float, radius: float, *children: Svg, **more: str | float | None
) -> Svg:
    """A marker around a point: one of `MARKERS`, or `square` or `cross`; stars and crosses are lines."""
    if kind == "circle":
        return svg.element("circle", *children, cx=x, cy=y, r=radius, **more)
    if kind in _STROKES:
        ends = [_around(x, y, 1.2 * radius, turn) for turn in _STROKES[kind]]
        strokes = [[(2 * x - a, 2 * y - b), (a, b)] for a, b in ends]
        pen = {**more, "stroke": more.get("fill"), "stroke_width": 1.6, "fill": "none"}
        return svg.path(strokes, *children, **pen)
    corners, start = _POLYGONS[kind]
    turns = [start + place * 4 / corners for place in range(corners)]
    points = [_around(x, y, 1.25 * radius, turn) for turn in turns]
    return svg.path([[*points, points[0]]], *children, **more)


# Directions in quarters of a turn: of lines through the point, or number of corners and the first.
_STROKES = {"plus": (0.0, 1.0), "cross": (0.5, 1.5), "star": (0.0, 2 / 3, 4 / 3)}
_POLYGONS = {
    "square": (4, 0.5),
    "triangle": (3, 1.0),
    "diamond": (4, 0.0),
    "down": (3, -1.0),
    "left": (3, 2.0),
}


def _around(x: float, y: float, radius: float, turn: float) -> tuple[float, float]:
    angle = turn * pi / 2
    return x + radius * cos(angle), y - radius * sin(angle)


def legend(names: Mapping[str, str], looks: Mapping[str, Look], top: float) -> tuple[Svg, float]:
    """The marker of each arm beside its name, in as many columns as there is room for; and the height.

    Args:
        names: label to what is shown.
        looks: of the arms.
        top: where it begins.
    """
    widest = max((svg.width_of(name) for name in names.values()), default=0.0) + 44
    columns = max(1, min(len(names), int((WIDTH - 40) / widest)))
    wide = (WIDTH - 40) / columns
    drawn = []
    for place, (label, name) in enumerate(names.items()):
        x, y = 30 + place % columns * wide, top + 12 + place // columns * 18
        sign = mark(looks[label].marker, x + 8, y - 4, 4, fill=looks[label].colour)
        shown = svg.text(x + 26, y, svg.fitted(name, wide - 32))
        drawn.append(svg.group(sign, shown, data_arm=label))
    return svg.group(*drawn), 18.0 * -(-len(names) // columns)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to those wanted as they can be, `gap` apart, from `low` on, and up to `high` if they fit."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    # Blocks of places that touch: each at the mean of what its members want.
    blocks: list[tuple[float, list[int]]] = []
    for place in order:
        blocks.append((wanted[place], [place]))
        while len(blocks) > 1 and _last(blocks[-2], gap) + gap > blocks[-1][0]:
            (_, before), (_, after) = blocks[-2:]
            joined = before + after
            start = sum(wanted[each] - gap * k for k, each in enumerate(joined)) / len(joined)
            blocks[-2:] = [(start, joined)]
        start, joined = blocks[-1]
        start = max(low, min(start, high - gap * (len(joined) - 1)))
        blocks[-1] = (start, joined)
    found = [0.0] * len(wanted)
    least = low
    for start, members in blocks:
        for each in members:
            found[each] = max(least, start)
            start, least = found[each] + gap, found[each] + gap
    return found


def _last(block: tuple[float, list[int]], gap: float) -> float:
    return block[0] + gap * (len(block[1]) - 1)
