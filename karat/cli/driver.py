"""One launch of a study: create or resume it, run it, write the report, shut down gracefully."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from karat.cli.exit_status import FAILED, INTERRUPTED, OK
from karat.cli.progress import STOPPING, SYNCING, WRITING, Progress
from karat.cli.text.contents import tell_contents
from karat.cli.text.next_steps import after, next_lines
from karat.cli.text.stopping import stopping_notes
from karat.cli.text.training import training_notes
from karat.cli.web.mlflow_pages import where_runs_are
from karat.errors import InputError
from karat.execution.engine import Engine
from karat.execution.placement import place
from karat.execution.preload import PRELOAD
from karat.execution.ray_trouble import leave
from karat.forecast.capacity import slots_of
from karat.forecast.plan import arm_plans, spread_of_plans
from karat.forecast.sight import sight_lines
from karat.forecast.speed.times import Times
from karat.forecast.time_left import Expected
from karat.journal.journal import Event, Journal
from karat.journal.layout import REPORT_HTML
from karat.journal.state import StudyState
from karat.journal.wording import warm_start_text
from karat.planning.data_place import data_place, space_at
from karat.planning.extension import extended_source, larger_space, merged
from karat.report.formatting import interrupted_text, way_on
from karat.report.writer import render_terminal, summarise, write_report
from karat.space.arms import trial_config
from karat.space.rates import Terms
from karat.space.reader import space_of
from karat.space.space import Space
from karat.study.description import changed_recipes, data_sets_of, description, original_space
from karat.study.folder import put_aside, refuse_symlinks
from karat.study.initial.weights import starts_of
from karat.study.limits import limit_lines, never_trained
from karat.study.listeners import Listener
from karat.study.study import Study
from karat.study.warm_start import warm_start_of
from karat.system.environment import describe_environment
from karat.system.lazy_import import load
from karat.system.process.signals import Interruption
from karat.terminal import lost_output
from karat.tracking.supervisor import Supervisor

_INSTEAD = "choose another --name, or rename the older study with --fresh"


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
    """Run a study to its end or until a signal, and return the exit status.

    Args:
        space: the validated search space.
        storage: the folder of all studies.
        fresh: rename an older study of this name and start a new one.
        extend: values of `--extend`.
        command: the command that the user typed; shown as the command that resumes the study.
        console: the terminal.
        interruption: its signal handlers are installed already.
        address: address of a running Ray to join; None starts Ray on this machine.

    Raises:
        InputError: the study on disk has another search space, its data or a recipe has changed, or
            its folder contains a symbolic link.
        StudyLockedError: another process runs this study.
    """
    folder = storage.resolve() / space.name
    refuse_symlinks(folder)
    contents = trial_config(space, next(iter(space.arms.values()))).data.contents()
    fingerprint = contents.fingerprint
    tell_contents(contents, console)
    sets = data_sets_of(space)
    starts = starts_of(space, folder, storage, fresh=fresh)
    space = starts.space
    for line in starts.lines():
        console.print(line, soft_wrap=True)
    for line in limit_lines(never_trained(space)):
        console.print(line, soft_wrap=True)
    warm_start = warm_start_of(space, folder, storage, fingerprint, fresh=fresh)
    if warm_start is not None:
        console.print(warm_start_text(warm_start, list(space.arms)), soft_wrap=True)
    if fresh:
        put_aside(folder, console)
    with Journal.open(folder) as journal:
        known = StudyState.of(journal.past)
        if not known.created:
            if extend:
                raise InputError(f"--extend: there is no study in {folder} yet; launch it first")
            study = Study(space, journal, folder)
            starts.keep(folder)
            study.data_place = data_place(space)
            study.record(
                "study_created",
                **description(
                    space,
                    fingerprint,
                    starts.plain(),
                    contents=contents.plain(),
                    warm_start=warm_start,
                    sets=sets,
                ),
            )
        else:
            if known.created["data"]["fingerprint"] != fingerprint:
                raise InputError(
                    f"{folder}: the data has changed since this study began; {_INSTEAD}"
                )
            _refuse_other_sets(known, sets, folder)
            original = original_space(known, folder)
            if known.status not in ("completed", "failed"):
                _refuse_other_recipes(known, original, folder)
            study = Study(original, journal, folder)
            starts.keep(folder)
            study.data_place = data_place(space)
            _take_changes(study, space, extend, console)
            if study.finished and known.status in ("completed", "failed"):
                console.print(
                    f"{folder}: this study is finished; --fresh runs it again, --extend continues it.\n",
                    soft_wrap=True,
                )
                return _show_end(study.state, folder, console)
        return _run(study, space.terms, command, console, interruption, address)


def _take_changes(study: Study, asked: Space, extend: Sequence[str], console: Console) -> None:
    """Extend the study by what the space file or `--extend` adds to the journal's search space.

    Repeating the last `--extend` resumes an unfinished study; it does not extend the study twice.

    Raises:
        InputError: the change does more than enlarge the search space.
    """
    state = study.state
    source = merged(state.asked, state.created["space"], asked.source)
    last = state.extensions[-1].extend if state.extensions else ()
    if extend and (study.finished or last != tuple(extend)):
        stopping = study.space.early_stopping
        known = space_of(source, asked.name, str(study.folder), stopping)
        source = extended_source(known, extend)
    larger, changes = larger_space(study.space, source, str(study.folder))
    if not changes or (study.finished and not any(change.asks_more for change in changes)):
        return
    _refuse_other_recipes(state, larger, study.folder)
    data, weights = state.created["data"], state.created.get("weights", ())
    described = description(
        space_at(larger, study.data_place),
        data["fingerprint"],
        weights,
        contents=data.get("contents"),
        sets=data.get("sets", ()),
    )
    del described["uid"]
    described["totals"] = study.decisions.totals_of(larger)
    study.extend(larger, described, extend=extend, asked=asked.source)
    shown = "; ".join(map(str, changes))
    console.print(f"extended: {shown}", soft_wrap=True)


def _refuse_other_sets(known: StudyState, sets: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Refuse to go on where one of several data sets has changed; journals of older versions do not name them.

    Raises:
        InputError: names the data set.
    """
    now = {json.dumps(each["settings"], sort_keys=True): each["fingerprint"] for each in sets}
    for each in known.created["data"].get("sets", ()):
        found = now.get(json.dumps(each["settings"], sort_keys=True), each["fingerprint"])
        if found != each["fingerprint"]:
            name = each["settings"].get("name", "")
            raise InputError(
                f"{folder}: the data set {name} has changed since this study began; {_INSTEAD}"
            )


