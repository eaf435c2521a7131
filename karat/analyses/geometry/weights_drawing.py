"""Pictures of distributions of weights: bins and scales are the same for all arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from karat.analyses.geometry.drawing import MOST_ARMS, wrapped
from karat.analyses.geometry.histograms import coarser, in_common
from karat.analyses.pictures import COLOURS, WIDTH, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
LOOKS: dict[str, tuple[str, Any, float]] = {  # colour, dash, width
    "start": ("#999999", "-", 1.2),
    "middle": (COLOURS[5], "--", 1.3),
    "end": (COLOURS[0], "-", 1.6),
}
MOST_TABLES = 3


class Distributions(Protocol):
    """What is drawn of one model; see `karat.analyses.kinds.weights`."""

    @property
    def basis(self) -> str: ...
    @property
    def moments(self) -> tuple[str, ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def blocks(self) -> tuple[str, ...]: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def widths(self) -> Array: ...
    @property
    def energy_blocks(self) -> tuple[str, ...]: ...
    @property
    def energy_terms(self) -> tuple[str, ...]: ...
    @property
    def energy(self) -> Array: ...
    @property
    def pooled(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arms with the same tables.

    Args:
        arms: by label, those that are shown.
        names: of the tables that are shown.
        blocks: those that are shown of each arm.
        left_out: a sentence about what is not shown, or empty.
    """

    arms: Mapping[str, Distributions]
    names: tuple[str, ...]
    blocks: Mapping[str, tuple[str, ...]]
    left_out: str

    @property
    def names_text(self) -> str:
        """`a, b, W`."""
        return ", ".join(self.names)

    @property
    def what(self) -> str:
        """Whose tables they are."""
        labels = ", ".join(filter(None, self.arms))
        return f"{self.names_text} of {labels}, in" if labels else f"{self.names_text} in"


def groups_of(arms: Mapping[str, Distributions]) -> list[Group]:
    """Arms with tables, those with the same ones and the same basis together."""
    by_names: dict[tuple[tuple[str, ...], str], dict[str, Distributions]] = {}
    for label, found in arms.items():
        if names := tuple(list(found.pooled)[1:]):
            by_names.setdefault((names, found.basis), {})[label] = found
    return [_group(names, own) for (names, _), own in by_names.items()]


def _group(names: tuple[str, ...], arms: Mapping[str, Distributions]) -> Group:
    # Scales of units come last: the paper shows coefficients and W.
    sorted_names = sorted(names, key=lambda name: "scale" in name)
    shown = dict(list(arms.items())[:MOST_ARMS])
    most = 2 if len(shown) <= 2 else 1
    blocks = {}
    for label, found in shown.items():
        own = list(dict.fromkeys(found.blocks[len(found.pooled) :]))
        blocks[label] = tuple(dict.fromkeys([own[0], own[-1]] if most == 2 else [own[-1]]))
    dropped = [*sorted_names[MOST_TABLES:], *list(arms)[MOST_ARMS:]]
    left_out = f" Not shown: {', '.join(dropped)}." if dropped else ""
    if any(len(set(found.blocks)) - 1 > len(blocks[label]) for label, found in shown.items()):
        left_out += " Of the blocks, " + ("the first and the last" if most == 2 else "the last")
        left_out += " are shown." if most == 2 else " is shown."
    return Group(
        arms=shown, names=tuple(sorted_names[:MOST_TABLES]), blocks=blocks, left_out=left_out
    )


def everything(arms: Mapping[str, Distributions]) -> Figure:
    """All trained weights, arms beside each other."""
    shown = dict(list(arms.items())[:MOST_ARMS])
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 2.7))
        grid = panels(figure, 1, len(shown), sharex=True, sharey=True)
        found = list(shown.values())
        edges, counts = in_common(
            [each.counts[0] for each in found], [each.widths[0] for each in found]
        )
        for axes, label, own, each in zip(grid[0], shown, counts, found, strict=True):
            _histogram(axes, edges, own, each.moments)
            axes.set_yscale("log")
            axes.set_title(wrapped(label, len(shown)))
            axes.set_xlabel("weight")
        grid[0][0].set_ylabel("share of the weights")
        _legend(figure, shown.values())
    return figure


