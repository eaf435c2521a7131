"""`python launch.py` and `karat launch`: check the question, then run, plan or submit it."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.site import WAYS, told_site
from karat.cli.command import Command
from karat.cli.exit_status import OK, guarded
from karat.errors import InputError
from karat.system.lazy_import import import_lazily, load
from karat.system.signals import Interruption


def launch(arguments: Sequence[str] | None = None, interruption: Interruption | None = None) -> int:
    """`python launch.py`: run a study, or go on with it; returns the exit status.

    Args:
        arguments: in place of the process's.
        interruption: is told of a signal, for callers who want to know.
    """
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Search, confirm and report: one command answers one question.",
        epilog="The same command goes on with a study that was interrupted.",
    )
    _add_arguments(parser)
    options = parser.parse_args(arguments)
    return guarded(lambda: _launch(options, interruption or Interruption()))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", type=Path, required=True, help="the question, a YAML file")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="put a value in place of the file's (training.epochs=3); may be repeated",
    )
    parser.add_argument("--name", help="name of the study, in place of the file's")
    parser.add_argument(
        "--storage", type=Path, default=Path("studies"), help="folder of all studies (studies/)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="put an older study of this name aside and start anew"
    )
    parser.add_argument(
        "--extend",
        metavar="WHAT=+N",
        action="append",
        default=[],
        help="go on with an older study, also a finished one: trials=+20, seeds=+5, epochs=+10",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    parser.add_argument(
        "--submit",
        choices=WAYS,
        help="hand the study to a cluster; with --dry-run show what would be submitted",
    )
    parser.add_argument(
        "--cluster", metavar="NAME", help="clusters/NAME.yaml, in place of what the space says"
    )


def _launch(options: argparse.Namespace, interruption: Interruption) -> int:
    from karat.space.overrides import read_question

    document, overrides = read_question(options.space, options.set, options.name)
    if options.extend and (options.dry_run or options.fresh):
        raise InputError("--extend: does not go with --dry-run or --fresh")
    if options.cluster is not None and not (options.submit or options.dry_run):
        raise InputError("--cluster: goes with --submit or --dry-run")
    if not (options.dry_run or options.submit):
        interruption.install()
    import_lazily("torch")  # two seconds that a plan without it need not wait
    from rich.console import Console

    from karat.cli.submit import named_site
    from karat.forecast.capacity import check_probing, slots_of
    from karat.space.reader import load_space

    site = named_site(options)
    if site is None and not (options.submit or options.dry_run):
        site = told_site(os.environ)
    space = load_space(options.space, overrides, options.name, document, site)
    console = Console()
    if options.submit:
        from karat.cli.submit import hand_over

        hand_over(space, options, console)
        return OK
    if options.dry_run:
        from karat.cli.dry_run import print_plan

        print_plan(space, console, options.storage)
        return OK
    if "KARAT_RAY_ADDRESS" in os.environ:  # what the nodes of a cluster have, they say later
        check_probing(space.resources)
    else:
        slots_of(space.resources)
    load("torch")
    from karat.cli.driver import drive

    return drive(
        space,
        options.storage,
        fresh=options.fresh,
        extend=options.extend,
        command=_as_typed(sys.argv),
        console=console,
        interruption=interruption,
    )


def _as_typed(words: Sequence[str]) -> str:
    """The command line by which this process was started, to be typed again."""
    if not words:
        return "the same command"
    program = Path(words[0]).name
    if program == "__main__.py":
        return shlex.join(["python", "-m", "karat", *words[1:]])
    if program == "karat":
        return shlex.join(["karat", *words[1:]])
    return shlex.join(["python", *words])


LAUNCH = Command(_add_arguments, lambda options: _launch(options, Interruption()))
