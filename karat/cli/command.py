"""What a command of `karat` consists of, and how it is typed."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from karat.system.paths import CODE


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        add_arguments: adds its flags to a parser of its own.
        run: does it, and returns the exit status; errors of ours and of the system may leave it.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def as_typed(words: Sequence[str]) -> str:
    """The command line that starts a process with these words as `sys.argv`."""
    if not words:
        return "the same command"
    program = Path(words[0]).name
    if program == "__main__.py":
        return shlex.join(["python", "-m", "karat", *words[1:]])
    if program == "karat":
        return shlex.join(["karat", *words[1:]])
    return shlex.join(["python", *words])


def launch_as_typed(arguments: Sequence[str]) -> str:
    """A launch as one types it here: by a checkout's `launch.py`, or once installed."""
    program = ["launch.py"] if (CODE / "launch.py").is_file() else ["karat", "launch"]
    return as_typed([*program, *arguments])
