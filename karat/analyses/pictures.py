"""How pictures of analyses look: one style, colours that colour-blind people can tell apart, one width.

Pictures are drawn with matplotlib, 7.2 inches wide, which is 720 pixels on the report's page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from karat.report.figures.style import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches
DPI = 200  # of PNG files
SEQUENTIAL, DIVERGING = "cividis", "PuOr"  # both safe for colour-blind people
NEGATIVE = "#D55E00"  # of negative weights, where positive ones are shades of blue or grey
COLOURS = OKABE_ITO
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "svg.fonttype": "none",
    "svg.hashsalt": "karat",  # the same numbers give the same file
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing: its file's name, and what it shows.

    Args:
        name: of its files, without the ending; lower case.
        title: what it is, in a few words.
        caption: what is shown, of which images, in which unit.
        draw: makes the matplotlib figure, with `styled`.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


@contextmanager
def styled() -> Iterator[Any]:
    """`matplotlib` with this style, without a display; gives the module `matplotlib.figure`."""
    import matplotlib
    import matplotlib.figure

    with matplotlib.rc_context(_STYLE):
        yield matplotlib.figure


def panels(figure: Figure, rows: int, columns: int, **more: Any) -> Sequence[Sequence[Any]]:
    """Axes of a grid of panels, row by row, also where there is one row or column."""
    found: Sequence[Sequence[Any]] = figure.subplots(rows, columns, squeeze=False, **more)
    return found


def svg_of(figure: Figure) -> bytes:
    """The figure as SVG: text as text, without a date, places to a hundredth of a point."""
    text = _saved(figure, "svg", metadata={"Date": None}).decode()
    text = _NOT_SHOWN.sub("", text)
    return _PLACES.sub(lambda found: _DIGITS.sub(_rounded, found[0]), text).encode()


def png_of(figure: Figure) -> bytes:
    """The figure as PNG of 256 colours, half of the size of one with all; each is at most 4 of 255 off."""
    from PIL import Image

    with Image.open(io.BytesIO(_saved(figure, "png", dpi=DPI))) as whole:
        few = whole.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


# What no viewer shows, and attributes that hold places.
_NOT_SHOWN = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|(?<=>)\n\s*(?=<)", re.DOTALL)
_PLACES = re.compile(r'\b(?:d|x|y|points|transform)="[^"]*"')
_DIGITS = re.compile(r"\d+\.\d{3,}")


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _saved(figure: Figure, kind: str, **more: Any) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    # Otherwise matplotlib gives a figure without a layout engine one of its own after its first file.
    style = _STYLE | {"figure.constrained_layout.use": False}
    with matplotlib.rc_context(style):
        figure.savefig(buffer, format=kind, **more)
    return buffer.getvalue()
