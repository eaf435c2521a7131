"""A command of `karat`, and the command line that starts it."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from karat.cli.exit_status import WRONG_INPUT, printable
from karat.errors import meant
from karat.system.paths import CODE

# Options of a launch that people try, and what does it here.
_INSTEAD = {
    "resume": "the same command resumes a study",
    "workers": "as many trials run at a time as the machine holds; resources.cpus and resources.gpus "
    "say what each of them gets",
    "jobs": "as many trials run at a time as the machine holds; resources.cpus and resources.gpus "
    "say what each of them gets",
    "config": "use --space",
    "study": "use --name",
    "out": "use --storage",
    "output": "use --storage",
    "output-dir": "use --storage",
    "seed": "use --set seed=...",
}


@dataclass(frozen=True)
class Command:
    """One subcommand of `karat`.

    Args:
        add_arguments: adds the command's flags to its parser.
        run: runs the command and returns the exit status; may raise `KaratError` and `OSError`.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command, and which option or setting is meant."""

    def error(self, message: str) -> NoReturn:
        said = f"error: {message}; {self.prog} --help lists all options"
        print(printable(said), file=sys.stderr)
        sys.exit(WRONG_INPUT)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            words = sys.argv[1:] if args is None else list(args)
            self.error(self._why_unknown(unknown[0], words))
        return found

    def _why_unknown(self, word: str, words: Sequence[str]) -> str:
        if not word.startswith("-"):
            if "=" in word:
                return f"{word}: write --set before each assignment"
            return f"{word}: is one word too many"
        name, hint = word.lstrip("-").partition("=")[0], ""
        known = sorted({option for parser in self._used(words) for option in parser.options})
        if "--set" in known and name in _INSTEAD:
            hint = f"; {_INSTEAD[name]}"
        elif "--set" in known and (setting := _setting_of(name)) is not None:
            hint = f"; it is a setting: --set {setting}=..."
        elif (near := meant(f"--{name}", known)) is not None:
            hint = f"; did you mean {near}?"
        return f"{word}: there is no such option{hint}"

    @property
    def options(self) -> list[str]:
        """The options with two dashes."""
        return [each for each in self._option_string_actions if each.startswith("--")]

    def _used(self, words: Sequence[str]) -> Iterator["Parser"]:
        """This parser, and that of the command among the words."""
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from (each for name, each in action.choices.items() if name in words)


def _setting_of(name: str) -> str | None:
    """The setting of a space that an option is meant to be."""
    from karat.system.lazy_import import import_lazily

    import_lazily("torch")  # takes two seconds, and names need none of it
    from karat.space.document import full_name

    return full_name(name.replace("-", "_"))


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
