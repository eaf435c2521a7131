"""Which trial ran when: a row for each slot, or with many the number of trials at a time."""

from collections.abc import Iterator, Sequence
from functools import partial

from karat.journal.trial import PHASES, Phase
from karat.report.facts.summary import Summary
from karat.report.facts.timeline import Span, Timeline
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Panel, frame, horizontal
from karat.report.figures.scales import Scale
from karat.report.figures.style import OKABE_ITO, WIDTH
from karat.report.figures.svg import SOFT, Svg

TOP, LEFT, RIGHT = 34.0, 60.0, 708.0
MOST_ROWS, MOST_SPANS = 32, 600
BINS = 300  # of time, where spans are counted
COLOURS: dict[Phase, str] = {
    "search": OKABE_ITO[5], "shortlist": OKABE_ITO[4], "confirm": OKABE_ITO[0],
}  # fmt: skip
NAMES: dict[Phase, str] = {"search": "search", "shortlist": "shortlist", "confirm": "confirmation"}
_UNITS = (
    (2 * 86400, 86400, "days"),
    (2 * 3600, 3600, "hours"),
    (180, 60, "minutes"),
    (0, 1, "seconds"),
)


def timeline(summary: Summary) -> Iterator[Figure]:
    """Where a trial has run for some time."""
    known = summary.history.timeline
    if known is None or known.seconds <= 0:
        return
    rows = (
        "a row is a slot"
        if known.has_slots
        else "the journal does not name slots, so rows have no meaning"
    )
    what = (
        "Number of trials that had a worker at a time, by phase, in means over short times"
        if _is_counted(known)
        else f"Which trial had a worker when, by phase; {rows}"
    )
    launches = (
        " Time between launches is left out; dotted lines are later launches."
        if known.launches
        else ""
    )
    yield Figure(
        file="timeline.svg",
        title="Which trial ran when",
        caption=f"{what}. Gaps are time without training, or before a worker was ready.{launches}",
        draw=partial(_draw, known),
    )


def _is_counted(known: Timeline) -> bool:
    return known.rows > MOST_ROWS or len(known.spans) > MOST_SPANS


def _draw(known: Timeline) -> str:
    _, second, unit = next(each for each in _UNITS if known.seconds >= each[0])
    row = 26.0 if known.rows <= 8 else 14.0
    bottom = TOP + (150.0 if _is_counted(known) else row * known.rows + 4)
    x = Scale(low=0, high=known.seconds / second, start=LEFT, stop=RIGHT)
    panel = Panel(x=x, y=Scale(low=0, high=known.rows, start=bottom, stop=TOP))
    if _is_counted(known):
        axes = frame(panel, x_name=unit, y_name="trials at a time")
        drawn = _counted(known, panel)
    else:
        axes = horizontal(x, bottom, unit)
        drawn = svg.group(_rows(known, row), *_by_arm(known, x, second, row))
    launches = [
        svg.line(x(at / second), TOP, x(at / second), bottom, stroke="#000", stroke_dasharray="2 2")
        for at in known.launches
    ]
    phases = [phase for phase in PHASES if any(span.phase == phase for span in known.spans)]
    return svg.document(
        "Which trial ran when", WIDTH, bottom + 44, axes, drawn, *launches, _legend(phases)
    )


def _legend(phases: Sequence[Phase]) -> Svg:
    parts = []
    for place, phase in enumerate(phases):
        x = RIGHT - 120 * (len(phases) - place)
        parts.append(svg.box(x, 7, 14, 12, fill=COLOURS[phase]))
        parts.append(svg.text(x + 20, 17, NAMES[phase]))
    return svg.group(*parts)


def _rows(known: Timeline, row: float) -> Svg:
    if not known.has_slots:
        return Svg("")
    step = 1 if row > 20 else 4
    names = [
        svg.text(LEFT - 8, TOP + row * (place + 0.5) + 4, f"slot {place}", text_anchor="end")
        for place in range(0, known.rows, step)
    ]
    return svg.group(*names, fill=SOFT, font_size=11)


def _by_arm(known: Timeline, x: Scale, second: float, row: float) -> Iterator[Svg]:
    for arm in dict.fromkeys(span.arm for span in known.spans):
        mine = (_span(span, x, second, row) for span in known.spans if span.arm == arm)
        yield svg.group(*mine, data_arm=arm)


def _span(span: Span, x: Scale, second: float, row: float) -> Svg:
    begin, end = x(span.begin / second), x(span.end / second)
    wide, y = max(0.4, end - begin - 0.3), TOP + row * span.row + 2
    told = f"trial {span.trial}, {span.arm}, {NAMES[span.phase]}: {span.end - span.begin:.3g} s"
    name = str(span.trial)
    parts = [
        svg.box(begin, y, wide, row - 4, svg.title(told), fill=COLOURS[span.phase], data_trial=name)
    ]
    if row > 20 and svg.width_of(name, 11) + 4 < wide:
        ink = "#fff" if span.phase == "confirm" else "#000"
        parts.append(
            svg.text(
                begin + wide / 2, y + row / 2 + 2, name,
                text_anchor="middle", font_size=11, fill=ink, pointer_events="none",
            )
        )  # fmt: skip
    return Svg("".join(parts))


def _counted(known: Timeline, panel: Panel) -> Svg:
    """Areas on each other, a phase each; every time is in one of `BINS` parts of the whole."""
    size, below = known.seconds / BINS, [0.0] * BINS
    parts = []
    for phase in PHASES:
        mine = _busy([span for span in known.spans if span.phase == phase], size)
        if not any(mine):
            continue
        above = [low + share for low, share in zip(below, mine, strict=True)]
        points = [*_outline(above, panel), *reversed(list(_outline(below, panel)))]
        told = svg.title(f"{NAMES[phase]}: {sum(mine) * size / 3600:.3g} hours of workers")
        parts.append(svg.path([points], told, fill=COLOURS[phase]))
        below = above
    return svg.group(*parts)


def _busy(spans: Sequence[Span], size: float) -> list[float]:
    """The mean number of spans at a time, in each bin."""
    found = [0.0] * (BINS + 1)
    for span in spans:
        first, last = int(span.begin / size), min(int(span.end / size), BINS - 1)
        for place in range(first, last + 1):
            inside = min(span.end, (place + 1) * size) - max(span.begin, place * size)
            found[place] += max(0.0, inside) / size
    return found[:BINS]


def _outline(heights: Sequence[float], panel: Panel) -> Iterator[tuple[float, float]]:
    wide = (panel.right - panel.left) / BINS
    for place, height in enumerate(heights):
        y = panel.y(min(height, panel.y.high))
        yield panel.left + place * wide, y
        yield panel.left + (place + 1) * wide, y
