"""`karat COMMAND`, the same as `python -m karat COMMAND`."""

import importlib
import sys
from collections.abc import Sequence

from karat import __version__
from karat.cli.command import Command, Parser
from karat.cli.exit_status import WRONG_INPUT, guarded
from karat.errors import nearest

# Name to help text and MODULE:COMMAND: only the module of the command that runs is imported.
COMMANDS = {
    "launch": ("run or resume a study (same as launch.py)", "launch:LAUNCH"),
    "list": ("list the studies: how each stands, and its answer in a line", "studies.list:LIST"),
    "show": ("show what a study found, or one of its trials", "studies.show:SHOW"),
    "best": ("print the best configuration, to paste into a space", "studies.best:BEST"),
    "compare": ("compare two studies, arms or trials", "studies.compare:COMPARE"),
    "watch": ("follow a study while it runs, from another terminal", "studies.watch:WATCH"),
    "report": ("write the report of a study again, or of several", "studies.report:REPORT"),
    "sync": ("bring MLflow up to date from the journal", "studies.inspect:SYNC"),
    "audit": ("check that nothing of a study is lost or wrong", "studies.inspect:AUDIT"),
    "verify": ("evaluate the confirmed models on their images again", "studies.inspect:VERIFY"),
    "reproduce": ("train a trial again and compare every number", "studies.inspect:REPRODUCE"),
    "replay": ("make every decision again, without training", "studies.inspect:REPLAY"),
    "export": ("write a trial's weights as safetensors, with a script", "models.export:EXPORT"),
    "evaluate": ("scores of a trial's model on other images", "models.evaluate:EVALUATE"),
    "predict": ("class and probability of images", "models.predict:PREDICT"),
    "analyze": (
        "look inside the models: spectra, functions, landscapes, ...",
        "analyses.analyze:ANALYZE",
    ),
    "noise": ("measure how much runs of one arm differ by chance", "studies.noise:NOISE"),
    "ui": ("open MLflow at the page that shows the runs", "web.ui:UI"),
    "repair": ("cut off a damaged journal before its first bad line", "studies.inspect:REPAIR"),
    "delete": ("delete a study: its folder and what MLflow has of it", "studies.delete:DELETE"),
    "doctor": ("check what a study needs, here or on a cluster", "doctor:DOCTOR"),
    "simulate": ("run a plan on a virtual clock, without training", "simulate:SIMULATE"),
    "costs": ("print parameters, operations, bytes and times of a model", "costs:COSTS"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        arguments: command line; None takes `sys.argv`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = Parser(
        prog="karat",
        description="Find out which attention is better: run studies and inspect them.",
    )
    parser.add_argument("--version", action="version", version=f"karat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, (text, _) in COMMANDS.items()
    }
    if not given:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    if given[0] in ("-h", "--help", "--version"):
        parser.parse_args(given)
    if given[0] not in COMMANDS:
        parser.error(f"unknown command {given[0]!r}. {nearest(given[0], COMMANDS)}")
    found = _load(COMMANDS[given[0]][1])
    found.add_arguments(parsers[given[0]])
    options = parser.parse_args(given)
    return guarded(lambda: found.run(options))


def _load(target: str) -> Command:
    module, _, name = target.partition(":")
    command: Command = getattr(importlib.import_module(f"karat.cli.{module}"), name)
    return command
