"""Mean ranks of arms over data sets or models, with the critical difference: the diagram of Demšar 2006, figure 1."""

from collections.abc import Iterator
from functools import partial

from karat.report.facts.contrasts.places import PlacesFacts
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.scales import Scale
from karat.report.figures.style import WIDTH
from karat.report.figures.svg import SOFT, Svg
from karat.statistics.across import Ranks

LEFT, RIGHT, AXIS, ROW, BAR = 190.0, 530.0, 62.0, 22.0, 9.0


def critical_difference(facts: PlacesFacts, summary: Summary) -> Iterator[Figure]:
    """Where arms have ranks."""
    found = facts.ranks
    if found is None:
        return
    yield Figure(
        file="critical_difference.svg",
        title=f"Mean ranks over the {facts.what}",
        caption=(
            f"Mean rank of each arm over {found.places} {facts.what} by its mean test {summary.metric.noun}; 1 is the best. "
            f"Arms joined by a bar are not told apart by Nemenyi's test at {found.alpha:g}: their ranks differ by no more than "
            f"the critical difference, {found.critical:.2f} (Demšar 2006)."
        ),
        draw=partial(_draw, found, facts.what),
    )


def _draw(found: Ranks, what: str) -> str:
    order = sorted(found.mean, key=lambda arm: found.mean[arm])
    k = len(order)
    x = Scale(low=1, high=k, start=LEFT, stop=RIGHT)
    groups = found.groups
    first_name = AXIS + 16 + BAR * len(groups) + ROW
    half = (k + 1) // 2
    marks: list[Svg] = [_axis(x, k), *_ruler(x, found, k)]
    for place, group in enumerate(groups):
        y = AXIS + 12 + BAR * place
        ends = [x(found.mean[arm]) for arm in group]
        told = svg.title(f"not told apart: {', '.join(group)}")
        low, high = min(ends) - 4, max(ends) + 4
        marks.append(svg.group(told, svg.line(low, y, high, y, stroke="#000", stroke_width=4)))
    for place, arm in enumerate(order):
        is_left = place < half
        y = first_name + ROW * (place if is_left else k - 1 - place)
        marks.append(_arm(arm, found.mean[arm], x(found.mean[arm]), y, is_left=is_left))
    height = first_name + ROW * half
    return svg.document(f"Mean ranks over the {what}", WIDTH, height, *marks)


def _axis(x: Scale, k: int) -> Svg:
    ticks = [
        svg.group(
            svg.line(x(rank), AXIS - 5, x(rank), AXIS, stroke=SOFT),
            svg.text(x(rank), AXIS - 9, str(rank), text_anchor="middle", fill=SOFT),
        )
        for rank in range(1, k + 1)
    ]
    return svg.group(svg.line(LEFT, AXIS, RIGHT, AXIS, stroke=SOFT), *ticks)


def _ruler(x: Scale, found: Ranks, k: int) -> list[Svg]:
    """The critical difference above the axis, from rank 1 on; where it is longer than the axis, as text."""
    label = f"critical difference {found.critical:.2f}"
    if found.critical > k - 1:
        return [svg.text(LEFT, 22, f"{label}, more than there are ranks")]
    stop, y = x(1 + found.critical), 28.0
    ends = [svg.line(at, y - 4, at, y + 4, stroke="#000") for at in (LEFT, stop)]
    return [
        svg.line(LEFT, y, stop, y, stroke="#000", stroke_width=1.4),
        *ends,
        svg.text(LEFT, y - 9, label),
    ]


def _arm(arm: str, rank: float, at: float, y: float, *, is_left: bool) -> Svg:
    """A line from its rank down to its name, at the side where the better or the worse half is listed."""
    edge = LEFT - 14 if is_left else RIGHT + 14
    told = f"{arm} {rank:.2f}"
    room = LEFT - 24
    name = svg.fitted(told, room)
    anchor = "end" if is_left else "start"
    shown = svg.text(edge + (-4 if is_left else 4), y + 4, name, text_anchor=anchor)
    line = svg.path([[(at, AXIS), (at, y), (edge, y)]], stroke=SOFT)
    return svg.group(svg.title(told), line, shown)
