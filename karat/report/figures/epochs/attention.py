"""The health of attention by epoch: entropy, effective rank, sums of rows and negative share, a line for each arm."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from karat.report.facts.summary import Summary
from karat.report.facts.training.attention import ArmHealth
from karat.report.figures import Figure, svg
from karat.report.figures.axes import Line, Panel, frame, lines
from karat.report.figures.scales import Scale, most_of, range_of
from karat.report.figures.style import WIDTH, Look, legend, looks_of, mark
from karat.report.figures.svg import Svg
from karat.report.wording import name_of

HIGH, WIDE, TOP, APART, LEFT = 118.0, 290.0, 30.0, 66.0, 54.0
TITLE = "Attention by epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One panel: the metric, its name with its unit, and whether it is a share of 1."""

    metric: str
    name: str
    is_share: bool = True


QUANTITIES = (
    Quantity(metric="health_entropy", name="entropy (0 one token, 1 all alike)"),
    Quantity(metric="health_effective_rank", name="effective rank (share of tokens)"),
    Quantity(metric="health_row_sum", name="sum of a query's weights", is_share=False),
    Quantity(metric="health_negative", name="negative share of the weights"),
)


def attention_by_epoch(summary: Summary) -> Iterator[Figure]:
    """Where confirmed runs were looked at (`training.health`)."""
    shown = [each for each in QUANTITIES if any(_points(arm, each) for arm in summary.attention)]
    if shown:
        runs = "completed runs" if summary.is_final else "runs so far"
        yield Figure(
            file="attention_by_epoch.svg",
            title=TITLE,
            caption=(
                f"What attention does on a few validation images after each epoch, as the mean over the {runs} of each "
                "confirmed arm, over heads, blocks, images and queries. An arm without a quantity has no line."
            ),
            draw=partial(_draw, summary, shown),
        )


def _points(arm: ArmHealth, quantity: Quantity) -> list[tuple[float, float]]:
    pairs = zip(arm.epochs, arm.mean[quantity.metric], strict=True)
    return [(epoch, value) for epoch, value in pairs if not math.isnan(value)]


def _draw(summary: Summary, shown: Sequence[Quantity]) -> str:
    looks = looks_of(summary)
    names = {
        arm.label: name_of(arm, summary) + " (reference)" * arm.is_reference
        for arm in summary.arms
        if any(arm.label == each.label for each in summary.attention)
    }
    panels, bottom = [], TOP
    for place, quantity in enumerate(shown):
        left, top = LEFT + place % 2 * (WIDE + 60), TOP + place // 2 * (HIGH + APART)
        bottom = top + HIGH
        panels.append(_panel(summary.attention, quantity, looks, (left, top)))
    below, height = legend(names, looks, bottom + 44)
    return svg.document(TITLE, WIDTH, bottom + 52 + height, *panels, below)


def _panel(
    arms: Sequence[ArmHealth],
    quantity: Quantity,
    looks: Mapping[str, Look],
    place: tuple[float, float],
) -> Svg:
    left, top = place
    drawn = [
        Line(
            arm=arm.label,
            name=arm.label,
            points=points,
            look=looks[arm.label],
            told=f"{arm.label}: {points[-1][1]:.3g} after epoch {points[-1][0]:g}",
        )
        for arm in arms
        if (points := _points(arm, quantity))
    ]
    values = [value for line in drawn for _, value in line.points]
    low, high = range_of(values if quantity.is_share else most_of(values))
    if quantity.is_share:
        low, high = 0.0, min(1.0, high)
    last = max(line.points[-1][0] for line in drawn)
    panel = Panel(
        x=Scale(low=1, high=max(2, last), start=left, stop=left + WIDE),
        y=Scale(low=low, high=high if high > low else low + 1, start=top + HIGH, stop=top),
    )
    axes = frame(panel, y_name=quantity.name, x_name="epoch")
    return svg.group(axes, lines(panel, drawn), *(_end(panel, line) for line in drawn))


def _end(panel: Panel, line: Line) -> Svg:
    """The marker of an arm at the end of its line, which the legend has too."""
    x, y = line.points[-1]
    if not panel.has(x, y):
        return Svg("")
    shown = mark(line.look.marker, panel.x(x), panel.y(y), 4, fill=line.look.colour)
    return svg.group(shown, data_arm=line.arm)
