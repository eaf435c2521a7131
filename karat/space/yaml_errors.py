"""What is wrong with a text that is not YAML, in words: PyYAML speaks of tokens and blocks."""

import re

import yaml

from karat.errors import shorten

_KEY = re.compile(r"\s*(?:- )?[\w.\"']+:(\s|$)")


def place_and_rule(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line (from 1) at which to look, and what is wrong there.

    Args:
        error: from PyYAML.
        text: what it has read.
    """
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    number = min(mark.line, len(lines) - 1) if mark else 0
    column = mark.column if mark else 0
    begun = error.context_mark.line if error.context_mark else number
    problem = error.problem or ""
    if "\t" in re.match(r"\s*", lines[number])[0]:  # type: ignore[index]
        return number + 1, f"{_shown(lines[number])} begins with a tab; indent with spaces"
    if "mapping values are not allowed" in problem:
        return number + 1, _second_colon(lines, number, column)
    if "found unexpected end of stream" in problem:
        return begun + 1, f"{_shown(lines[begun])}: a quote is opened here and never closed"
    if problem.startswith("expected ',' or"):
        where = "" if begun == number else f" of line {begun + 1}"
        rule = f"a comma is missing, or a bracket{where} is not closed"
        return number + 1, f"{_shown(lines[number])}: {rule}"
    if problem.startswith("expected <block end>"):
        return number + 1, _indentation(lines, number)
    if "that cannot start any token" in problem or "while scanning an a" in (error.context or ""):
        start = lines[number].strip()
        return (
            number + 1,
            f"{_shown(start)}: put text that begins with a special character in quotes",
        )
    return number + 1, f"not valid YAML: {problem}"


def _second_colon(lines: list[str], number: int, column: int) -> str:
    """A colon where none may be: in a value, or after a line that lacks its own."""
    here, above = lines[number], _line_above(lines, number)
    if _KEY.match(here[:column]):
        return f"{_shown(here)}: put a text with `: ` in it in quotes"
    if above is not None and not _KEY.match(lines[above]) and ":" not in lines[above]:
        return f"line {above + 1}, {_shown(lines[above])}, has no `:` after its key"
    return _indentation(lines, number)


def _indentation(lines: list[str], number: int) -> str:
    """A line beside the one above it, whose indentation does not fit."""
    here, above = lines[number], _line_above(lines, number)
    if above is None:
        return f"{_shown(here)} is indented by {_counted(here)}, and nothing is above it"
    kinds = [line.lstrip().startswith("- ") for line in (lines[above], here)]
    if kinds[0] != kinds[1] and _spaces(lines[above]) == _spaces(here):
        rule = f"{_shown(here)} follows {_shown(lines[above])} (line {above + 1}): "
        return rule + "one level holds either `- ` entries or keys, not both"
    return (
        f"wrong indentation: {_shown(here)} is indented by {_counted(here)}, "
        f"{_shown(lines[above])} (line {above + 1}) by {_spaces(lines[above])}; "
        "keys of one level begin in the same column"
    )


def _line_above(lines: list[str], number: int) -> int | None:
    """The number of the last line above that holds more than a comment."""
    rest = range(number - 1, -1, -1)
    return next((i for i in rest if lines[i].strip() and lines[i].lstrip()[0] != "#"), None)


def _spaces(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _counted(line: str) -> str:
    return f"{_spaces(line)} space{'s' * (_spaces(line) != 1)}"


def _shown(line: str) -> str:
    return shorten(line.strip(), 40)
