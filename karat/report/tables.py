"""Sections of a report and their tables, as text that every view can lay out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from karat.report.figures import Figure

T = TypeVar("T")
Kind = Literal["text", "number", "range"]
Column: TypeAlias = tuple[str, Kind, Callable[[T], str]]  # name, kind, and what an item shows


PORTRAIT, LANDSCAPE = 110, 160  # characters of a printed line


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns, and rows of cells as text.

    Args:
        columns: names.
        kinds: of the columns: `number` is set flush right, `range` stays on one line.
        rows: as many cells as there are columns.
        title: shown above, unless empty.
        cards: on a narrow screen, show each row as a card.
        trials: the trial that each row is about; empty where rows are about something else.
        elsewhere: file in the study's folder that has the same rows, for views that leave them out.
    """

    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    cards: bool = False
    trials: tuple[int, ...] = ()
    elsewhere: str = ""

    @property
    def folded(self) -> bool:
        """So long that the reader is to open it."""
        return len(self.rows) > 30

    @property
    def is_wide(self) -> bool:
        """So wide that a page is to be turned for it."""
        return self._characters > PORTRAIT

    @property
    def is_squeezed(self) -> bool:
        """So wide that words must break for it to fit on a turned page."""
        return self._characters > LANDSCAPE

    @property
    def _characters(self) -> int:
        """The least width, if words and numbers do not break."""
        whole = [kind == "number" for kind in self.kinds]
        widths = [_longest_word(name) for name in self.columns]
        for row in self.rows:
            cells = zip(widths, row, whole, strict=True)
            widths = [max(w, len(c) if one else _longest_word(c)) for w, c, one in cells]
        return sum(widths) + len(widths)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def table_of(
    items: Iterable[T],
    *columns: Column[T],
    title: str = "",
    cards: bool = False,
    trials: Sequence[int] = (),
    elsewhere: str = "",
) -> Table:
    """A table with a row for each item; each column is its name, kind, and what an item shows."""
    names, kinds, cells = zip(*columns, strict=True)
    rows = tuple(tuple(cell(item) for cell in cells) for item in items)
    return Table(
        columns=names,
        kinds=kinds,
        rows=rows,
        title=title,
        cards=cards,
        trials=tuple(trials),
        elsewhere=elsewhere,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Something that weakens a study: what was found, with figures, and what would help."""

    title: str
    found: str
    helps: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report, in the order in which it is read; commands are (use, command)."""

    title: str
    paragraphs: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()


def pairs_table(pairs: Mapping[str, str], name: str, value: str) -> Table:
    """A table of names and what belongs to them."""
    return table_of(
        pairs.items(), (name, "text", lambda pair: pair[0]), (value, "text", lambda pair: pair[1])
    )
