"""Pictures of learned functions, content shares and accuracy under changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.analyses.attention.words import first_of, fitting
from karat.analyses.pictures import COLOURS, WIDTH, Picture, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from karat.analyses.attention.functions_found import FunctionsFound
    from karat.analyses.kinds import Arms

MARKS = ("o", "s", "D", "^", "v", "P")
STRIP = 0.22  # of a panel's height: its histogram of scores
SEEN = 3.5  # standard deviations shown


def pictures(arms: Arms) -> Sequence[Picture]:
    """Those for which there is something to show."""
    return tuple(_pictures(arms))


def _pictures(arms: Arms) -> Iterator[Picture]:
    first: dict[str, Any] = first_of(arms)
    with_units = {label: found for label, found in first.items() if found.curves is not None}
    if with_units:
        shown, left_out = fitting(with_units)
        without = [label for label in first if label not in with_units]
        note = f" Without learned functions: {', '.join(without)}." if without else ""
        yield Picture(
            name="learned_functions",
            title="Learned functions of scores",
            caption=(
                "In the first, a middle and the last block, of each head (the first three, a colour for each) the "
                "two functions that make most of its variation, the second one dashed: over the scores from their "
                "0.1 to their 99.9 % quantile, each less its mean and divided by its standard deviation over "
                f"these scores. Grey: histogram of the scores of all functions shown.{note}{left_out}"
            ),
            draw=partial(_draw_units, shown),
        )
    shown, left_out = fitting(first)
    yield Picture(
        name="content_shares",
        title="How much depends on content",
        caption=(
            "Content share of the weights (above) and of the output (below) by block: a dot for each head, a line "
            f"for their mean. 0: the same for all {_images(first)} images; 1: nothing in common by "
            f"position.{left_out}"
        ),
        draw=partial(_draw_content, shown),
    )
    if changed := {label: results for label, results in arms.items() if results[0].changes}:
        yield Picture(
            name="accuracy_with_changed_attention",
            title="Accuracy with attention changed, without training",
            caption=(
                f"Validation accuracy ({_images(first)} images) of the trained models with their attention changed: "
                "filled with its 95 % interval over images for the first run of an arm, hollow for other runs."
            ),
            draw=partial(_draw_accuracy, changed),
        )


def _images(first: Mapping[str, FunctionsFound]) -> str:
    return " or ".join(dict.fromkeys(str(found.images) for found in first.values()))


def _draw_units(arms: Mapping[str, FunctionsFound]) -> Figure:
    rows = max(len(_blocks(found)) for found in arms.values())
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 0.7 + 1.55 * rows))
        grid = panels(figure, rows, len(arms), sharex=True, sharey=True)
        for column, (label, found) in enumerate(arms.items()):
            blocks = _blocks(found)
            for row in range(rows):
                axes = grid[row][column]
                if row >= len(blocks):
                    axes.set_axis_off()
                    continue
                _draw_block(axes, found, blocks[row])
                axes.set_title(
                    f"{label}\nblock {blocks[row] + 1}" if row == 0 else f"block {blocks[row] + 1}"
                )
            grid[-1][column].set_xlabel("score")
        figure.supylabel("φ (standard deviations)", fontsize=9)
        handles, names = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _blocks(found: FunctionsFound) -> list[int]:
    assert found.shown is not None
    return sorted({int(block) for block in found.shown[:, 0]})


def _draw_block(axes: Any, found: FunctionsFound, block: int) -> None:
    assert found.shown is not None
    assert found.curves is not None
    assert found.densities is not None
    own = np.flatnonzero(found.shown[:, 0] == block)
    heads = list(dict.fromkeys(found.shown[own, 1]))
    low, high = found.curves[own, 0, 0].min(), found.curves[own, -1, 0].max()
    edges = np.linspace(low, max(high, low + 1e-9), 41)
    total = np.zeros(40)
    for unit in own:
        centres = np.linspace(found.curves[unit, 0, 0], found.curves[unit, -1, 0], 81)[1::2]
        counts, _ = np.histogram(centres, edges, weights=found.densities[unit])
        total += counts
    bottom, top = -SEEN - 2 * SEEN * STRIP, SEEN
    height = 2 * SEEN * STRIP * total / max(total.max(), 1e-12)
    axes.stairs(bottom + height, edges, baseline=bottom, fill=True, color="#BBBBBB")
    axes.axhline(0, color="#888888", linewidth=0.5)
    seen_heads: set[int] = set()
    for unit in own:
        head = int(found.shown[unit, 1])
        scores, values = found.curves[unit].T
        weight = np.interp(scores, np.linspace(scores[0], scores[-1], 40), found.densities[unit])
        mean = np.average(values, weights=weight + 1e-12)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=weight + 1e-12)) or 1.0
        is_second = head in seen_heads
        seen_heads.add(head)
        axes.plot(
            scores,
            (values - mean) / spread,
            color=COLOURS[heads.index(head) % len(COLOURS)],
            linestyle="--" if is_second else "-",
            label=None if is_second else f"head {head + 1}",
        )
    axes.set_ylim(bottom, top)
    axes.set_yticks([-2, 0, 2])


def _draw_content(arms: Mapping[str, FunctionsFound]) -> Figure:
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 3.6))
        grid = panels(figure, 2, len(arms), sharex="col", sharey=True)
        for column, (label, found) in enumerate(arms.items()):
            of_both = (found.content_of_weights, found.content_of_output)
            for row, shares in enumerate(of_both):
                axes = grid[row][column]
                blocks = np.arange(1, len(shares) + 1)
                for head, values in enumerate(shares.T):
                    axes.plot(
                        blocks,
                        values,
                        MARKS[head % len(MARKS)],
                        color=COLOURS[head % len(COLOURS)],
                        markersize=4,
                        alpha=0.8,
                        label=f"head {head + 1}",
                    )
                axes.plot(blocks, np.nanmean(shares, 1), color="#444444", linewidth=1)
                axes.set_ylim(-0.04, 1.04)
                axes.set_xlim(0.5, len(shares) + 0.5)
                axes.set_xticks(blocks if len(blocks) <= 6 else blocks[:: -(-len(blocks) // 6)])
            grid[0][column].set_title(label)
            grid[1][column].set_xlabel("block")
        grid[0][0].set_ylabel("of the weights")
        grid[1][0].set_ylabel("of the output")
        figure.supylabel("content share", fontsize=9)
        handles, names = grid[0][0].get_legend_handles_labels()
        if len(names) <= 6:
            figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _draw_accuracy(arms: Mapping[str, Sequence[FunctionsFound]]) -> Figure:
    changes = list(dict.fromkeys(name for runs in arms.values() for name in runs[0].changes))
    with styled() as module:
        figure: Figure = module.Figure(
            figsize=(WIDTH, 0.9 + len(changes) * (0.28 + 0.1 * len(arms)))
        )
        axes = panels(figure, 1, 1)[0][0]
        for place, (label, runs) in enumerate(arms.items()):
            shift = (place - (len(arms) - 1) / 2) * 0.7 / max(len(arms), 2)
            colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
            for number, run in enumerate(runs):
                y = np.array([changes.index(name) for name in run.changes]) + shift
                if number == 0:
                    ends = 100 * np.array([run.accuracy - run.low, run.high - run.accuracy])
                    axes.errorbar(
                        100 * run.accuracy,
                        y,
                        xerr=np.maximum(ends, 0),
                        fmt=mark,
                        color=colour,
                        markersize=5,
                        label=label,
                    )
                else:
                    axes.plot(
                        100 * run.accuracy, y, mark, color=colour, markersize=5, fillstyle="none"
                    )
        axes.set_yticks(range(len(changes)), changes)
        axes.invert_yaxis()
        axes.set_xlim(0, 101)
        axes.set_xlabel("validation accuracy (%)")
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=min(4, len(arms)))
    return figure
