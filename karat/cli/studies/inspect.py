"""Commands on an existing study: sync, audit, verify, reproduce, replay, repair."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from karat.cli.command import Command
from karat.cli.exit_status import FAILED, OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_study, state_of, study_of
from karat.cli.text.layout import say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import InputError
from karat.terminal import make_console

if TYPE_CHECKING:
    from karat.verification.training_again import Reproduced


def _add_sync(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    parser.add_argument("--follow", action="store_true", help="keep running until stdin is closed")
    _add_deleted_runs(parser)


def _add_with_json(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)


def _add_audit(parser: argparse.ArgumentParser) -> None:
    _add_with_json(parser)
    parser.add_argument(
        "--no-tracking",
        action="store_true",
        help="do not check MLflow, for example while it is down",
    )
    _add_deleted_runs(parser)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    add_study(parser, nargs="?")  # optional with --claims
    add_json(parser)
    parser.add_argument(
        "--claims",
        type=Path,
        metavar="FILE",
        help="compare the claims in this YAML file with the reports of their studies",
    )
    parser.add_argument(
        "--shifted",
        action="store_true",
        help="evaluate corrupted copies of the test images again too, where data.corruptions names them",
    )


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    _add_with_json(parser)
    parser.add_argument("trial", type=int, help="the trial's number, as in the report and MLflow")


def _add_deleted_runs(parser: argparse.ArgumentParser) -> None:
    from karat.space.settings import DeletedRuns

    parser.add_argument(
        "--deleted-runs",
        choices=get_args(DeletedRuns),
        help="what to do with runs deleted in MLflow; overrides the search space",
    )


def _sync(options: argparse.Namespace) -> int:
    from karat.study.folder import refuse_symlinks
    from karat.tracking.sync import run_sync

    if options.follow and options.json:
        raise InputError("sync: --follow has no end at which --json could print its document")
    folder = study_of(options)
    state_of(folder)
    refuse_symlinks(folder)
    status = run_sync(folder, follow=options.follow, deleted_runs=options.deleted_runs)
    if options.json:
        print_json("sync", _synced(folder))
    elif not options.follow:  # else nobody reads it: the driver started this process
        say(next_lines(folder, "ui {}"))
    return status


def _synced(folder: Path) -> dict[str, object]:
    """Where a study is in MLflow, and what of it."""
    from karat.cli.web.mlflow_pages import experiment_of
    from karat.system.redact import shown_address
    from karat.tracking.client import tracking_uri

    state, uri = state_of(folder), tracking_uri(folder)
    return {
        "folder": str(folder),
        "mlflow": shown_address(uri),
        "experiment": state.created["name"] if state.created else None,
        "experiment_id": experiment_of(uri, state.created["name"]) if state.created else None,
        "trials": len(state.trials),
    }


def _audit(options: argparse.Namespace) -> int:
    from karat.study.audit import audit
    from karat.tracking.view import is_followed

    folder = study_of(options)
    state = state_of(folder)
    found = audit(folder, tracking=not options.no_tracking, deleted_runs=options.deleted_runs)
    is_checked = not options.no_tracking and is_followed(state)
    checked = "journal, checkpoints, MLflow" if is_checked else "journal and checkpoints"
    summary = f"{len(state.trials)} trials; {checked}: "
    if options.json:
        data = {"trials": len(state.trials), "checked": checked.replace(" and", ",").split(", ")}
        return _json_findings("audit", folder, found, data)
    status = _print_findings(found, summary + "all invariants hold")
    _print_next(folder, "audit", state.status)
    return status


def _verify(options: argparse.Namespace) -> int:
    from karat.verification.claims import check_claims

    if options.study is None and options.claims is None:
        raise InputError("verify: name a study's folder, or a file of claims with --claims")
    if options.study is None and options.shifted:
        raise InputError("verify: --shifted needs a study's folder")
    found: list[str] = []
    lines: list[str] = []
    notes: list[str] = []
    unchecked: list[str] = []
    summaries: list[str] = []
    folder = None
    if options.study is not None:
        folder = study_of(options)
        state_of(folder)
        from karat.verification.tests_again import verify  # imports torch

        done = verify(folder, shifted=options.shifted)
        found += done.findings
        notes += done.notes
        unchecked += done.unchecked
        summaries.append(done.summary)
        lines += [*done.findings, *done.notes, done.summary]
        lines += ["not compared here:", *(f"  {each}" for each in done.unchecked)]
    if options.claims is not None:
        checked = check_claims(options.claims)
        found += checked.findings
        summaries.append(checked.summary)
        lines += [*checked.findings, checked.summary]
    if options.json:
        more = {"notes": notes, "summaries": summaries, "unchecked": unchecked}
        return _json_findings("verify", folder, found, more)
    console = make_console()
    for line in lines:
        console.print(line, soft_wrap=True)
    if folder is not None:
        _print_next(folder, "verify", "completed")
    return FAILED if found else OK


def _reproduce(options: argparse.Namespace) -> int:
    folder = study_of(options)
    state_of(folder)
    from karat.verification.training_again import reproduce  # imports torch

    console = make_console(stderr=options.json)

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True)

    done = reproduce(folder, options.trial, tell)
    if options.json:
        print_json("reproduce", _reproduced(folder, done))
    else:
        tell(done.summary)
        say(next_lines(folder, "show {}"))
    return OK if done.is_equal else FAILED


def _reproduced(folder: Path, done: "Reproduced") -> dict[str, object]:
    return {
        "folder": str(folder),
        "trial": done.trial,
        "ok": done.is_equal,
        "summary": done.summary,
        "epochs": done.epochs,
        "metrics": done.metrics,
        "images": done.images,
        "first": done.first or None,
        "last": done.last or None,
        "elsewhere": done.elsewhere,
    }


def _replay(options: argparse.Namespace) -> int:
    from karat.journal.journal import read_events
    from karat.journal.layout import JOURNAL
    from karat.planning.replay import replay
    from karat.study.description import original_space

    folder = study_of(options)
    path = folder / JOURNAL
    state = state_of(folder)
    if not state.original:
        raise InputError(f"{path}: the study has not begun; there is nothing to replay")
    events = list(read_events(path))
    space = original_space(state, folder)
    found = [str(each) for each in replay(space, events)]
    if options.json:
        return _json_findings("replay", folder, found, {"events": len(events)})
    status = _print_findings(found, f"{len(events)} events: every decision is the same again")
    _print_next(folder, "replay", state.status)
    return status


def _repair(options: argparse.Namespace) -> int:
    from karat.journal.journal import repair
    from karat.journal.layout import JOURNAL
    from karat.study.folder import refuse_symlinks

    folder = study_of(options)
    refuse_symlinks(folder)
    path = folder / JOURNAL
    done = repair(folder)
    if options.json:
        left, copy = (None, None) if done is None else (done[0], str(done[1]))
        print_json("repair", {"folder": str(folder), "events": left, "copy": copy})
        return OK
    message = f"{path}: no line is damaged; nothing was changed"
    if done is not None:
        message = (
            f"{path}: kept the first {done[0]} events; the damaged file is now {done[1]}. "
            "The command that launched the study resumes from there"
        )
    make_console().print(message, soft_wrap=True)
    say(next_lines(folder, "show {}"))
    return OK


def _print_next(folder: Path, command: str, status: str) -> None:
    say(next_lines(folder, *after(command, activity_of(folder, status))))


def _json_findings(
    command: str, folder: Path | None, found: Iterable[object], more: Mapping[str, object]
) -> int:
    """Print what a check has found as a document; returns status 1 if it is anything."""
    findings = list(map(str, found))
    shown = None if folder is None else str(folder)
    print_json(command, {"folder": shown, "ok": not findings, "findings": findings, **more})
    return FAILED if findings else OK


def _print_findings(found: Sequence[str], otherwise: str) -> int:
    """Print the findings and return status 1; without any, print `otherwise` and return 0."""

    console = make_console()
    for line in found or [otherwise]:
        console.print(line, soft_wrap=True)
    return FAILED if found else OK


SYNC = Command(_add_sync, _sync)
AUDIT = Command(_add_audit, _audit)
VERIFY = Command(_add_verify, _verify)
REPRODUCE = Command(_add_reproduce, _reproduce)
REPLAY = Command(_add_with_json, _replay)
REPAIR = Command(_add_with_json, _repair)
