"""Figures of a study as PNG files in memory; matplotlib's object interface, no global state.

Colours are those of Okabe and Ito (2008), which colour-blind people can tell apart. References
are dashed, and black but for curves by epoch where there are several: there each has the colour
of the arm that is compared with it. Where the reference lies so far off that the other arms
would be one line, a second panel shows these close up.
"""

import io
import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from karat.report.facts.summary import Curve
from karat.statistics.samples import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", ":", "-.")
DASHED = (0, (4, 2))
REFERENCE = "#000000"
DPI = 160
MEAN = "mean with its interval"
FAR = 3.0  # the reference is far off: the whole spread is this many times that of the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of the factor in question: its runs, in the unit shown.

    Args:
        name: the level as text.
        at: its place on a numeric axis, or None.
        values: one for each seed.
        sample: their mean and its interval.
        beside: the reference of this level, if it has one of its own.
    """

    name: str
    at: float | None
    values: tuple[float, ...]
    sample: Sample
    beside: "Level | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How runs by level are drawn.

    Args:
        label, dot_label: of means and runs, in the legend.
        dots, means: colours of runs and means.
        side: where the runs stand: 1 right of the mean, -1 left.
        shift: of the means, in steps between levels.
        line: style of the line that joins the means.
    """

    label: str
    dot_label: str | None = "one seed"
    dots: str = OKABE_ITO[0]
    means: str = OKABE_ITO[1]
    side: Literal[1, -1] = 1
    shift: float = 0.0
    line: str | tuple[int, tuple[int, int]] = "none"


def by_epoch(curves: Sequence[Curve], axis: str) -> bytes:
    """The mean of each arm by epoch, with a band of one standard deviation; a PNG file.

    Args:
        curves: at least one, each with at least one epoch.
        axis: name of the vertical axis, with its unit.
    """
    from matplotlib.ticker import MaxNLocator

    others = [curve for curve in curves if not curve.is_reference]
    ends = [_band(curve, -1) for curve in curves]
    close = _is_far(ends, [_band(curve, -1) for curve in others])
    figure, panels = _panels(2 if close else 1, height=4.6, widths=(1, 1))
    for panel in panels:
        for curve, style in _styled(curves):
            _draw_curve(panel, curve, style)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel(axis)
    if close:
        panels[0].set_title("all arms")
        _zoom_on_end(panels[1], others)
    _add_legend(figure, panels[0], 2 if len(curves) < 7 else 3)
    return _png(figure)


def by_level(
    levels: Sequence[Level], reference: Level | None, axis: str, factor: str, label: str = MEAN
) -> bytes:
    """Each run as a dot, each level's mean with its interval, and references; a PNG file.

    Args:
        levels: at least one with at least one value.
        reference: of all levels: drawn as a line with its interval as a band, unless None; a
            level's own reference is drawn beside it.
        axis: name of the vertical axis, with its unit.
        factor: name of the horizontal axis.
        label: of the levels' means.
    """
    beside = [level.beside for level in levels if level.beside is not None]
    references = beside if reference is None else [reference, *beside]
    spread = [_extent(level) for level in levels if level.values]
    close = _is_far([*spread, *map(_extent, references)], spread)
    figure, panels = _panels(2 if close else 1, height=4.4, widths=(1, 1.4))
    places, step = _places(levels)
    look, look_beside = _looks(levels, label)
    for panel in panels:
        _draw_levels(panel, levels, places, step, look)
        panel.set_xlabel(_plain(factor))
        names = [textwrap.fill(level.name, 14) for level in levels]
        widest = max(len(line) for name in names for line in name.splitlines() or [""])
        crowded = widest * len(levels) > 40
        panel.set_xticks(places, [_plain(name) for name in names])
        if crowded:
            panel.tick_params("x", rotation=45)
            for text in panel.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        panel.set_xlim(min(places) - 0.6 * step, max(places) + 0.6 * step)
    panels[0].set_ylabel(axis)
    if reference is not None:
        _draw_reference(panels[0], reference)
    if beside:
        _draw_levels(panels[0], [level.beside for level in levels], places, step, look_beside)
    if close:
        panels[0].set_title(f"with {_plain(references[0].name)}")
        panels[1].set_title(f"without {_plain(references[0].name)}, close up")
    _add_legend(figure, panels[0], 3)
    return _png(figure)


def _add_legend(figure: "Figure", panel: "Axes", most: int) -> None:
    """Below the panels, in as many columns as the figure is wide enough for, at most `most`."""
    handles, labels = panel.get_legend_handles_labels()
    for columns in range(most, 0, -1):
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def _panels(number: int, height: float, widths: tuple[float, float]) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0 if number == 2 else 7.0, height), layout="constrained")
    ratios = widths if number == 2 else (1,)
    grid = figure.subplots(1, number, squeeze=False, width_ratios=ratios)
    panels: list[Axes] = list(grid[0])
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#dddddd", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.title.set_fontsize(11)
    return figure, panels


