"""Pictures of paths of weights, arms beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from karat.analyses.geometry.drawing import bar, filled, levels_of, wrapped
from karat.analyses.pictures import WIDTH, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
LEAST_APART = 0.08  # of the path's extent, so that two epochs are not over each other
MOST_NAMED = 4  # moments with their epoch


class Path(Protocol):
    """What is drawn of one model; see `karat.analyses.kinds.optimizer_path`."""

    @property
    def epochs(self) -> NDArray[np.int64]: ...
    @property
    def places(self) -> Array: ...
    @property
    def explained(self) -> Array: ...
    @property
    def across(self) -> Array: ...
    @property
    def up(self) -> Array: ...
    @property
    def plane(self) -> Array: ...


def paths(arms: Mapping[str, Path]) -> Figure:
    """Each path on the loss over its plane, all on the same axes."""
    levels = levels_of(found.plane for found in arms.values())
    columns = min(2, len(arms))
    rows = -(-len(arms) // 2)
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 0.2 + 2.6 * rows))
        grid = panels(figure, rows, columns, sharex=True, sharey=True)
        every = [axes for row in grid for axes in row]
        for axes, (label, found) in zip(every, arms.items(), strict=False):
            axes.set_facecolor("#EEEEEE")
            mappable = filled(axes, found.across, found.up, found.plane, levels)
            _path(axes, found)
            first, second = 100 * found.explained[:2]
            name = f"{wrapped(label, columns)}\n" if label else ""
            axes.set_title(f"{name}{first:.0f} % and {second:.0f} % of the variance")
        for axes in every[len(arms) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("first component")
        for row in grid:
            row[0].set_ylabel("second component")
        bar(figure, mappable, every)
    return figure


def _path(axes: Any, found: Path) -> None:
    axes.plot(*found.places.T, color="white", linewidth=2.6)
    axes.plot(*found.places.T, color="#D55E00", linewidth=1.4, marker="o", markersize=3.5)
    axes.plot(0, 0, marker="*", color="#D55E00", markeredgecolor="white", markersize=10)
    for number in _named(found):
        axes.annotate(
            str(found.epochs[number]),
            found.places[number],
            xytext=(4, 5),
            textcoords="offset points",
            color="white",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "black", "alpha": 0.55, "linewidth": 0},
        )


def _named(found: Path) -> list[int]:
    """The moments whose epoch is written beside them: the end, the start, and others that are not too near to these.

    First those that are spread evenly over the moments, then any others, up to `MOST_NAMED`.
    """
    last = len(found.epochs) - 1
    spread = np.linspace(0, last, MOST_NAMED).round().astype(int)
    span = np.ptp(found.places, axis=0).max()
    named: list[int] = []
    for number in dict.fromkeys([last, 0, *spread.tolist(), *range(last)]):
        if len(named) == MOST_NAMED:
            break
        distances = [np.abs(found.places[number] - found.places[each]).max() for each in named]
        if not distances or min(distances) >= LEAST_APART * span:
            named.append(number)
    return named
