"""Importances of parameters as bars with their intervals."""

from collections.abc import Iterator
from functools import partial

from karat.report.facts.importances import CONFIDENCE, Importances
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.axes import horizontal, round_ticks
from karat.report.figures.scales import Scale
from karat.report.figures.style import OKABE_ITO, WIDTH
from karat.report.figures.svg import GRID, Svg
from karat.report.formatting import percent

ROW, TOP, LEFT, RIGHT, NUMBERS = 26.0, 12.0, 210.0, 560.0, 572.0


def importances_figure(summary: Summary) -> Iterator[Figure]:
    """Where they were computed."""
    found = summary.search.importances
    if found is None or not found.found:
        return
    yield Figure(
        file="importances.svg",
        title="Importances of the parameters",
        caption=(
            f"Share of each parameter in the importance of all, by PED-ANOVA over {found.trials} of {found.of} search trials "
            f"with their validation after epoch {found.epoch}. Lines are {100 * CONFIDENCE:g} % intervals from resampled "
            "trials. The share says whether the best tenth of the trials has other values of a parameter "
            "than all, not which values are good."
        ),
        draw=partial(_draw, found),
    )


def _draw(found: Importances) -> str:
    bottom = TOP + ROW * len(found.found) + 4
    x = Scale(low=0, high=100, start=LEFT, stop=RIGHT)
    grid = [svg.line(x(at), TOP, x(at), bottom, stroke=GRID) for at, _ in round_ticks(x, 350)]
    bars: list[Svg] = []
    for place, each in enumerate(found.found):
        y = TOP + ROW * (place + 0.5)
        ends = f"{percent(each.share)} ({percent(each.low)} to {percent(each.high)})"
        low, high = x(100 * each.low), x(100 * each.high)
        bars.append(
            svg.group(
                svg.title(f"{each.name}: {ends}"),
                svg.row_name(4, y, each.name, LEFT - 14),
                svg.box(LEFT, y - 7, x(100 * each.share) - LEFT, 14, fill=OKABE_ITO[5]),
                svg.line(low, y, high, y, stroke="#000", stroke_width=1.4),
                *(svg.line(end, y - 4, end, y + 4, stroke="#000") for end in (low, high)),
                svg.text(NUMBERS, y + 4, ends),
            )
        )
    axis = horizontal(x, bottom, "share of all (%)")
    return svg.document("Importances of the parameters", WIDTH, bottom + 44, *grid, axis, *bars)
