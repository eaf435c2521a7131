"""What to look at next, at the end of every command: one or two lines, never with `--json`."""

import shlex
import sys
from pathlib import Path

from karat.cli.command import as_typed
from karat.cli.studies.named import STORAGE
from karat.cli.text.layout import columns

# Command to what it shows; `{}` is the study.
_SHOWS = {
    "list": "all studies, and how each stands",
    "show {}": "question, answer, arms and costs",
    "best {}": "the best configuration, to paste into a space",
    "watch {}": "follow it while it runs",
    "report {}": "write the report again",
    "compare {} OTHER": "against another study",
    "ui {}": "its runs in MLflow",
}

_USEFUL = {
    "completed": ("show {}", "best {}", "ui {}"),
    "failed": ("show {}", "ui {}"),
    "running": ("watch {}", "show {}", "list"),
}

_SHOW_IT_ALL = ("launch", "report", "show")  # print what `show` prints


def next_lines(folder: Path | None, *commands: str) -> list[str]:
    """The lines: `next: karat show fourier-grid    question, answer, arms and costs`.

    Args:
        folder: of the study; None where no command is about a study.
        commands: keys of `_SHOWS`, at most two.
    """
    study = "" if folder is None else shlex.quote(shown_study(folder))
    rows = [
        ("next:" if not place else "", f"{_program()} {each.format(study)}", _SHOWS[each])
        for place, each in enumerate(commands)
    ]
    return ["", *columns(rows)]


def shown_study(folder: Path) -> str:
    """How the command line names a study: by its name in the usual storage folder, else by its folder."""
    return folder.name if folder.parent == STORAGE else str(folder)


def after(command: str, activity: str) -> list[str]:
    """The commands to name at the end of another one: at most two, and not itself.

    Args:
        command: the one that ends.
        activity: of the study.
    """
    useful = _USEFUL.get(activity, ("show {}", "list"))
    shown = ("show",) if command in _SHOW_IT_ALL else (command,)
    return [each for each in useful if each.split()[0] not in shown][:2]


def _program() -> str:
    """How this process was started, if as `karat`; `python -m karat` otherwise, which works everywhere."""
    is_command = Path(sys.argv[0]).name == "karat"
    return "karat" if is_command else as_typed(["__main__.py"])
