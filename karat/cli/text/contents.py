"""What a data set holds, on the terminal."""

from collections.abc import Iterator

from rich.console import Console

from karat.datasets import Contents, lines_of

_AT_A_LAUNCH = ("changed", "left out", "warning")  # the plan and the report have the rest too


def contents_lines(contents: Contents) -> Iterator[str]:
    """For the plan, with `data` before the first."""
    for place, (what, text) in enumerate(lines_of(contents.plain())):
        yield f"{'' if place else 'data':14}{what}: {text}"


def tell_contents(contents: Contents, console: Console) -> None:
    """At a launch: what was not read as it is, and what makes the set of little worth."""
    for what, text in lines_of(contents.plain()):
        if what in _AT_A_LAUNCH:
            console.print(f"data, {what}: {text}", soft_wrap=True, markup=False)
