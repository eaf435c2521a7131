"""A command of `karat`, and the command line that starts it."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from karat.system.paths import CODE


@dataclass(frozen=True)
class Command:
    """One subcommand of `karat`.

    Args:
        add_arguments: adds the command's flags to its parser.
        run: runs the command and returns the exit status; may raise `KaratError` and `OSError`.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def as_typed(words: Sequence[str]) -> str:
    """Return the shell command that starts a process with `words` as its `sys.argv`."""
    if not words:
        return "the same command"
    program = Path(words[0]).name
    if program == "__main__.py":
        return shlex.join(["python", "-m", "karat", *words[1:]])
    if program == "karat":
        return shlex.join(["karat", *words[1:]])
    return shlex.join(["python", *words])


def launch_as_typed(arguments: Sequence[str]) -> str:
    """Return the shell command of a launch: `python launch.py` in a checkout, else `karat launch`."""
    program = ["launch.py"] if (CODE / "launch.py").is_file() else ["karat", "launch"]
    return as_typed([*program, *arguments])
