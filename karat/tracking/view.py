"""What one study looks like in MLflow, and how to bring it there from the journal.

One experiment per study name, one run per study, one run below it per trial. Whatever is
written follows from the journal alone: runs are found again by their tags (`karat.tracking.runs`),
a metric's time is the event's, and the tag `karat.status` is written last, so that a run which
bears the status of an ended trial is whole.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from karat.journal.journal import Event, Follower
from karat.journal.layout import REPORT_HTML, REPORT_MARKDOWN, mlflow_files, trial_folder
from karat.journal.reports import Reports
from karat.journal.state import StudyState, Trial
from karat.journal.wording import DRIVER_GONE_TEXT, study_text, trial_text
from karat.space.settings import DeletedRuns, TrackingConfig
from karat.tracking.client import TrackingError, is_database, open_client
from karat.tracking.runs import (
    FINGERPRINT_TAG,
    KERNELS_PARAM,
    PARENT_TAG,
    STATUS_TAG,
    STUDY,
    TRIAL_TAG,
    UID_TAG,
    Found,
    Known,
    find_runs,
    kernels_text,
)

_PARAM_LENGTH, _TAG_LENGTH = 6000, 5000
_RUN_STATUS = {
    "completed": "FINISHED",
    "stopped early": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_COUNT_OF = {phase: f"{phase}_trials_ended" for phase in ("search", "confirm")}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Point:
    """Metrics at one step, and when they were reported (seconds since the epoch)."""

    time: float
    step: int
    metrics: Mapping[str, float]


class Record:
    """A journal as the view needs it: the state, and every point of every curve.

    The points are not the state's: a segment that starts again from an earlier checkpoint takes
    reports out of the state, but MLflow keeps what it was told. All are kept, since a view that
    failed starts over. A journal that is not the one read so far gives a new `state`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._follower = Follower(self.path)
        self.state = StudyState()
        self._reports: dict[int, Reports] = defaultdict(Reports)
        self.study_points: list[Point] = []
        self.time = 0.0

    def read(self) -> None:
        """Take in what the journal says since the last call."""
        if self._follower.is_replaced():
            log.warning("%s: is another journal than before, and is read anew", self.path)
            self._begin()
        for event in self._follower.read():
            self.state.apply(event)
            self.time = event.time
            if event.kind == "reported":
                data = event.data
                reports = self._reports[data["trial"]]
                reports.add(data["epoch"], data["metrics"], data["seconds"], event.time)
            elif event.kind == "trial_ended":
                self._count(event)

    def count(self, trial: int) -> int:
        """How many points a trial has."""
        return len(self._reports[trial])

    def points(self, trial: int, start: int) -> list[Point]:
        """A trial's points from the one numbered `start` on."""
        return [
            Point(report.time, report.epoch, {**report.metrics, "epoch_seconds": report.seconds})
            for report in self._reports[trial][start:]
        ]

    def _count(self, event: Event) -> None:
        state, metric = self.state, self.state.created["metric"]
        phase = state.trials[event.data["trial"]].phase
        ended = [trial for trial in state.of_phase(phase) if trial.ended]
        metrics = {_COUNT_OF[phase]: float(len(ended))}
        values = [v for t in ended if t.status != "failed" and (v := t.last(metric)) is not None]
        if values:
            best = max(values) if state.created["mode"] == "max" else min(values)
            metrics[f"{phase}_best_{metric}"] = best
        self.study_points.append(Point(event.time, len(ended), metrics))


