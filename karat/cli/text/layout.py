"""Plain text in columns and paragraphs, as wide as the terminal."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from karat.cli.exit_status import printable

_WIDTH_OF_A_FILE = 120  # of what is no terminal, if COLUMNS does not say otherwise
_LEAST = 40


def width() -> int:
    """Columns to print in."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return max(_LEAST, shutil.get_terminal_size().columns)
    return _WIDTH_OF_A_FILE


def say(lines: Iterable[str]) -> None:
    """Print lines, without what could control the terminal."""
    for line in lines:
        print(printable(line).rstrip())


def paragraph(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Text in lines of the terminal's width; words longer than that stay whole.

    Args:
        text: the text.
        indent: before every line.
        first: before the first line, instead of `indent`.
    """
    return textwrap.wrap(
        " ".join(text.split()),
        width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows with their cells below each other, two spaces apart.

    Args:
        rows: of equally many cells; the first may be the head.
        right: numbers of the columns that are set flush right.
    """
    if not rows:
        return []
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    flush = set(right)
    return [
        "  ".join(
            cell.rjust(wide[place]) if place in flush else cell.ljust(wide[place])
            for place, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """As `columns`, the first row as the head, without empty columns, the last one wrapped if it is text.

    Args:
        rows: of equally many cells.
        right: numbers of the columns that are set flush right.
    """
    full = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    cells = [[row[place] for place in full] for row in rows]
    flush = [place for place, old in enumerate(full) if old in set(right)]
    if len(full) - 1 in flush or max(map(len, columns(cells, flush))) <= width():
        return columns(cells, flush)
    begin = columns([row[:-1] for row in cells], flush)
    indent = " " * (max(map(len, begin)) + 2)
    if len(indent) > width() - _LEAST // 4:
        indent = "    "
    lines = []
    for line, row in zip(begin, cells, strict=True):
        below = paragraph(row[-1], indent) or [""]
        is_beside = len(line) < len(indent)
        lines.append(line.ljust(len(indent)) + below[0].lstrip() if is_beside else line)
        lines += below[1:] if is_beside else below
    return lines


def pairs(items: Iterable[tuple[str, str]], indent: str = "") -> list[str]:
    """Names and what belongs to them, the latter wrapped in its own column; empty ones are left out."""
    told = [(name, text) for name, text in items if text]
    wide = max((len(name) for name, _ in told), default=0)
    lines = []
    for name, text in told:
        first = f"{indent}{name.ljust(wide)}  "
        lines += paragraph(text, " " * len(first), first)
    return lines


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `45 s`, `7 min 50 s`, `3 h 5 min`, `2 d 4 h`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])
