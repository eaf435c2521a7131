"""The figures of a report: one file each, drawn as SVG by the templates in `svg`.

Every figure is a function of a summary that yields at most one `Figure`, and none where there is
nothing to show. Figures have no style sheet, no script, no ids and no fonts of their own, so that
several of them can stand in one page under its content security policy. Marks of a trial have
`data-trial`, those of an arm lie in a group with `data-arm`, and each has a `<title>`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from karat.journal.layout import FIGURES


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing: its file's name, and what it shows.

    Args:
        file: name of its file.
        title: what it is, in a few words.
        caption: what is shown, of which split, with which interval, over what.
        draw: returns the SVG file; called when a view shows the figure, since a terminal does not.
        folder: where its file lies in the study's folder.
        image: where the file is there already, and is shown as an image: its address, `data:` with the content.
    """

    file: str
    title: str
    caption: str
    draw: Callable[[], str]
    folder: str = FIGURES
    image: str = ""

    @cached_property
    def svg(self) -> str:
        """A complete `<svg>` element."""
        return self.draw()


def left_out_text(number: int) -> str:
    """That further arms are not drawn."""
    are, s = ("are", "s") if number != 1 else ("is", "")
    return (
        f"{number} further arm{s} {are} left out: confirmed arms come first, then those with the best "
        "validation."
    )
