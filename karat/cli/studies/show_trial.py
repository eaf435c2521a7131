"""`karat show STUDY TRIAL`: one trial with its settings, epochs, segments, end and files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from karat.cli.exit_status import OK
from karat.cli.studies.best import checkpoint_of, checkpoint_text
from karat.cli.studies.json_output import print_json
from karat.cli.studies.named import activity_of
from karat.cli.studies.watching.decisions import why_ended
from karat.cli.text.layout import duration, pairs, say, table
from karat.cli.text.next_steps import after, next_lines
from karat.errors import InputError
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.wording import computed_text
from karat.parameters import plain
from karat.settings import flat
from karat.training.watching.config import HEALTH_METRICS

_FULL = 24  # epochs that are all shown; of more, the first, the last and some between
_PHASES = {"search": "search", "shortlist": "shortlist", "confirm": "confirmation"}


def show_trial(folder: Path, number: int, *, mlflow: bool, is_json: bool) -> int:
    """Print one trial.

    Raises:
        InputError: there is no such trial.
        JournalError: the journal cannot be read.
        TrackingError: MLflow was asked, and does not answer.
    """
    state, segments = _read(folder, number)
    trial = trial_in(state, number, folder)
    run = _run_in_mlflow(folder, state, trial) if mlflow else None
    if is_json:
        print_json("trial", _json(folder, state, trial, segments, run))
        return OK
    say(pairs(_facts(folder, state, trial, run)))
    say(["", "settings", *pairs(_settings_lines(trial, state), "  ")])
    if len(segments) > 1 or any(each["cause"] for each in segments):
        say(["", "segments", *table(_segment_rows(segments))])
    if trial.reports:
        names = list(dict.fromkeys(name for each in trial.reports for name in each.metrics))
        of_attention = [name for name in names if name in HEALTH_METRICS]
        others = [name for name in names if name not in of_attention]
        say(["", *table(_epoch_rows(trial, others, "seconds"), right=range(len(others) + 2))])
        if of_attention:
            rows = _epoch_rows(trial, of_attention)
            say(["", "attention", *table(rows, right=range(len(of_attention) + 1))])
    say(next_lines(folder, *after("show-trial", activity_of(folder, state.status))))
    return OK


def trial_in(state: StudyState, number: int, folder: Path) -> Trial:
    """The trial with this number.

    Raises:
        InputError: there is none.
    """
    if number in state.trials:
        return state.trials[number]
    known = f"it has 0 to {len(state.trials) - 1}" if state.trials else "it has none yet"
    raise InputError(f"{folder}: there is no trial {number}; {known}")


def resolved(trial: Trial, state: StudyState) -> dict[str, Any]:
    """All settings of a trial, full name to value, with those that it leaves to its recipe."""
    from karat.training.recipes import DEFAULT, with_recipe

    training = trial.config.get("training", {})
    recipes: Mapping[str, Any] = state.created.get("recipes", {})
    left = recipes.get(training.get("recipe", DEFAULT), {})
    chosen = {name: plain(level) for name, level in trial.factors.items()} | dict(trial.tuned)
    return flat({**trial.config, "training": {**training, **with_recipe(training, left)}}) | chosen


def _read(folder: Path, number: int) -> tuple[StudyState, list[dict[str, Any]]]:
    """The state of the study, and the segments of one trial in order."""
    state, segments = StudyState(), list[dict[str, Any]]()
    for event in read_events(folder / JOURNAL):
        state.apply(event)
        if event.data.get("trial") == number:
            _take(segments, event)
    return state, segments


def _take(segments: list[dict[str, Any]], event: Event) -> None:
    """Begin a segment, or add what an event says of the last one."""
    data = event.data
    if event.kind == "segment_started":
        segments.append(
            {
                "from_epoch": data["from_epoch"],
                "to_epoch": data["from_epoch"],
                "began": event.time,
                "ended": None,
                "cause": None,
                "details": {},
                "passed_over": data.get("passed_over", []),
            }
        )
    elif not segments:
        return
    elif event.kind == "reported":
        segments[-1]["to_epoch"] = data["epoch"]
    elif event.kind == "segment_ended":
        segments[-1] |= {
            "ended": event.time,
            "cause": data["cause"],
            "details": data.get("details", {}),
        }
    elif event.kind == "trial_ended":
        segments[-1]["ended"] = segments[-1]["ended"] or event.time


def _facts(
    folder: Path, state: StudyState, trial: Trial, run: Mapping[str, Any] | None
) -> Iterable[tuple[str, str]]:
    from karat.report.formatting import memory_text, moment_text
    from karat.tracking.trial_run import run_name

    length = f", {trial.budget} times the epochs" if trial.budget > 1 else ""
    yield "trial", f"{trial.number} of {state.created['name']}"
    yield "phase", f"{_PHASES[trial.phase]}, seed {trial.seed_index} ({trial.seed}){length}"
    yield "arm", trial.arm
    yield "status", _status(trial, state)
    if trial.set_aside:
        yield "", "set aside: an extension of the study made it invalid"
    yield from _values(trial, state)
    begun = moment_text(trial.asked_at)
    ended = "" if trial.ended_at is None else f", ended {moment_text(trial.ended_at)}"
    yield "time", f"asked for {begun}{ended}; {duration(trial.seconds)} of training"
    if trial.peak_bytes is not None:
        yield "memory", f"{memory_text(trial.peak_bytes)} at most in its process"
    if trial.kernels:
        yield "kernels", ", ".join(trial.kernels)
    if trial.computed:
        backend = trial.computed.get("softmax")
        softmax = f"; softmax attention by torch's backend {backend}" if backend else ""
        yield "computed", f"{computed_text(trial.computed)}{softmax}"
    yield "checkpoint", checkpoint_text(folder, trial)
    yield "MLflow", _mlflow_text(state, run_name(trial), run)


def _status(trial: Trial, state: StudyState) -> str:
    done = trial.reports[-1].epoch if trial.reports else 0
    epochs = f"{done} of {trial.epochs} epochs"
    return f"{why_ended(trial, state) or trial.status}; {epochs}"


def _values(trial: Trial, state: StudyState) -> Iterable[tuple[str, str]]:
    from karat.report.formatting import Units

    metric = metric_of(state.created)
    units = Units(metric)
    for name, value in (
        (metric.name, trial.of_kept_weights(metric.name)),
        (metric.test, trial.last(metric.test)),
    ):
        if value is not None:
            yield name, f"{units.number(value)}{units.unit}"


def _mlflow_text(state: StudyState, name: str, run: Mapping[str, Any] | None) -> str:
    if run is None:
        return f"experiment {state.created['name']}, run {name!r} (--mlflow asks for its id)"
    if run["id"] is None:
        return "has no run of it"
    return f"run {run['id']} ({run['status']})"


def _settings_lines(trial: Trial, state: StudyState) -> Iterable[tuple[str, str]]:
    from karat.report.formatting import text_of

    written, tuned = flat(trial.config), trial.tuned
    for name, value in resolved(trial, state).items():
        is_own = name in written or name in trial.factors
        origin = "" if is_own else "  (of the recipe)"
        origin = "  (tuned)" if name in tuned else origin
        origin = "  (factor)" if name in trial.factors else origin
        yield name, f"{text_of(value)}{origin}"


def _segment_rows(segments: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    from karat.report.formatting import moment_text

    rows: list[tuple[str, ...]] = [("segment", "began", "epochs", "why it ended")]
    for number, each in enumerate(segments):
        why = _segment_text(each)
        if each["passed_over"]:
            why += f"; it could not begin at a later checkpoint: {each['passed_over'][0]}"
        epochs = f"{each['from_epoch']} to {each['to_epoch']}"
        rows.append((str(number), moment_text(each["began"]), epochs, why))
    return rows


def _segment_text(segment: Mapping[str, Any]) -> str:
    from karat.causes import SegmentEnd
    from karat.journal.wording import failure_text

    cause, details = segment["cause"], segment["details"]
    if cause is None:
        return "with its trial" if segment["ended"] else "not ended"
    if cause in (SegmentEnd.LOST, SegmentEnd.MEMORY, SegmentEnd.CHECKPOINT):
        return f"{failure_text(cause, details)}; tried again"
    if cause == SegmentEnd.HELD:
        return "held until early stopping has seen other trials"
    if cause == SegmentEnd.PAUSED:
        return "paused, since the launch ended"
    return "the launch ended" if cause == SegmentEnd.INTERRUPTED else "the driver was killed"


def _epoch_rows(trial: Trial, names: Sequence[str], *more: str) -> list[tuple[str, ...]]:
    """A row for each epoch; of a long trial the first, the last, and evenly spaced ones between.

    Args:
        trial: with reports.
        names: metrics that it shows.
        more: "seconds" for those of the epoch.
    """
    from karat.report.formatting import text_of

    last = len(trial.reports) - 1
    places: Sequence[int] = range(last + 1)
    if last >= _FULL:
        places = sorted({round(last * place / (_FULL - 1)) for place in range(_FULL)})
    heads = (name.removeprefix("health_") for name in names)
    rows: list[tuple[str, ...]] = [("epoch", *heads, *more)]
    for place in places:
        report = trial.reports[place]
        cells = [text_of(report.metrics[n]) if n in report.metrics else "" for n in names]
        seconds = (f"{report.seconds:.2f}",) if more else ()
        rows.append((str(report.epoch), *cells, *seconds))
    return rows


def _run_in_mlflow(folder: Path, state: StudyState, trial: Trial) -> dict[str, Any]:
    """Id, status and address of the trial's run; the id is None if MLflow has none."""
    from karat.tracking.run_ids import run_of_trial

    return run_of_trial(folder, state, trial)


