"""Test accuracy against what an arm costs, with the arms that no other one beats in both."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Panel, frame
from karat.report.figures.scales import Scale, range_of
from karat.report.figures.style import WIDTH, Look, legend, looks_of, mark
from karat.report.figures.svg import SOFT, Svg
from karat.report.formatting import Units, in_unit
from karat.report.wording import name_of

HIGH, TOP, APART = 170.0, 34.0, 62.0
WIDE = 3.0  # the highest cost in the lowest, from which on the axis is logarithmic


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A measure of cost: its name with its unit, and what an arm has; None where it is not known."""

    name: str
    of: Callable[[ConfirmedArm], float | None]


PARAMETERS = Cost(name="parameters", of=lambda arm: arm.parameters)
OPERATIONS = Cost(
    name="million multiply-adds an image",
    of=lambda arm: None if arm.flops is None else arm.flops / 1e6,
)
SECONDS = Cost(name="training of a run (s)", of=lambda arm: arm.seconds)
MEMORY = Cost(
    name="peak memory of a run (MiB)",
    of=lambda arm: None if arm.memory is None else arm.memory / 2**20,
)
COSTS = (PARAMETERS, OPERATIONS, SECONDS, MEMORY)


def costs(summary: Summary) -> Iterator[Figure]:
    """Where two arms have a result, and a cost in which they differ."""
    arms = [arm for arm in summary.arms if arm.test.mean is not None]
    known = [cost for cost in COSTS if len(set(map(cost.of, arms)) - {None}) > 1]
    if not known:
        return
    noun = summary.metric.noun
    yield Figure(
        file="costs.svg",
        title=f"Test {noun} against cost",
        caption=" ".join(_caption(summary, arms, known)),
        draw=partial(_draw, summary, arms, known),
    )


def _caption(
    summary: Summary, arms: Sequence[ConfirmedArm], known: Sequence[Cost]
) -> Iterator[str]:
    yield (
        f"Mean test {summary.metric.noun} of each confirmed arm against its cost. The line joins the arms that no "
        "other one beats in both, by their means: whether they differ along it was not tested."
    )
    if SECONDS in known or MEMORY in known:
        yield "Training time and memory are medians over the completed runs, as measured where they ran."
    if MEMORY in known:
        yield "Memory is the peak of a run's process, or of its GPU, in the first epoch."
    if any(_is_log([at for arm in arms if (at := cost.of(arm)) is not None]) for cost in known):
        yield f"An axis on which one arm costs more than {WIDE:g} times another is logarithmic."


def _is_log(prices: Sequence[float]) -> bool:
    return min(prices) > 0 and max(prices) > WIDE * min(prices)


def _draw(summary: Summary, arms: Sequence[ConfirmedArm], known: Sequence[Cost]) -> str:
    looks, units = looks_of(summary), Units(summary.metric)
    columns = min(2, len(known))
    wide = 440.0 if columns == 1 else 290.0
    panels, bottom = [], TOP
    for place, cost in enumerate(known):
        left, top = 54 + place % columns * (wide + 60), TOP + place // columns * (HIGH + APART)
        bottom = top + HIGH
        panels.append(_panel(summary, arms, cost, (left, top, left + wide, bottom), looks))
    names = {arm.label: name_of(arm, summary) + " (reference)" * arm.is_reference for arm in arms}
    below, height = legend(names, looks, bottom + 48)
    return svg.document(
        f"Test {summary.metric.noun} against cost",
        WIDTH,
        bottom + 56 + height,
        svg.text(54, TOP - 16, f"test {summary.metric.noun}{in_unit(units.unit)}", fill=SOFT),
        *panels,
        below,
    )


def _panel(
    summary: Summary,
    arms: Sequence[ConfirmedArm],
    cost: Cost,
    place: tuple[float, float, float, float],
    looks: dict[str, Look],
) -> Svg:
    units = Units(summary.metric)
    told = [
        (at, arm.test.mean, arm)
        for arm in arms
        if (at := cost.of(arm)) is not None and arm.test.mean is not None
    ]
    left, top, right, bottom = place
    prices, means = [at for at, _, _ in told], [units.scaled(mean) for _, mean, _ in told]
    log = _is_log(prices)
    shown = [*map(math.log, prices)] if log else prices
    # What differs by less than a tenth is to look like that.
    low, high = range_of(shown, least=0.1 if log else 0.1 * max(prices))
    low, high = (math.exp(low), math.exp(high)) if log else (low, high)
    floor, ceiling = range_of(means, share=summary.metric.is_share)
    panel = Panel(
        x=Scale(low=low, high=high, start=left, stop=right, log=log),
        y=Scale(low=floor, high=ceiling, start=bottom, stop=top),
    )
    front = [(at, units.scaled(mean)) for at, mean, _ in pareto(told, summary)]
    marks = [_mark(summary, arm, at, mean, panel, looks, cost) for at, mean, arm in told]
    return svg.group(
        frame(panel, x_name=cost.name),
        svg.path([_steps(panel, front)], stroke=SOFT, stroke_width=1.2, stroke_dasharray="4 2"),
        *marks,
    )


def pareto(
    told: Sequence[tuple[float, float, ConfirmedArm]], summary: Summary
) -> list[tuple[float, float, ConfirmedArm]]:
    """Of (cost, value, arm) those that none beats in one without losing in the other; by cost."""
    found: list[tuple[float, float, ConfirmedArm]] = []
    goodness = summary.metric.goodness
    for each in sorted(told, key=lambda each: (each[0], -goodness(each[1]))):
        if not found or goodness(each[1]) > goodness(found[-1][1]):
            found.append(each)
    return found


def _steps(panel: Panel, front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What can be had for a cost, as steps to the end of the axis."""
    points: list[tuple[float, float]] = []
    for at, value in front:
        if points:
            points.append((panel.x(at), points[-1][1]))
        points.append((panel.x(at), panel.y(value)))
    return [*points, (panel.right, points[-1][1])]


def _mark(
    summary: Summary,
    arm: ConfirmedArm,
    at: float,
    mean: float,
    panel: Panel,
    looks: dict[str, Look],
    cost: Cost,
) -> Svg:
    units, look = Units(summary.metric), looks[arm.label]
    told = svg.title(f"{arm.label}: {units.number(mean)}{units.unit}, {cost.name} {at:,.4g}")
    x, y = panel.x(at), panel.y(units.scaled(mean))
    return svg.group(mark(look.marker, x, y, 5, told, fill=look.colour), data_arm=arm.label)
