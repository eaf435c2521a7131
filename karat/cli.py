"""The commands: each one function. Exit status: 0 complete, 1 failed, 2 wrong input, 75 interrupted."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from karat.clusters import WAYS, ClusterConfig, cluster_of, told_site
from karat.errors import InputError, KaratError, StudyLockedError
from karat.interruption import Interruption
from karat.lazy import import_lazily, load
from karat.quiet import switch_off_calls

if TYPE_CHECKING:  # what is refused, is refused before anything is loaded
    from karat.state import StudyState

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 75
# Of several short jobs that are one study: whoever runs it needs no help. Of a job that is tried
# again: the attempt before it has not quite ended.
_IF_LOCKED = {"leave": OK, "try-again": os.EX_UNAVAILABLE}


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
    options = parser.parse_args(arguments)
    return _guarded(lambda: _launch(options, interruption or Interruption()))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m karat COMMAND`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m karat", description="Look at a study, or at what a model costs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="write the report anew and print its table")
    report.add_argument("study", type=Path, help="the study's folder (studies/NAME)")
    sync = commands.add_parser("sync", help="bring MLflow up to date from the journal")
    sync.add_argument("study", type=Path, help="the study's folder (studies/NAME)")
    sync.add_argument(
        "--follow", action="store_true", help="until the driver at the other end of stdin is gone"
    )
    _add_deleted_runs(sync)
    checked = commands.add_parser("audit", help="check that nothing of a study is lost or wrong")
    checked.add_argument("study", type=Path, help="the study's folder (studies/NAME)")
    checked.add_argument(
        "--no-tracking", action="store_true", help="leave MLflow out, for when it is away"
    )
    _add_deleted_runs(checked)
    again = commands.add_parser("replay", help="take every decision again, without training")
    again.add_argument("study", type=Path, help="the study's folder (studies/NAME)")
    mended = commands.add_parser("repair", help="cut a damaged journal before its first bad line")
    mended.add_argument("study", type=Path, help="the study's folder (studies/NAME)")
    doctor = commands.add_parser("doctor", help="check what a study needs, here or on a cluster")
    doctor.add_argument("--space", type=Path, help="the question, for what its trials need")
    doctor.add_argument("--submit", choices=WAYS, help="the cluster too")
    doctor.add_argument("--cluster", metavar="NAME", help="clusters/NAME.yaml")
    doctor.add_argument("--storage", type=Path, default=Path("studies"), help="of all studies")
    simulated = commands.add_parser("simulate", help="run a plan on a virtual clock, untrained")
    _add_simulation(simulated)
    costs = commands.add_parser("costs", help="parameters and operations of a model")
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["costs"]:  # its flags are the settings of all bases, which load torch
        from karat.costs_command import add_arguments

        add_arguments(costs)
    options = parser.parse_args(arguments)
    command = {
        "report": _report,
        "sync": _sync,
        "audit": _audit,
        "replay": _replay,
        "repair": _repair,
        "costs": _costs,
        "doctor": _doctor,
        "simulate": _simulate,
    }[options.command]
    return _guarded(lambda: command(options))


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", type=Path, required=True, help="the question, a YAML file")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time (2), to 10,000")
    parser.add_argument(
        "--curves", type=Path, help="take them from this finished study (studies/NAME)"
    )
    parser.add_argument("--epoch-s", type=float, default=60, help="of modelled curves (60)")
    parser.add_argument("--seed", type=int, default=0, help="of modelled curves (0)")
    parser.add_argument(
        "--driver-ms", type=float, default=0, help="that the driver needs for a report (0)"
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="as launch")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _simulate(options: argparse.Namespace) -> int:
    from karat.simulate_command import print_simulation

    state = _state_of(options.curves) if options.curves else None
    print_simulation(options, state)
    return OK


def _add_deleted_runs(parser: argparse.ArgumentParser) -> None:
    from karat.space import DeletedRuns

    parser.add_argument(
        "--deleted-runs",
        choices=get_args(DeletedRuns),
        help="what becomes of runs deleted in MLflow, in place of what the space says",
    )


def _guarded(command: Callable[[], int]) -> int:
    """Run a command; errors of ours and of the system become one line and an exit status."""
    os.umask(0o077)
    switch_off_calls()
    try:
        return command()
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return WRONG_INPUT
    except StudyLockedError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return _IF_LOCKED.get(os.environ.get("KARAT_IF_LOCKED", ""), FAILED)
    except KaratError as error:
        print(f"error: {printable(str(error), kept=chr(10))}", file=sys.stderr)
        return FAILED
    except OSError as error:  # a disk that is full or gone, a server that does not answer
        shown = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {printable(shown)}", file=sys.stderr)
        return FAILED


def printable(text: str, kept: str = "") -> str:
    """Text that does nothing to a terminal: other characters as escapes, but for those `kept`."""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def _launch(options: argparse.Namespace, interruption: Interruption) -> int:
    from karat.door import read_question

    document, overrides = read_question(options.space, options.set, options.name)
    if options.extend and (options.dry_run or options.fresh):
        raise InputError("--extend: does not go with --dry-run or --fresh")
    if options.cluster is not None and not (options.submit or options.dry_run):
        raise InputError("--cluster: goes with --submit or --dry-run")
    if not (options.dry_run or options.submit):
        interruption.install()
    import_lazily("torch")  # two seconds that a plan without it need not wait
    from rich.console import Console

    from karat.engine import check_probing, slots_of
    from karat.spacefile import load_space

    site = _named_site(options)
    if site is None and not (options.submit or options.dry_run):
        site = told_site(os.environ)
    space = load_space(options.space, overrides, options.name, document, site)
    console = Console()
    if options.submit:
        from karat.submission import hand_over

        hand_over(space, options, console)
        return OK
    if options.dry_run:
        from karat.dryrun import print_plan

        print_plan(space, console, options.storage)
        return OK
    if "KARAT_RAY_ADDRESS" in os.environ:  # what the nodes of a cluster have, they say later
        check_probing(space.resources)
    else:
        slots_of(space.resources)
    load("torch")
    from karat.driver import drive

    command = shlex.join(["python", *sys.argv]) if sys.argv else "the same command"
    return drive(
        space,
        options.storage,
        fresh=options.fresh,
        extend=options.extend,
        command=command,
        console=console,
        interruption=interruption,
    )


def _report(options: argparse.Namespace) -> int:
    from rich.console import Console

    from karat.links import refuse_links
    from karat.report import render_terminal, summarise, write_report

    state = _state_of(options.study)
    refuse_links(options.study)
    write_report(options.study, state)
    render_terminal(summarise(state), Console())
    return OK


def _sync(options: argparse.Namespace) -> int:
    from karat.links import refuse_links
    from karat.tracking import run_sync

    _state_of(options.study)
    refuse_links(options.study)
    return run_sync(options.study, follow=options.follow, deleted_runs=options.deleted_runs)


def _audit(options: argparse.Namespace) -> int:
    from karat.audit import audit

    state = _state_of(options.study)
    found = audit(
        options.study, tracking=not options.no_tracking, deleted_runs=options.deleted_runs
    )
    looked_at = "journal and checkpoints" if options.no_tracking else "journal, checkpoints, MLflow"
    summary = f"{len(state.trials)} trials; {looked_at}: "
    return _print_findings(found, summary + "all invariants hold")


def _replay(options: argparse.Namespace) -> int:
    from karat.journal import FILE_NAME, read_events
    from karat.replay import replay
    from karat.spacefile import space_of

    path = options.study / FILE_NAME
    created = _state_of(options.study).original
    if not created:
        raise InputError(f"{path}: the study has not begun; there is nothing to replay")
    events = list(read_events(path))
    found = [
        str(each) for each in replay(space_of(created["space"], created["name"], str(path)), events)
    ]
    return _print_findings(found, f"{len(events)} events: every decision is the same again")


def _repair(options: argparse.Namespace) -> int:
    from rich.console import Console

    from karat.journal import FILE_NAME, repair
    from karat.links import refuse_links

    refuse_links(options.study)
    path = options.study / FILE_NAME
    if not path.is_file():
        raise InputError(f"{options.study}: not a study (there is no {FILE_NAME} in it)")
    done = repair(options.study)
    message = f"{path}: no line is damaged; nothing was changed"
    if done is not None:
        left, copy = done
        message = (
            f"{path}: the first {left} events are left; the file as it was is {copy}. "
            "The command that launched the study goes on from there"
        )
    Console().print(message, markup=False, highlight=False, soft_wrap=True)
    return OK


def _print_findings(found: Sequence[str], otherwise: str) -> int:
    """One line each and status 1, or the line for none and status 0."""
    from rich.console import Console

    console = Console()
    for line in found or [otherwise]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return FAILED if found else OK


def _costs(options: argparse.Namespace) -> int:
    from rich.console import Console

    from karat.costs_command import print_costs

    print_costs(options, Console())
    return OK


def _doctor(options: argparse.Namespace) -> int:
    from karat.doctor import checks_here, examine
    from karat.space import ResourceConfig
    from karat.spacefile import load_space
    from karat.submission import describe, way_of

    if options.submit and options.space is None:
        raise InputError("--submit: needs --space, whose job is looked at")
    space = None
    if options.space is not None:
        space = load_space(options.space, cluster=_named_site(options))
    resources = ResourceConfig() if space is None else space.resources
    checks = checks_here(options.storage, resources, elsewhere=options.submit is not None)
    if options.submit and space is not None:
        checks += way_of(options.submit).checks(describe(space, options))
    findings = examine(checks)
    for each in findings:
        print(printable(str(each)), flush=True)
    return OK if all(each.ok for each in findings) else FAILED


def _named_site(options: argparse.Namespace) -> ClusterConfig | None:
    """What `--cluster` means, in place of what the space says."""
    return None if options.cluster is None else cluster_of(options.cluster, options.space)


def _state_of(study: Path) -> "StudyState":
    from karat.journal import FILE_NAME, read_events
    from karat.state import StudyState

    path = study / FILE_NAME
    if not path.is_file():
        raise InputError(f"{study}: not a study (there is no {FILE_NAME} in it)")
    return StudyState.of(read_events(path))
