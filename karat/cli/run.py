"""A launch whose study runs here: on this machine, or in the cluster of which this is a job."""

import argparse
import os
from pathlib import Path

from karat.space.site import site_from_environment
from karat.system.lazy_import import import_lazily, load
from karat.system.signals import Interruption


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that a launch has wherever it runs."""
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


def run_study(
    options: argparse.Namespace,
    interruption: Interruption,
    command: str,
    address: str | None = None,
) -> int:
    """Check the question, then run the study or go on with it; returns the exit status.

    Args:
        options: of the flags above.
        interruption: is told of a signal.
        command: what the user typed, to be shown as the way to go on.
        address: of a running Ray, which the study joins; None starts one on this machine.

    Raises:
        InputError: the question is wrong, or a trial does not fit here.
    """
    from karat.space.overrides import read_question

    document, overrides = read_question(options.space, options.set, options.name)
    interruption.install()
    import_lazily("torch")  # two seconds that wrong input need not wait
    from rich.console import Console

    from jobs.site import check_site
    from karat.forecast.capacity import check_probing, slots_of
    from karat.space.reader import load_space

    site = site_from_environment(os.environ)
    space = load_space(options.space, overrides, options.name, document, site)
    check_site(space.cluster)
    if address is not None:  # what the nodes of a cluster have, they say later
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
        command=command,
        console=Console(),
        interruption=interruption,
        address=address,
    )
