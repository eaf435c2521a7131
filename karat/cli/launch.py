"""`python launch.py` and `karat launch`: check the search space, then run, plan or submit it."""

import argparse
import sys
from collections.abc import Sequence

from jobs import BACKENDS
from karat.cli.command import Command, Parser, as_typed
from karat.cli.exit_status import OK, guarded
from karat.cli.run import add_arguments, run_study
from karat.errors import InputError
from karat.system.lazy_import import import_lazily
from karat.system.process.signals import Interruption
from karat.terminal import make_console


def launch(arguments: Sequence[str] | None = None) -> int:
    """`python launch.py`: run or resume a study and return the exit status.

    Args:
        arguments: command line; None takes `sys.argv`.
    """
    parser = Parser(
        prog="launch.py",
        description="Search, confirm and report: one command answers one question.",
        epilog="The same command resumes a study that was interrupted.",
    )
    _add_arguments(parser)
    options = parser.parse_args(arguments)
    return guarded(lambda: _launch(options))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan and train nothing",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="before --dry-run plans, time a few training steps of each shape of model, and its memory",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document with the verdicts on stdout at the end; all else goes to stderr",
    )
    add_cluster_arguments(
        parser,
        "submit the study to a cluster; with --dry-run show what would be submitted",
        "clusters/NAME.yaml; overrides the search space",
    )


def add_cluster_arguments(parser: argparse.ArgumentParser, submit: str, cluster: str) -> None:
    """Add `--submit` and `--cluster` with these help texts."""
    parser.add_argument("--submit", metavar=f"{{{','.join(BACKENDS)}}}", help=submit)
    parser.add_argument("--cluster", metavar="NAME", help=cluster)


def _launch(options: argparse.Namespace) -> int:
    if options.extend and (options.dry_run or options.fresh):
        raise InputError("--extend: does not go with --dry-run or --fresh")
    if options.cluster is not None and not (options.submit or options.dry_run):
        raise InputError("--cluster: goes with --submit or --dry-run")
    if options.measure and (options.submit or not options.dry_run):
        raise InputError("--measure: goes with --dry-run, without --submit")
    if options.json and (options.submit or options.dry_run):
        raise InputError("--json: does not go with --dry-run or --submit")
    if options.submit or options.dry_run:
        _plan(options)
        return OK
    if options.json:
        from karat.cli.studies.verdict import run_for_programs

        return run_for_programs(options, Interruption(), as_typed(sys.argv))
    return run_study(options, Interruption(), as_typed(sys.argv))


def _plan(options: argparse.Namespace) -> None:
    """Print the plan, or submit the study to a cluster."""
    from karat.space.overrides import placed, read_question

    document, overrides = read_question(options.space, options.set, options.name)
    import_lazily("torch")  # takes two seconds, and not every plan needs it

    from jobs.site import check_site, machines_at
    from karat.cli.submit import backend_of, named_site, submit_launch
    from karat.cli.text.training import check_devices
    from karat.execution.preload import PRELOAD
    from karat.forecast.matching import Estimating, Measured
    from karat.space.reader import load_space

    if options.submit:
        backend_of(options)  # an unknown cluster is an error before the space is read
    console = make_console()
    measuring = (
        Measured(options.storage, PRELOAD, console.print)
        if options.measure
        else Estimating(options.storage)
    )
    site = named_site(options)
    space = load_space(options.space, overrides, options.name, document, site, measuring)
    check_site(space.cluster)
    if options.submit:
        submit_launch(space, options, console)
        return
    from karat.cli.dry_run import print_plan

    with placed("resources", document, options.space, overrides):
        if options.measure:
            from karat.execution.placement import measure

            measure(space, options.storage, console)
        machines = machines_at(space.cluster)
        print_plan(space, console, options.storage, machines)
    if not machines:
        with placed("training", document, options.space, overrides):
            check_devices(space)


LAUNCH = Command(_add_arguments, _launch)