def _styled(curves: Sequence[Curve]) -> Iterator[tuple[Curve, dict[str, Any]]]:
    """The curves, references last, with colour and style."""
    matched = sum(curve.is_reference for curve in curves) > 1
    groups = list(dict.fromkeys(curve.group for curve in curves))
    for number, curve in enumerate(sorted(curves, key=lambda each: each.is_reference)):
        number = groups.index(curve.group) if matched else number
        color = OKABE_ITO[number % len(OKABE_ITO)]
        if curve.is_reference:
            yield curve, {"color": color if matched else REFERENCE, "linestyle": DASHED}
        else:
            line = LINES[number // len(OKABE_ITO) % len(LINES)]
            yield curve, {"color": color, "linestyle": line}


def _draw_curve(panel: "Axes", curve: Curve, style: Mapping[str, Any]) -> None:
    label = _plain(curve.label + (" (reference)" if curve.is_reference else ""))
    marker = "o" if len(curve.epochs) == 1 else ""
    panel.plot(curve.epochs, curve.mean, label=label, linewidth=1.8, marker=marker, **style)
    low = [mean - sd for mean, sd in zip(curve.mean, curve.sd, strict=True)]
    high = [mean + sd for mean, sd in zip(curve.mean, curve.sd, strict=True)]
    panel.fill_between(curve.epochs, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _zoom_on_end(panel: "Axes", curves: Sequence[Curve]) -> None:
    """Show the second half of the epochs of `curves`, whatever else lies outside."""
    last = max(curve.epochs[-1] for curve in curves)
    first = last - last // 2
    seen = [
        _band(curve, place)
        for curve in curves
        for place, epoch in enumerate(curve.epochs)
        if epoch >= first
    ]
    low, high = min(low for low, _ in seen), max(high for _, high in seen)
    margin = 0.06 * (high - low)
    panel.set_xlim(first - 0.02 * last, last + 0.02 * last)
    panel.set_ylim(low - margin, high + margin)
    panel.set_title("without the reference, last epochs close up")


def _looks(levels: Sequence[Level], label: str) -> tuple[Look, Look]:
    """How levels are drawn, and the references beside them; numbers are joined by lines."""
    names = [level.beside.name for level in levels if level.beside is not None]
    if not names:
        return Look(label=label), Look(label="")
    joined = all(level.at is not None for level in levels)
    own = Look(label=label, dots=OKABE_ITO[1], shift=0.05, line="-" if joined else "none")
    reference = Look(
        label=f"{names[0]} (reference)",
        dot_label=None,
        dots=REFERENCE,
        means=REFERENCE,
        side=-1,
        shift=-0.05,
        line=DASHED if joined else "none",
    )
    return own, reference


def _draw_levels(
    panel: "Axes", levels: Sequence[Level | None], places: Sequence[float], step: float, look: Look
) -> None:
    pairs = zip(levels, places, strict=True)
    drawn = [(level, place) for level, place in pairs if level is not None and level.values]
    label = look.dot_label
    for level, place in drawn:
        count = len(level.values)
        gap = min(0.035, 0.24 / count)
        spots = [place + look.side * step * (0.16 + gap * index) for index in range(count)]
        panel.scatter(
            spots, level.values, s=20, color=look.dots, alpha=0.55, linewidths=0, label=label
        )
        label = None
    samples = [level.sample for level, _ in drawn]
    panel.errorbar(
        [place + step * look.shift for _, place in drawn],
        [_number(sample.mean) for sample in samples],
        [
            [_number(sample.mean) - _number(sample.low) for sample in samples],
            [_number(sample.high) - _number(sample.mean) for sample in samples],
        ],
        marker="D",
        linestyle=look.line,
        color=look.means,
        label=_plain(look.label),
        capsize=5,
        markersize=7,
        linewidth=1.8,
    )


def _number(value: float | None) -> float:
    """What is not defined is not drawn."""
    return math.nan if value is None else value


def _draw_reference(panel: "Axes", reference: Level) -> None:
    mean, low, high = reference.sample.mean, reference.sample.low, reference.sample.high
    assert mean is not None
    label = _plain(f"{reference.name} (reference)")
    panel.axhline(mean, color=REFERENCE, linestyle=DASHED, linewidth=1.6, label=label)
    if low is not None and high is not None:
        panel.axhspan(low, high, color=REFERENCE, alpha=0.13, linewidth=0)


def _places(levels: Sequence[Level]) -> tuple[list[float], float]:
    """Where the levels go on the horizontal axis, and the least step between them.

    Numbers keep their distances, unless some would then stand on each other.
    """
    numbers = [level.at for level in levels if level.at is not None]
    if len(numbers) == len(levels) and len(levels) > 1:
        gaps = [after - before for before, after in itertools.pairwise(numbers)]
        if min(gaps) > 0 and max(gaps) <= 4 * min(gaps):
            return numbers, min(gaps)
    return [float(place) for place in range(len(levels))], 1.0


def _band(curve: Curve, place: int) -> tuple[float, float]:
    return curve.mean[place] - curve.sd[place], curve.mean[place] + curve.sd[place]


def _extent(level: Level) -> tuple[float, float]:
    ends = [end for end in (level.sample.low, level.sample.high) if end is not None]
    return min(*level.values, *ends, level.values[0]), max(*level.values, *ends, level.values[0])


def _is_far(everything: list[tuple[float, float]], others: list[tuple[float, float]]) -> bool:
    """Whether all together spread much wider than the others do."""
    if not others or len(everything) == len(others):
        return False
    whole, part = (
        max(high for _, high in each) - min(low for low, _ in each) for each in (everything, others)
    )
    return part > 0 and whole > FAR * part


def _plain(text: str) -> str:
    """Text that matplotlib shows as it is: `$` would start a formula, a leading `_` would hide it."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()
