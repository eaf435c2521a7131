"""The confirmed arms in two goals at a time, with intervals and the front."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from karat.report.facts.goals.front import FrontArm, FrontFacts
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Panel, frame
from karat.report.figures.scales import Scale, range_of
from karat.report.figures.style import WIDTH, Look, legend, looks_of, mark
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import GOAL_NAMES
from karat.statistics.samples import Sample

HIGH, TOP, APART = 220.0, 34.0, 62.0


def front_figure(summary: Summary) -> Iterator[Figure]:
    """Where the study has several goals, and two arms of which all are known."""
    facts = summary.front
    if facts is None or len(facts.arms) < 2:
        return
    first = GOAL_NAMES[facts.goals[0].metric][0]
    others = " and ".join(GOAL_NAMES[goal.metric][0] for goal in facts.goals[1:])
    share = f"{100 * (1 - summary.rule.alpha):g} %"
    yield Figure(
        file="front.svg",
        title=f"{first[0].upper()}{first[1:]} against {others}",
        caption=(
            f"Means of the confirmed arms with {share} intervals over their runs; a goal that is the same in all runs has none. "
            "The dashed line joins the arms that no other one beats in both goals shown, by their means."
        ),
        draw=partial(_draw, summary, facts),
    )


def _draw(summary: Summary, facts: FrontFacts) -> str:
    looks = looks_of(summary)
    count = len(facts.goals) - 1
    wide = 600.0 if count == 1 else 290.0
    panels = []
    for place in range(1, count + 1):
        left = 54 + (place - 1) * (wide + 60)
        panels.append(_panel(facts, place, (left, left + wide), looks))
    bottom = TOP + HIGH
    shown = {arm.label: arm.label + " (reference)" * arm.is_reference for arm in facts.arms}
    below, height = legend(shown, looks, bottom + 48)
    return svg.document(
        "Pareto front",
        WIDTH,
        bottom + 56 + height,
        svg.text(54, TOP - 16, GOAL_NAMES[facts.goals[0].metric][0], fill=SOFT),
        *panels,
        below,
    )


def _panel(
    facts: FrontFacts,
    place: int,
    sides: tuple[float, float],
    looks: Mapping[str, Look],
) -> Svg:
    """One panel: the goal at `place` to the right, the first one upwards."""
    (x_name, x_unit), (_, y_unit) = (GOAL_NAMES[facts.goals[k].metric] for k in (place, 0))
    spans = [(_span(arm.samples[place], x_unit), _span(arm.samples[0], y_unit)) for arm in facts.arms]  # fmt: skip
    xs = [end for x, _ in spans for end in x]
    # What differs by less than a tenth is to look like that.
    low, high = range_of(xs, least=0.1 * max(map(abs, xs)))
    floor, ceiling = range_of([end for _, y in spans for end in y])
    panel = Panel(
        x=Scale(low=low, high=high, start=sides[0], stop=sides[1]),
        y=Scale(low=floor, high=ceiling, start=TOP + HIGH, stop=TOP),
    )
    marks = [
        _mark(arm, x, y, panel, looks[arm.label])
        for arm, (x, y) in zip(facts.arms, spans, strict=True)
    ]
    front = _front([(x[1], y[1]) for x, y in spans], facts, place)
    return svg.group(
        frame(panel, x_name=x_name),
        svg.path([_steps(panel, front)], stroke=SOFT, stroke_width=1.2, stroke_dasharray="4 2"),
        *marks,
    )


def _span(sample: Sample, unit: float) -> tuple[float, float, float]:
    """Lower end, mean and upper end in the unit shown; the mean thrice where there is no interval."""
    assert sample.mean is not None
    low = sample.mean if sample.low is None else sample.low
    high = sample.mean if sample.high is None else sample.high
    return low / unit, sample.mean / unit, high / unit


def _front(
    points: Sequence[tuple[float, float]], facts: FrontFacts, place: int
) -> list[tuple[float, float]]:
    """The points that none beats in both goals, by the one to the right, of which low values are good."""
    upwards, found = facts.goals[0], list[tuple[float, float]]()
    assert (
        facts.goals[place].mode == "min"
    )  # as all goals but accuracy, which can only be the first
    for point in sorted(points, key=lambda each: (each[0], -upwards.goodness(each[1]))):
        if not found or upwards.goodness(point[1]) > upwards.goodness(found[-1][1]):
            found.append(point)
    return found


def _steps(panel: Panel, front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for x, y in front:
        if points:
            points.append((panel.x(x), points[-1][1]))
        points.append((panel.x(x), panel.y(y)))
    return [*points, (panel.right, points[-1][1])]


def _mark(
    arm: FrontArm,
    x: tuple[float, float, float],
    y: tuple[float, float, float],
    panel: Panel,
    look: Look,
) -> Svg:
    at, up = panel.x(x[1]), panel.y(y[1])
    pen: dict[str, str | float | None] = {"stroke": look.colour, "stroke_width": 1.2}
    told = svg.title(f"{arm.label}: {y[1]:,.4g} at {x[1]:,.6g}")
    return svg.group(
        svg.line(at, panel.y(y[0]), at, panel.y(y[2]), **pen),
        svg.line(panel.x(x[0]), up, panel.x(x[2]), up, **pen),
        mark(look.marker, at, up, 5, told, fill=look.colour),
        data_arm=arm.label,
    )