def _refuse_other_recipes(known: StudyState, space: Space, folder: Path) -> None:
    """Refuse to train further trials by another recipe than those before.

    Raises:
        InputError: names recipe, setting, and both values.
    """
    if changed := changed_recipes(known, space):
        raise InputError(f"{folder}: {'; '.join(changed)}; {_INSTEAD}")


def _run(
    study: Study,
    terms: Terms,
    command: str,
    console: Console,
    interruption: Interruption,
    address: str | None,
) -> int:
    console.print(f"{study.space.question}\n{study.folder}")
    space = study.space
    notes = (*stopping_notes(space), *training_notes(space))
    for line in (*sight_lines(space, study.state), *notes):
        console.print(line, soft_wrap=True)
    study.listeners.append(_note_lost_output(study))
    with _progress(study, console, address) as progress, _mlflow(study, console):
        # A driver that was killed after its last trial has nothing left to run: do not start Ray.
        if not study.finished and interruption.signal is None and study.spent() is None:
            _run_segments(study, terms, command, interruption, progress, address)
        if not study.finished:
            study.on_interrupted(interruption.signal)
        progress.stage(WRITING)
        write_report(study.folder, study.state)
        if study.space.tracking.follow:
            progress.stage(SYNCING)
    if study.finished:
        return _show_end(study.state, study.folder, console)
    ended = sum(trial.ended for trial in study.state.trials.values())
    why = (study.state.cause, study.state.details)
    way = way_on(*why)
    console.print(
        f"\n{interrupted_text(*why)}; nothing is lost: {ended} of "
        f"{sum(study.decisions.total_trials.values())} trials are done.\n{way[0].upper()}{way[1:]}:"
        f"\n    {command}",
        soft_wrap=True,
    )
    return INTERRUPTED


