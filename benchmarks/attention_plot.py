"""Plot the time and memory of attention alone against N and G, from the data of a sweep."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GRID, TOKENS = 3, 197  # the fixed value while the other one varies
COLOURS = {
    "softmax-sdpa": "#222222", "softmax-eager": "#999999", "formula": "#c44e52",
    "reference": "#dd8452", "recompute": "#4c72b0", "triton": "#55a868",
}  # fmt: skip


def plot(data: Mapping[str, Any], path: Path) -> None:
    """Write a figure with four panels: time of a step and bytes kept, against N and against G.

    Args:
        data: what `python -m benchmarks.attention --sweep ... --json` prints.
        path: a PNG file.
    """
    from matplotlib.figure import Figure

    alone = [
        each
        for each in data["sweep"]
        if each["setting"]["part"] == "operator" and each["setting"]["model"] == "vit_tiny"
    ]
    against_n = [each for each in alone if each["setting"]["grid_size"] == GRID]
    against_g = [each for each in alone if each["setting"]["tokens"] == TOKENS]
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row")
    for row, (label, value) in enumerate([
        ("forward and backward (ms)", lambda result: result["step_ms"]),
        ("kept for backward (MiB)", lambda result: result["saved_bytes"] / 2**20),
    ]):  # fmt: skip
        _lines(axes[row][0], against_n, "tokens", value)
        _lines(axes[row][1], against_g, "grid_size", value)
        axes[row][0].set_ylabel(label)
    axes[1][0].set_xlabel(f"N, tokens (G = {GRID})")
    axes[1][1].set_xlabel(f"G, grid size (N = {TOKENS})")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.supxlabel(
        f"attention of ViT-Tiny alone, batch {alone[0]['setting']['batch_size']}; "
        f"{data['machine']}",
        fontsize=8,
    )
    figure.savefig(path, dpi=100)


def _lines(
    axis: Any,
    comparisons: list[Mapping[str, Any]],
    along: str,
    value: Callable[[Mapping[str, Any]], float],
) -> None:
    places = [each["setting"][along] for each in comparisons]
    for name in [result["implementation"] for result in comparisons[0]["results"]]:
        found = [
            value(result)
            for each in comparisons
            for result in each["results"]
            if result["implementation"] == name
        ]
        axis.plot(places, found, "o-", label=name, color=COLOURS[name], markersize=4)
    axis.set_yscale("log")
    axis.set_xticks(places)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
