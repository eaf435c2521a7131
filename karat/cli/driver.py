"""A launch from its first line to its last: create or resume, run, report, leave in good order."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from karat.cli.progress import Progress
from karat.errors import InputError
from karat.execution.engine import Engine
from karat.execution.placement import place
from karat.journal.journal import Journal
from karat.journal.layout import REPORT_HTML
from karat.journal.state import StudyState
from karat.planning.extension import extended_source, larger_space, merged
from karat.report.formatting import interrupted_text, way_on
from karat.report.writer import render_terminal, summarise, write_report
from karat.space.arms import trial_config
from karat.space.rates import Terms
from karat.space.reader import space_of
from karat.space.space import Space
from karat.study.description import description, original_space
from karat.study.folder import put_aside, refuse_symlinks
from karat.study.study import Study
from karat.system.environment import describe_environment
from karat.system.signals import Interruption
from karat.tracking.supervisor import Dashboard

COMPLETE, FAILED, INTERRUPTED = 0, 1, 75
WAY_OUT = "choose another --name, or put the older study aside with --fresh"


def drive(
    space: Space,
    storage: Path,
    *,
    fresh: bool,
    extend: Sequence[str] = (),
    command: str,
    console: Console,
    interruption: Interruption,
    address: str | None = None,
) -> int:
    """Run a study to its end, or until a signal; returns the exit status.

    Args:
        space: the checked question.
        storage: the folder of all studies.
        fresh: put an older study of this name aside.
        extend: what `--extend` says.
        command: what the user typed, to be shown as the way to go on.
        console: the terminal.
        interruption: installed already.
        address: of a running Ray, which the study joins; None starts one on this machine.

    Raises:
        InputError: the study on disk asks another question, the data has changed, or something
            there is a link.
        StudyLockedError: another process runs this study.
    """
    folder = storage.resolve() / space.name
    refuse_symlinks(folder)
    fingerprint = trial_config(space, next(iter(space.arms.values()))).data.check()
    if fresh:
        put_aside(folder, console)
    with Journal.open(folder) as journal:
        known = StudyState.of(journal.past)
        if not known.created:
            if extend:
                raise InputError(f"--extend: there is no study in {folder} yet; launch it first")
            study = Study(space, journal, folder)
            study.record("study_created", **description(space, fingerprint))
        else:
            if known.created["data"]["fingerprint"] != fingerprint:
                raise InputError(
                    f"{folder}: the data has changed since this study began; {WAY_OUT}"
                )
            study = Study(original_space(known, folder), journal, folder)
            _take_changes(study, space, extend, console)
            if study.finished and known.status in ("completed", "failed"):
                console.print(
                    f"{folder}: this study is finished; --fresh runs it anew, --extend goes on.\n",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
                return _show_end(study.state, folder, console)
        return _run(study, space.terms, command, console, interruption, address)


def _take_changes(study: Study, asked: Space, extend: Sequence[str], console: Console) -> None:
    """Put what the space file or `--extend` asks for beyond the journal into it.

    The same `--extend` again goes on with a study that it has extended, and that is not finished.

    Raises:
        InputError: it is not only larger.
    """
    state = study.state
    source = merged(state.asked, state.created["space"], asked.source)
    last = state.extensions[-1].extend if state.extensions else ()
    if extend and (study.finished or last != tuple(extend)):
        source = extended_source(space_of(source, asked.name, str(study.folder)), extend)
    larger, changes = larger_space(study.space, source, str(study.folder))
    if not changes or (study.finished and not any(change.asks_more for change in changes)):
        return
    described = description(larger, state.created["data"]["fingerprint"])
    del described["uid"]
    described["totals"] = study.decisions.totals_of(larger)
    study.extend(larger, described, extend=extend, asked=asked.source)
    shown = "; ".join(map(str, changes))
    console.print(f"extended: {shown}", markup=False, highlight=False, soft_wrap=True)


def _run(
    study: Study,
    terms: Terms,
    command: str,
    console: Console,
    interruption: Interruption,
    address: str | None,
) -> int:
    console.print(f"{study.space.question}\n{study.folder}", markup=False, highlight=False)
    dashboard = Dashboard(study.folder, console)
    study.listeners.append(dashboard.on_event)
    with dashboard:
        # A driver killed at its last step had nothing left to run.
        if not study.finished and interruption.signal is None and study.spent() is None:
            _run_segments(study, terms, interruption, console, address)
        if not study.finished:
            study.on_interrupted(interruption.signal)
        write_report(study.folder, study.state)
    if study.finished:
        return _show_end(study.state, study.folder, console)
    ended = sum(trial.ended for trial in study.state.trials.values())
    why = (study.state.cause, study.state.details)
    way = way_on(*why)
    console.print(
        f"\n{interrupted_text(*why)}; nothing is lost: {ended} of "
        f"{sum(study.decisions.total_trials.values())} trials are done.\n{way[0].upper()}{way[1:]}:"
        f"\n    {command}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return INTERRUPTED


def _run_segments(
    study: Study,
    terms: Terms,
    interruption: Interruption,
    console: Console,
    address: str | None,
) -> None:
    resources = place(study, console, lambda: interruption.signal is not None)
    with Engine(resources, address=address, most_slots=_most_slots()) as engine:
        interruption.stop = engine.stop
        study.record(
            "launched",
            slots=engine.slots,
            environment=describe_environment(),
            terms=dataclasses.asdict(terms),
        )
        with Progress(study, engine.slots, console):
            if interruption.signal is None:
                engine.run(study)


def _most_slots() -> int:
    """Trials at a time that the cluster may come to, as the job that started it says; 0 if it does not.

    Raises:
        InputError: it is no number.
    """
    given = os.environ.get("KARAT_MOST_SLOTS", "0")
    if not given.isdecimal():
        raise InputError(f"KARAT_MOST_SLOTS = {given!r}: must be a whole number of trials")
    return int(given)


def _show_end(state: StudyState, folder: Path, console: Console) -> int:
    render_terminal(summarise(state), console)
    console.print(
        f"\nreport: {folder / REPORT_HTML}", markup=False, highlight=False, soft_wrap=True
    )
    return COMPLETE if state.status == "completed" else FAILED