def tables(group: Group) -> Figure:
    """A row for each table, a column for each shown block of each arm."""
    columns = [(label, block) for label in group.arms for block in group.blocks[label]]
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 0.9 + 1.25 * len(group.names)))
        grid = panels(figure, len(group.names), len(columns), sharex="row", sharey="row")
        for row, name in zip(grid, group.names, strict=True):
            picked = [_of_block(group.arms[label], name, block) for label, block in columns]
            widths = [width for _, width in picked]
            edges, counts = in_common([own for own, _ in picked], widths)
            for axes, own, (label, _) in zip(row, counts, columns, strict=True):
                _histogram(axes, edges, own, group.arms[label].moments)
                axes.set_xlabel(name)
        for axes, (label, block) in zip(grid[0], columns, strict=True):
            where = f"block {block}" if "-" not in block and "," not in block else f"blocks {block}"
            axes.set_title(f"{wrapped(label, len(columns))}\n{where}" if label else where)
        figure.supylabel("share of the numbers", fontsize=9)
        _legend(figure, group.arms.values())
    return figure


def energies(arms: Mapping[str, Distributions]) -> Figure:
    """The share of energy of each term, arms beside each other."""
    shown = dict(list(arms.items())[:MOST_ARMS])
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 2.7))
        grid = panels(figure, 1, len(shown), sharey=True)
        top = min(100.0, 130 * max(float(np.nanmax(found.energy)) for found in shown.values()))
        for axes, (label, found) in zip(grid[0], shown.items(), strict=True):
            _energy(axes, found)
            axes.set_title(wrapped(label, len(shown)))
            axes.set_ylim(0, top)
        grid[0][0].set_ylabel("share of the energy (%)")
    return figure


def _energy(axes: Any, found: Distributions) -> None:
    terms = list(dict.fromkeys(found.energy_terms))
    blocks = list(dict.fromkeys(found.energy_blocks))
    kept = sorted({0, len(blocks) // 2, len(blocks) - 1})  # first, middle and last
    of_terms, of_blocks = np.array(found.energy_terms), np.array(found.energy_blocks)
    for number, block in enumerate(blocks[place] for place in kept):
        colour = COLOURS[number % len(COLOURS)]
        shares = np.array(
            [
                found.energy[(of_terms == term) & (of_blocks == block)].mean(0)
                if ((of_terms == term) & (of_blocks == block)).any()
                else np.full(len(found.moments), np.nan)
                for term in terms
            ]
        )
        for own in _of_one_name(terms):
            name = f"block {block}" if own[0] == 0 else None
            axes.plot(own, 100 * shares[own, -1], "o-", color=colour, markersize=4, label=name)
            if found.moments[0] == "start":
                faint: dict[str, Any] = {"color": colour, "alpha": 0.6, "linewidth": 1}
                axes.plot(own, 100 * shares[own, 0], "o--", markersize=3, **faint)
    axes.set_xticks(range(len(terms)), labels=terms)
    axes.legend()
    if len(terms) > 4:
        axes.tick_params(axis="x", rotation=60)


def _of_one_name(terms: Sequence[str]) -> list[list[int]]:
    """Numbers of the terms, those of one name together."""
    names = [term.split()[0] for term in terms]
    return [[n for n, own in enumerate(names) if own == name] for name in dict.fromkeys(names)]


def _of_block(found: Distributions, name: str, block: str) -> tuple[NDArray[np.int64], float]:
    """Counts (M, BINS) of a table of one block, over its heads, and the width of the bins."""
    rows = [
        row
        for row in range(len(found.pooled), len(found.tables))
        if found.tables[row] == name and found.blocks[row] == block
    ]
    edges_width = float(found.widths[rows].max())
    total = sum(
        coarser(found.counts[row], round(edges_width / float(found.widths[row]))) for row in rows
    )
    return np.asarray(total), edges_width


def _histogram(axes: Any, edges: Array, counts: NDArray[np.int64], moments: Sequence[str]) -> None:
    for own, moment in zip(counts, moments, strict=True):
        colour, dash, width = LOOKS[moment]
        shares = own / max(1, own.sum())
        axes.stairs(
            np.where(shares > 0, shares, np.nan),
            edges,
            color=colour,
            linestyle=dash,
            linewidth=width,
        )


def _legend(figure: Figure, arms: Any) -> None:
    from matplotlib.lines import Line2D

    every = [moment for moment in LOOKS if any(moment in found.moments for found in arms)]
    lines = [
        Line2D([], [], color=LOOKS[each][0], linestyle=LOOKS[each][1], linewidth=LOOKS[each][2])
        for each in every
    ]
    figure.legend(lines, every, loc="outside lower center", ncols=len(every))