def _run_segments(
    study: Study,
    terms: Terms,
    command: str,
    interruption: Interruption,
    progress: Progress,
    address: str | None,
) -> None:
    console = progress.console
    if study.state.trials:
        load("torch")  # which will read their checkpoints; now, before there are other threads
    resources = place(study, console, lambda: interruption.signal is not None)
    progress.stage("starting Ray" if address is None else f"joining Ray at {address}")
    with Engine(resources, address=address, most_slots=_most_slots()) as engine:
        # Imports Ray, which is closed to others only now.
        from karat.execution.trainable import Slot

        interruption.stop = engine.stop
        engine.on_trouble = lambda details: leave(
            study,
            details,
            command=command,
            console=console,
            scratch=engine.folder,
            may_restart=address is None and interruption.signal is None,
            status=INTERRUPTED,
        )
        study.record(
            "launched",
            slots=engine.slots,
            environment=describe_environment(),
            terms=dataclasses.asdict(terms),
            **({"data_place": study.data_place} if study.data_place else {}),
        )
        progress.slots = engine.slots
        progress.stage(f"starting {engine.slots} worker{'s' * (engine.slots != 1)}")
        if interruption.signal is None:
            engine.run(study, Slot)
        progress.stage(STOPPING)


def _progress(study: Study, console: Console, address: str | None) -> Progress:
    """What the launch shows of itself, with the seconds that the plan expects of each arm."""
    space, storage = space_at(study.space, study.data_place), study.folder.parent
    times = Times(space.resources, storage, PRELOAD)
    models = (trial_config(space, arm).model for arm in space.arms.values())
    # Another model loads timm, which takes seconds: then the first epochs tell.
    plans = arm_plans(space, times) if all(model.is_plain for model in models) else {}
    expected = Expected(
        epoch_s={label: plan.epoch_s for label, plan in plans.items()},
        factor=spread_of_plans(plans, times).factor,
        epochs=max((plan.epochs for plan in plans.values()), default=0),
        start_s=times.start_s,
        end_s=times.end_s,
    )
    slots = slots_of(space.resources) if address is None else 1
    return Progress(study, slots, console, expected)


def _mlflow(study: Study, console: Console) -> AbstractContextManager[None]:
    """Keep MLflow up to date within the block, unless the space says otherwise."""
    if not study.space.tracking.follow:
        console.print(
            f"MLflow is not written (tracking.follow: false); `python -m karat sync {study.folder}` does it",
            soft_wrap=True,
        )
        return contextlib.nullcontext()
    supervisor = Supervisor(study.folder, console)
    study.listeners.append(supervisor.on_event)
    return supervisor


def _note_lost_output(study: Study) -> Listener:
    """A listener that writes into the journal, once for each stream, that output is lost."""
    noted: set[str] = set()

    def note(event: Event, state: StudyState) -> None:
        for stream, reason in lost_output().items():
            if stream not in noted and not study.finished:
                noted.add(stream)
                study.record("output_lost", stream=stream, reason=reason)

    return note


def _most_slots() -> int:
    """Trials at a time once an autoscaling cluster has grown, from its job; 0 if it does not grow.

    Raises:
        InputError: `KARAT_MOST_SLOTS` is not a number.
    """
    given = os.environ.get("KARAT_MOST_SLOTS", "0")
    if not given.isdecimal():
        raise InputError(f"KARAT_MOST_SLOTS = {given!r}: must be a whole number of trials")
    return int(given)


def _show_end(state: StudyState, folder: Path, console: Console) -> int:
    render_terminal(summarise(state), console)
    console.print(f"\nreport: {folder / REPORT_HTML}", soft_wrap=True)
    if page := where_runs_are(folder, state):
        console.print(f"runs in MLflow: {page}", soft_wrap=True)
    console.print("\n".join(next_lines(folder, *after("launch", state.status))), soft_wrap=True)
    return OK if state.status == "completed" else FAILED