def _json(
    folder: Path,
    state: StudyState,
    trial: Trial,
    segments: list[dict[str, Any]],
    run: Mapping[str, Any] | None,
) -> dict[str, Any]:
    from karat.report.document import moment
    from karat.tracking.trial_run import run_name

    metric = metric_of(state.created)
    checkpoint = checkpoint_of(folder, trial)
    return {
        "study": state.created["name"],
        "trial": trial.number,
        "phase": trial.phase,
        "arm": trial.arm,
        "seed": trial.seed,
        "seed_index": trial.seed_index,
        "budget": trial.budget,
        "status": trial.status,
        "cause": trial.cause or None,
        "reason": why_ended(trial, state) or None,
        "set_aside": trial.set_aside,
        "metric": metric.name,
        "validation": trial.of_kept_weights(metric.name),
        "test": trial.last(metric.test),
        "factors": {name: plain(level) for name, level in trial.factors.items()},
        "tuned": dict(trial.tuned),
        "settings": resolved(trial, state),
        "epochs_planned": trial.epochs,
        "epochs": [
            {"epoch": each.epoch, "seconds": each.seconds, "metrics": dict(each.metrics)}
            for each in trial.reports
        ],
        "segments": [
            {**each, "began": moment(each["began"]), "ended": moment(each["ended"])}
            for each in segments
        ],
        "seconds": trial.seconds,
        "peak_bytes": trial.peak_bytes,
        "kernels": list(trial.kernels or ()),
        "computed": None if trial.computed is None else dict(trial.computed),
        "asked_at": moment(trial.asked_at),
        "ended_at": moment(trial.ended_at),
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "mlflow_run_name": run_name(trial),
        "mlflow_run": None if run is None else dict(run),
    }