class View:
    """The MLflow side of one study; an object's knowledge ends with the first failure.

    Every method raises whatever a server's answer leads to in MLflow's client.

    Args:
        folder: the study's.
        uri: MLflow's address.
        deleted_runs: `recreate` or `leave`, in place of what the space says.
    """

    def __init__(self, folder: Path, uri: str, deleted_runs: DeletedRuns | None = None) -> None:
        self.folder, self.uri = folder, uri
        self.client = open_client(uri)
        self.experiment = ""
        self._deleted_runs = deleted_runs
        self._left_alone = False  # the whole experiment was deleted
        self._runs: dict[int, Known] | None = None
        self._state: StudyState | None = None  # another one after the journal was replaced

    def find_experiment(self, record: Record) -> None:
        """Ask MLflow for the study's experiment, once; it is made or restored where it is missing."""
        state = record.state
        if not state.created or self.experiment:
            return
        name = state.created["name"]
        found = self.client.get_experiment_by_name(name)
        if found is None:
            self.experiment = self._create_experiment(name)
            return
        if found.lifecycle_stage == "deleted":
            self._left_alone = self._leaves_deleted(state)
            if not self._left_alone:
                log.warning("the MLflow experiment %s had been deleted; it is restored", name)
                self.client.restore_experiment(found.experiment_id)
        self.experiment = _real(found.experiment_id)

    def update(self, record: Record, *, alive: bool) -> None:
        """Write what the journal says and MLflow does not; close the study if its driver is gone."""
        state = record.state
        if not self.experiment or self._left_alone:
            return
        if self._runs is None or state is not self._state:
            self._runs, self._state = self._find_runs(state), state
        runs = self._runs
        study = runs.get(STUDY) or self._create_study(state)
        runs[STUDY] = study
        over = not alive or state.status != "running"
        for trial in state.trials.values():
            self._update_trial(trial, study, record, over)
        if not study.deleted:
            self._update_study(study, record, alive)

    def check(self, record: Record) -> None:
        """See that MLflow shows what it was told, and nothing twice.

        Raises:
            TrackingError: it does not: whoever answered did not keep it, or a request that was
                given up was answered after all.
        """
        if self._runs is None:
            return
        found = self._look_up(record.state)
        there = {number: (known.id, known.status) for number, known in found.runs.items()}
        wanted = {number: (known.id, known.status) for number, known in self._runs.items()}
        if found.surplus or there != wanted:
            raise TrackingError("MLflow does not show what it was told")

    def _leaves_deleted(self, state: StudyState) -> bool:
        return deleted_runs_of(state, self._deleted_runs) == "leave"

    def _create_experiment(self, name: str) -> str:
        # A server knows its own place; of a database MLflow would use the working directory.
        place = mlflow_files(self.folder.absolute().with_name(name)).as_uri()
        return _real(
            self.client.create_experiment(
                name,
                artifact_location=place if is_database(self.uri) else None,
                tags={"mlflow.experimentKind": "custom_model_development"},  # or the interface asks
            )
        )

    def _look_up(self, state: StudyState) -> Found:
        leave = self._leaves_deleted(state)
        return find_runs(self.client, self.experiment, state, leave_deleted=leave)

    def _find_runs(self, state: StudyState) -> dict[int, Known]:
        found = self._look_up(state)
        for surplus in found.surplus:
            log.warning(
                "the MLflow run %s is deleted: its trial has another one, or is another one in the "
                "journal",
                surplus,
            )
            self.client.delete_run(surplus)
        return found.runs

    def _create_study(self, state: StudyState) -> Known:
        created = state.created
        tags = {
            "karat.kind": "study",
            UID_TAG: created["uid"],
            "karat.space_hash": created["space_hash"],
            "mlflow.note.content": created["question"],
        }
        return self._create_run(created["name"], state.created_at, tags)

    def _create_trial(self, trial: Trial, study: Known, uid: str) -> Known:
        tags = {
            PARENT_TAG: study.id,
            "karat.kind": "trial",
            UID_TAG: uid,
            TRIAL_TAG: str(trial.number),
            FINGERPRINT_TAG: trial.fingerprint,
            "karat.phase": trial.phase,
            "karat.arm": trial.arm,
        }
        return self._create_run(run_name(trial), trial.asked_at, tags)

    def _create_run(self, name: str, started: float, tags: dict[str, str]) -> Known:
        run = self.client.create_run(
            self.experiment,
            start_time=_ms(started),
            run_name=name,
            tags={**tags, STATUS_TAG: "running"},
        )
        return Known(_real(run.info.run_id), "running", tags.get(PARENT_TAG, ""))

    def _update_trial(self, trial: Trial, study: Known, record: Record, over: bool) -> None:
        assert self._runs is not None
        status, count = status_of(trial, over), record.count(trial.number)
        known = self._runs.get(trial.number)
        if known is None:
            known = self._create_trial(trial, study, record.state.created["uid"])
            self._runs[trial.number] = known
        elif known.deleted:
            return
        elif known.parent != study.id:  # which was made anew
            self.client.set_tag(known.id, PARENT_TAG, study.id)
            known.parent = study.id
        if known.status == status and (trial.ended or self._has(known, count)):
            return
        params = {}
        if known.new:
            params = trial_params(trial)
            text = yaml.safe_dump(trial.config, sort_keys=False)
            self.client.log_text(known.id, text, "config.yaml")
        if trial.kernels and not known.has_kernels:
            params[KERNELS_PARAM] = kernels_text(trial)
            known.has_kernels = True
        self._log(known, record.points(trial.number, known.points), params)
        if trial.status == "completed":
            self._log_checkpoint(trial, known)
        if status != "running":
            self._check_points(known, record.points(trial.number, 0), "epoch_seconds")
        reason = trial_text(trial)
        if status == "interrupted":
            reason = study_text(record.state) or DRIVER_GONE_TEXT
        self._set_status(known, status, reason, trial.ended_at or record.time)

    def _update_study(self, study: Known, record: Record, alive: bool) -> None:
        state = record.state
        # As the study began: MLflow takes no second value of a parameter.
        began = {key: state.original[key] for key in ("seed", "metric", "mode")}
        began["reference"] = ", ".join(state.reference_arms)
        began |= {key: state.original[key] for key in ("search", "confirm")}
        params = flatten(began)
        points = record.study_points[study.points :]
        self._log(study, points, params if study.new else {})
        if alive:
            self._set_status(study, "running", "", record.time)
            return
        self._check_points(study, record.study_points, *_COUNT_OF.values())
        if state.status in ("completed", "failed"):
            for name in (REPORT_MARKDOWN, REPORT_HTML):
                if (self.folder / name).is_file():
                    self.client.log_artifact(study.id, str(self.folder / name))
        if state.status == "completed":
            assert self._runs is not None
            runs = {number: known.id for number, known in self._runs.items() if not known.deleted}
            from karat.tracking.model_registry import register_best  # brings torch

            register_best(self.client, self.uri, state, self.folder, runs)
        killed = state.status == "running"
        reason = DRIVER_GONE_TEXT if killed else study_text(state)
        status = "interrupted" if killed else state.status
        self._set_status(study, status, reason, state.ended_at or record.time)

    def _log(self, known: Known, points: list[Point], params: Mapping[str, str]) -> None:
        """Send points that this view has not sent; the client cuts them into legal batches."""
        from mlflow.entities import Metric, Param

        metrics = [
            Metric(name, value, _ms(point.time), point.step)
            for point in points
            for name, value in point.metrics.items()
        ]
        self.client.log_batch(
            known.id, metrics, [Param(name, value) for name, value in params.items()]
        )
        known.points, known.new = known.points + len(points), False

    def _check_points(self, known: Known, points: list[Point], *names: str) -> None:
        """Before a run is called whole, for nobody looks at its points after that."""
        for name in names:
            sent = {point.step for point in points if name in point.metrics}
            if sent:
                history = self.client.get_metric_history(known.id, name)
                if not sent <= {point.step for point in history}:
                    raise TrackingError("MLflow does not show metrics that it was told")

    def _has(self, known: Known, count: int) -> bool:
        return not known.new and known.points == count

    def _log_checkpoint(self, trial: Trial, known: Known) -> None:
        from karat.training.checkpoint import newest_first  # brings torch

        for path in newest_first(trial_folder(self.folder, trial.number), "best")[:1]:
            for file in (path, path.with_suffix(".json")):
                if file.is_file():
                    self.client.log_artifact(known.id, str(file), "checkpoints")

    def _set_status(self, known: Known, status: str, reason: str, ended: float) -> None:
        from mlflow.entities import RunTag

        if known.status == status:
            return
        if status == "running":
            self.client.update_run(known.id, status="RUNNING")
        else:
            self.client.set_terminated(known.id, _RUN_STATUS[status], _ms(ended))
        tags = [RunTag("karat.reason", reason[:_TAG_LENGTH]), RunTag(STATUS_TAG, status)]
        self.client.log_batch(known.id, tags=tags)
        known.status = status


