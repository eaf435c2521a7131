"""Sections of a report and their tables, as text that every view can lay out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from karat.report.figures import Figure

T = TypeVar("T")
Kind = Literal["text", "number", "range"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns, and rows of cells as text.

    Args:
        columns: names.
        kinds: of the columns: `number` is set flush right, `range` stays on one line.
        rows: as many cells as there are columns.
        title: shown above, unless empty.
        cards: on a narrow screen, show each row as a card.
    """

    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    cards: bool = False

    @property
    def folded(self) -> bool:
        """So long that the reader is to open it."""
        return len(self.rows) > 30


def table_of(
    items: Iterable[T],
    *columns: tuple[str, Kind, Callable[[T], str]],
    title: str = "",
    cards: bool = False,
) -> Table:
    """A table with a row for each item; each column is its name, kind, and what an item shows."""
    names, kinds, cells = zip(*columns, strict=True)
    rows = tuple(tuple(cell(item) for cell in cells) for item in items)
    return Table(columns=names, kinds=kinds, rows=rows, title=title, cards=cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report, in the order in which it is read; commands are (use, command)."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()


def pairs_table(pairs: Mapping[str, str], name: str, value: str) -> Table:
    """A table of names and what belongs to them."""
    return table_of(
        pairs.items(), (name, "text", lambda pair: pair[0]), (value, "text", lambda pair: pair[1])
    )
