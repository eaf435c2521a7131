"""`karat COMMAND`, the same as `python -m karat COMMAND`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from karat.cli.command import Command
from karat.cli.exit_status import guarded

# Name to help text and to where the command is: only the one that is asked for is loaded.
COMMANDS = {
    "launch": ("run a study, or go on with it (as launch.py does)", "launch:LAUNCH"),
    "report": ("write the report again and print its table", "inspect:REPORT"),
    "sync": ("bring MLflow up to date from the journal", "inspect:SYNC"),
    "audit": ("check that nothing of a study is lost or wrong", "inspect:AUDIT"),
    "replay": ("take every decision again, without training", "inspect:REPLAY"),
    "repair": ("cut a damaged journal before its first bad line", "inspect:REPAIR"),
    "doctor": ("check what a study needs, here or on a cluster", "doctor:DOCTOR"),
    "simulate": ("run a plan on a virtual clock, untrained", "simulate:SIMULATE"),
    "costs": ("parameters and operations of a model", "costs:COSTS"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Args:
        arguments: in place of the process's.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="karat", description="Ask which attention is better, and look at the answers."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, place) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if given[:1] == [name]:
            found = _load(place)
            found.add_arguments(command)
    options = parser.parse_args(given)
    return guarded(lambda: found.run(options))


def _load(place: str) -> Command:
    module, _, name = place.partition(":")
    command: Command = getattr(importlib.import_module(f"karat.cli.{module}"), name)
    return command