def deleted_runs_of(state: StudyState, given: DeletedRuns | None = None) -> DeletedRuns:
    """What becomes of deleted runs: what is given, or else what the study's space says."""
    return given or TrackingConfig(**state.created["space"].get("tracking", {})).deleted_runs


def _real(id_: object) -> str:
    """MLflow's id of something; an answer that is none of MLflow's has an empty one."""
    if not id_:
        raise TrackingError("the answer has no id in it; is this MLflow?")
    return str(id_)


def status_of(trial: Trial, over: bool) -> str:
    """The tag `karat.status` of a trial; `over` when nothing of the study runs any more."""
    if trial.ended:
        return "stopped early" if trial.status == "stopped" else trial.status
    return "interrupted" if over else "running"


def run_name(trial: Trial) -> str:
    """`0007 fourier grid_size=3 blockwise`, or `confirm 0040 fourier grid_size=3 seed 2`."""
    name = f"{trial.number:04d} {trial.arm}"
    return name if trial.phase == "search" else f"confirm {name} seed {trial.seed_index}"


def trial_params(trial: Trial) -> dict[str, str]:
    """Configuration by dotted names (`training.learning_rate`), with seed, arm and phase."""
    own = {"seed": trial.seed, "arm": trial.arm, "phase": trial.phase, "epochs": trial.epochs}
    return flatten({**own, **trial.config})


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names to text, cut at MLflow's length of a parameter."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)[:_PARAM_LENGTH]
    return flat


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
