"""Pictures of the loss over planes and along lines, arms beside each other on one logarithmic scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from karat.analyses.pictures import COLOURS, SEQUENTIAL, WIDTH, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
MOST_ARMS = 4
LEVELS = 14  # of a contour picture
DASHES = ("-", "--", ":", "-.")


class Landscape(Protocol):
    """What is drawn of one model; see `karat.analyses.kinds.loss_landscape`."""

    @property
    def loss(self) -> float: ...
    @property
    def steps(self) -> Array: ...
    @property
    def lines(self) -> Array: ...
    @property
    def plane(self) -> Array: ...


def levels_of(planes: Iterable[Array]) -> Array:
    """Levels of the loss for all arms, equally far apart on a logarithmic scale."""
    finite = np.concatenate([plane[np.isfinite(plane) & (plane > 0)] for plane in planes])
    least, greatest = float(finite.min()), float(finite.max())
    found: Array = np.geomspace(least * 0.999, max(greatest, least * 1.01) * 1.001, LEVELS)
    return found


def filled(axes: Any, across: Array, up: Array, plane: Array, levels: Array) -> Any:
    """A plane in colours; what is not finite has the colour of the highest loss."""
    from matplotlib.colors import LogNorm

    shown = np.where(np.isfinite(plane), plane, levels[-1]).clip(levels[0], levels[-1])
    return axes.contourf(
        across,
        up,
        shown,
        levels=levels,
        cmap=SEQUENTIAL,
        norm=LogNorm(levels[0], levels[-1]),
    )


def bar(figure: Figure, mappable: Any, axes: Any) -> None:
    """The scale of colours, with a few round losses beside it."""
    low, high = mappable.norm.vmin, mappable.norm.vmax
    ticks = round_numbers(low, high)
    scale = figure.colorbar(mappable, ax=axes, pad=0.02)
    scale.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    scale.minorticks_off()
    scale.set_label("loss (nats)")


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two numbers; powers of ten alone where these are many."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    every = [m * 10.0**power for power in decades for m in (1, 2, 5)]
    inside = [tick for tick in every if low <= tick <= high]
    tens = [tick for tick in inside if np.isclose(np.log10(tick) % 1, 0)]
    return tens if len(inside) > 8 and len(tens) > 1 else inside


def contours(arms: Mapping[str, Landscape], rise: float) -> Figure:
    """The planes of two random directions beside each other."""
    levels = levels_of(found.plane for found in arms.values())
    wide = WIDTH / max(2, len(arms)) + 0.6
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, min(3.9, wide)), layout="compressed")
        grid = panels(figure, 1, len(arms), sharex=True, sharey=True)
        for axes, (label, found) in zip(grid[0], arms.items(), strict=True):
            mappable = filled(axes, found.steps, found.steps, found.plane, levels)
            line = np.where(np.isfinite(found.plane), found.plane, levels[-1])
            axes.contour(
                found.steps,
                found.steps,
                line,
                levels=[found.loss + rise],
                colors="white",
                linewidths=1.2,
            )
            axes.plot(0, 0, "+", color="white", markersize=7)
            axes.set_title(wrapped(label, len(arms)))
            axes.set_aspect("equal")
            axes.set_xticks([-1, 0, 1])
            axes.set_yticks([-1, 0, 1])
            axes.set_xlabel("first direction")
        grid[0][0].set_ylabel("second direction")
        bar(figure, mappable, list(grid[0]))
    return figure


def surfaces(arms: Mapping[str, Landscape]) -> Figure:
    """The same planes as surfaces, two in a row."""
    from matplotlib.colors import LogNorm

    levels = levels_of(found.plane for found in arms.values())
    low, high = float(np.log10(levels[0])), float(np.log10(levels[-1]))
    ticks = round_numbers(levels[0], levels[-1])
    rows = -(-len(arms) // 2)
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 3.1 * rows), layout="none")
        for number, (label, found) in enumerate(arms.items()):
            axes: Any = figure.add_subplot(rows, min(2, len(arms)), number + 1, projection="3d")
            shown = np.where(np.isfinite(found.plane), found.plane, levels[-1])
            shown = shown.clip(levels[0], levels[-1])
            across, up = np.meshgrid(found.steps, found.steps)
            colours = _colours(LogNorm(levels[0], levels[-1]), shown)
            axes.plot_surface(
                across,
                up,
                np.log10(shown),
                facecolors=colours,
                rstride=1,
                cstride=1,
                linewidth=0.2,
                edgecolor=(1, 1, 1, 0.35),
                shade=False,
            )
            axes.set(xlabel="first direction", ylabel="second", zlim=(low, high))
            axes.set_zlabel("loss (nats)")
            axes.set_xticks([-1, 0, 1])
            axes.set_yticks([-1, 0, 1])
            axes.set_zticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
            axes.set_title(label, y=0.98)
            axes.view_init(elev=32, azim=-58)
            axes.set_box_aspect((1, 1, 0.75), zoom=0.95)
        figure.subplots_adjust(
            left=0.0, right=0.94, bottom=0.16 / rows, top=1 - 0.1 / rows, wspace=0.05, hspace=0.15
        )
    return figure


def lines(arms: Mapping[str, Landscape]) -> Figure:
    """The loss along the random directions, the arms over each other."""
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 3.2))
        axes = panels(figure, 1, 1)[0][0]
        for number, (label, found) in enumerate(arms.items()):
            colour = COLOURS[number % len(COLOURS)]
            finite = np.where(np.isfinite(found.lines), found.lines, np.nan)
            mean = finite.mean(0)
            dash = DASHES[number % len(DASHES)]
            axes.plot(found.steps, mean, color=colour, linestyle=dash, label=label or None)
            axes.fill_between(
                found.steps, finite.min(0), finite.max(0), color=colour, alpha=0.15, linewidth=0
            )
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        ticks = round_numbers(low, high)
        axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("distance from the trained weights, in lengths of each filter")
        axes.set_ylabel("loss (nats)")
        if any(arms):
            axes.legend(loc="upper center", ncols=2)
    return figure


def wrapped(label: str, columns: int) -> str:
    """A title in lines that fit into one of so many columns."""
    import textwrap

    return "\n".join(textwrap.wrap(label, max(12, 84 // max(1, columns)))) or label


def _colours(norm: Any, values: Array) -> Any:
    import matplotlib

    return matplotlib.colormaps[SEQUENTIAL](norm(values))
