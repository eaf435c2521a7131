"""Pictures of attention maps, and of numbers about attention by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.analyses.attention.maps_found import MEASURES
from karat.analyses.attention.words import first_of, fitting
from karat.analyses.pictures import COLOURS, NEGATIVE, WIDTH, Picture, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from karat.analyses.attention.maps_found import MapsFound
    from karat.analyses.kinds import Arms

HEADS = 3  # shown
MARKS = ("o", "s", "D", "^", "v", "P")
BY_BLOCK = {
    "entropy": "entropy of rows\n(share of log N)",
    "distance": "mean distance\n(patches)",
    "negative_share": "negative share\nof Σ|w|",
    "first_token_share": "share of Σ|w| on\nthe class token",
}


def pictures(arms: Arms) -> Sequence[Picture]:
    """The maps of the last block, and the measures by block."""
    first: dict[str, Any] = first_of(arms)
    shown, left_out = fitting(first)
    some = next(iter(first.values()))
    heads = some.values.shape[1]
    few = f" Of {heads} heads the first {HEADS}." if heads > HEADS else ""
    return (
        Picture(
            name="attention_maps",
            title="What the class token attends to in the last block",
            caption=(
                "The class token's row over the patches, for validation images (left): scores, before the "
                "activation; weights, after it, divided by the sum of their absolute values in the row (with the "
                "class token itself, not shown); and attention rollout over all blocks (Abnar and Zuidema 2020; "
                "mean over heads of absolute weights, rows normalised to 1, its own scale from 0 to the greatest "
                "value shown). Negative values are orange; scales are equal for all arms, and colours of weights "
                f"go by the square root, so that small ones are seen.{few}{left_out}"
            ),
            draw=partial(_draw_maps, shown),
        ),
        Picture(
            name="attention_by_block",
            title="Attention weights by block",
            caption=(
                f"Means over {some.images} validation images: a dot for each head, a line for the mean of an arm. "
                f"Grey: uniform weights.{left_out}"
            ),
            draw=partial(_draw_by_block, shown),
        ),
    )


def _draw_maps(arms: Mapping[str, MapsFound]) -> Figure:
    each = 2 if len(arms) <= 2 else 1
    rows = [
        (label, found, number)
        for label, found in arms.items()
        for number in range(min(each, len(found.shown)))
    ]
    heads = min(HEADS, max(found.values.shape[1] for found in arms.values()))
    columns = 2 + 2 * heads
    greatest = {
        name: max(
            (
                float(np.nanmax(np.abs(values)))
                for values in all_values
                if np.isfinite(values).any()
            ),
            default=1.0,
        )
        for name, all_values in {
            "before": [found.before[-1, :each, :heads] for found in arms.values()],
            "after": [found.after[-1, :each, :heads] for found in arms.values()],
            "rolled": [found.rolled[:each] for found in arms.values()],
        }.items()
    }
    height = 1.15 + 0.88 * len(rows)
    with styled() as module:
        # Placed by hand: a layout engine makes room for colour bars below some columns alone.
        figure: Figure = module.Figure(figsize=(WIDTH, height), layout="none")
        grid = panels(figure, len(rows), columns)
        figure.subplots_adjust(
            left=0.07,
            right=0.995,
            top=1 - 0.38 / height,
            bottom=0.72 / height,
            wspace=0.08,
            hspace=0.08,
        )
        drawn: dict[str, Any] = {}
        for row, (label, found, number) in enumerate(rows):
            axes = grid[row]
            _picture(axes[0], found.shown[number])
            if number == 0:
                axes[0].set_ylabel(label.replace(" ", "\n", 1), fontsize=8)
            for head in range(heads):
                for kind, place in (("before", 1 + head), ("after", 1 + heads + head)):
                    own = getattr(found, kind)[-1, number]
                    values = own[head] if head < len(own) else np.array(np.nan)
                    norm = _norm(greatest[kind], is_root=kind == "after")
                    drawn[kind] = _map(axes[place], values, found.grid, norm) or drawn.get(kind)
            _map(axes[-1], found.rolled[number], found.grid, _norm(greatest["rolled"]))
        for place, name in enumerate(_names(heads)):
            grid[0][place].set_title(name, fontsize=8)
        for kind, name, place in (
            ("before", "score", 1),
            ("after", "weight (share of Σ|w|)", 1 + heads),
        ):
            if drawn.get(kind) is not None:
                left = grid[-1][place].get_position().x0
                right = grid[-1][place + heads - 1].get_position().x1
                room = figure.add_axes(
                    (left + 0.02, 0.52 / height, right - left - 0.04, 0.09 / height)
                )
                bar = figure.colorbar(drawn[kind], cax=room, orientation="horizontal")
                ticks = _ticks(greatest[kind], is_root=kind == "after")
                bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
                bar.set_label(name, fontsize=8)
    return figure


def _norm(most: float, *, is_root: bool = False) -> Any:
    """The scale of colours, from -most to most; by the square root where small values are to be seen."""
    from matplotlib.colors import FuncNorm, Normalize

    if not is_root:
        return Normalize(-most, most)
    functions = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * x**2)
    return FuncNorm(functions, -most, most)


def _ticks(most: float, *, is_root: bool) -> list[float]:
    """Round numbers at both ends and 0; on a scale of square roots also in the middle of each half."""
    size = 10.0 ** np.floor(np.log10(most)) if most > 0 else 1.0
    end = float(
        max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor * size <= most) * size
    )
    return [-end, -end / 4, 0.0, end / 4, end] if is_root else [-end, 0.0, end]


def _names(heads: int) -> list[str]:
    before = [f"scores\nhead {head + 1}" for head in range(heads)]
    return ["image", *before, *(f"weights\nhead {head + 1}" for head in range(heads)), "rollout"]


def _picture(axes: Any, image_CHW: np.ndarray[Any, Any]) -> None:
    channels = len(image_CHW)
    shown = image_CHW.transpose(1, 2, 0) if channels == 3 else image_CHW.mean(0)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _bare(axes)


def _map(axes: Any, values: np.ndarray[Any, Any], grid: np.ndarray[Any, Any], norm: Any) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    _bare(axes)
    if np.isnan(values).any():
        axes.set_box_aspect(grid[0] / grid[1])
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, fontsize=8)
        return None
    colours = LinearSegmentedColormap.from_list("signed", [NEGATIVE, "#FFFFFF", COLOURS[0]])
    return axes.imshow(values.reshape(grid), cmap=colours, norm=norm, interpolation="nearest")


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color("#BBBBBB")


def _draw_by_block(arms: Mapping[str, MapsFound]) -> Figure:
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 4.2))
        grid = panels(figure, 2, 2, sharex=True)
        for place, (name, label) in enumerate(BY_BLOCK.items()):
            axes = grid[place // 2][place % 2]
            for number, (arm, found) in enumerate(arms.items()):
                values = found.values[..., MEASURES.index(name)]
                blocks = np.arange(1, len(values) + 1)
                shift = (number - (len(arms) - 1) / 2) * 0.08
                colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
                for head in range(values.shape[1]):
                    axes.plot(
                        blocks + shift, values[:, head], mark, color=colour, markersize=3, alpha=0.6
                    )
                axes.plot(blocks + shift, values.mean(1), color=colour, marker=mark, label=arm)
                axes.set_xlim(0.5, len(values) + 0.5)
                axes.set_xticks(blocks if len(blocks) <= 12 else blocks[::2])
            axes.set_ylabel(label)
            some = next(iter(arms.values()))
            uniform = {
                "entropy": 1.0,
                "distance": some.uniform_distance,
                "first_token_share": 1 / some.mean_maps.shape[-1],
                "negative_share": 0.0,
            }
            axes.axhline(uniform[name], color="#999999", linewidth=0.8, linestyle=":")
            if name in ("negative_share", "first_token_share"):
                axes.set_ylim(bottom=-0.02 if name == "negative_share" else 0)
        for column in range(2):
            grid[1][column].set_xlabel("block")
        handles, names = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure
