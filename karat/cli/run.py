"""A launch that runs its study: on this machine, or in the cluster whose job this process is."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from karat.cli.studies.named import add_storage
from karat.space.overrides import space_path
from karat.space.site import site_from_environment
from karat.system.lazy_import import import_lazily
from karat.system.process.signals import Interruption
from karat.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from karat.space.space import Space


def add_space(parser: argparse.ArgumentParser, override: str) -> None:
    """Add `--space` and `--set`; `override` says what the latter does."""
    parser.add_argument(
        "--space", type=space_path, required=True, help="search space: a YAML file, or its name"
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=override)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a launch that are the same on this machine and in a cluster."""
    add_space(parser, "override a value of the file (training.epochs=3); may be repeated")
    parser.add_argument("--name", help="name of the study; overrides the file's")
    add_storage(parser)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="rename an older study of this name and start a new one",
    )
    parser.add_argument(
        "--extend",
        metavar="WHAT=+N",
        action="append",
        default=[],
        help="enlarge an existing study, even a finished one: trials=+20, seeds=+5, epochs=+10",
    )


def run_study(
    options: argparse.Namespace,
    interruption: Interruption,
    command: str,
    address: str | None = None,
    console: "Console | None" = None,
) -> int:
    """Check the search space, run or resume the study, and return the exit status.

    Args:
        options: parsed flags of `add_arguments`.
        interruption: receives signals; installed here.
        command: the command that the user typed; shown as the command that resumes the study.
        address: address of a running Ray to join; None starts Ray on this machine.
        console: where progress and answer are shown; None for stdout.

    Raises:
        InputError: the search space is wrong, or a trial does not fit on this machine.
    """
    from karat.space.overrides import placed, read_question

    document, overrides = read_question(options.space, options.set, options.name)
    interruption.install()
    import_lazily("torch")  # takes two seconds: wrong input should fail before that

    from karat.cli.text.training import check_devices
    from karat.execution.preload import PRELOAD
    from karat.forecast.capacity import slots_of
    from karat.forecast.matching import Measured
    from karat.space.reader import load_space

    site = site_from_environment(os.environ)
    console = console or make_console()
    measuring = Measured(options.storage, PRELOAD, console.print, fresh=options.fresh)
    space = load_space(options.space, overrides, options.name, document, site, measuring)
    if address is None:
        with placed("resources", document, options.space, overrides):
            slots_of(space.resources)
        with placed("training", document, options.space, overrides):
            check_devices(space)
    return start(
        space,
        options.storage,
        fresh=options.fresh,
        extend=options.extend,
        command=command,
        console=console,
        interruption=interruption,
        address=address,
    )


def start(
    space: "Space",
    storage: Path,
    *,
    fresh: bool,
    command: str,
    console: "Console",
    interruption: Interruption,
    extend: Sequence[str] = (),
    address: str | None = None,
) -> int:
    """Run or resume the study of a checked search space; `karat.cli.driver.drive` says what each argument is.

    Raises:
        InputError: a trial does not fit on this machine.
    """
    import_lazily("torch")
    from jobs.site import check_site
    from karat.forecast.capacity import check_probing, slots_of

    check_site(space.cluster)
    if address is not None:  # the engine checks the nodes of a cluster when it joins
        check_probing(space.resources)
    else:
        slots_of(space.resources)
    from karat.cli.driver import drive

    return drive(
        space,
        storage,
        fresh=fresh,
        extend=extend,
        command=command,
        console=console,
        interruption=interruption,
        address=address,
    )
