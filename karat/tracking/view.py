"""Writes a study to MLflow from its journal.

One experiment per study name, one run per study, one child run per trial. Everything written
follows from the journal alone: runs are found by their tags (`karat.tracking.runs`), a metric has
the time of its event, and the tag `karat.status` is written last, so that a run with the status
of an ended trial is complete.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from karat.journal.layout import FIGURES, REPORT_HTML, REPORT_MARKDOWN, mlflow_files, trial_folder
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.wording import DRIVER_GONE_TEXT, study_text, trial_text
from karat.space.settings import DeletedRuns, TrackingConfig
from karat.tracking.artifacts import log_unchanging
from karat.tracking.client import TrackingError, is_database, open_client
from karat.tracking.record import COUNT_OF, Point, Record
from karat.tracking.runs import (
    FINGERPRINT_TAG,
    KERNELS_PARAM,
    PARENT_TAG,
    STATUS_TAG,
    STUDY,
    TAG_LENGTH,
    TRIAL_TAG,
    UID_TAG,
    Found,
    Known,
    find_runs,
    kernels_text,
)
from karat.tracking.study_run import (
    NOTE_TAG,
    dataset_input,
    is_of_answer,
    source_tags,
)
from karat.tracking.trial_run import (
    config_text,
    params_of,
    run_name,
    status_of,
    trial_metrics,
    trial_note,
    trial_params,
)

_RUN_STATUS = {
    "completed": "FINISHED",
    "stopped early": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
log = logging.getLogger(__name__)


class View:
    """One study in MLflow. After an exception, use a new object: it is unknown what was written.

    Every method may raise any exception of MLflow's client.

    Args:
        folder: of the study.
        uri: of MLflow.
        deleted_runs: `recreate` or `leave`; overrides the space's `tracking.deleted_runs`.
    """

    def __init__(self, folder: Path, uri: str, deleted_runs: DeletedRuns | None = None) -> None:
        self.folder, self.uri = folder, uri
        self.client = open_client(uri)
        self.experiment = ""
        self._deleted_runs = deleted_runs
        self._left_alone = False  # the experiment was deleted
        self._runs: dict[int, Known] | None = None
        self._state: StudyState | None = None  # a new object after the journal was replaced
        self._source: dict[str, str] = {}  # tags of every run

    def find_experiment(self, record: Record) -> None:
        """Find the study's experiment, once; create it if it is missing, restore it if it was deleted."""
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
        """Write what MLflow lacks; end the study's run if its driver is not alive."""
        state = record.state
        if not self.experiment or self._left_alone:
            return
        over = not alive or state.status != "running"
        numbers = set(state.trials) if over else record.touched
        if self._runs is None or state is not self._state:
            self._runs, self._state = self._find_runs(state), state
            numbers = set(state.trials)
        runs, self._source = self._runs, source_tags(state, self.folder)
        study = runs.get(STUDY) or self._create_study(state)
        runs[STUDY] = study
        for number in sorted(numbers):
            self._update_trial(state.trials[number], study, record, over)
        record.touched.clear()
        if not study.deleted:
            self._update_study(study, record, alive)

    def check(self, record: Record) -> None:
        """Check that MLflow shows all runs as written, and none twice.

        Raises:
            TrackingError: the server lost data, or executed a request after its timeout.
        """
        if self._runs is None:
            return
        found = self._look_up(record.state)
        there = {number: (known.id, known.status) for number, known in found.runs.items()}
        wanted = {number: (known.id, known.status) for number, known in self._runs.items()}
        if found.surplus or there != wanted:
            raise TrackingError("MLflow does not show what was written")

    def _leaves_deleted(self, state: StudyState) -> bool:
        return deleted_runs_of(state, self._deleted_runs) == "leave"

    def _create_experiment(self, name: str) -> str:
        # A server has its own artifact location; for a database MLflow would use the working directory.
        place = mlflow_files(self.folder.absolute().with_name(name)).as_uri()
        return _real(
            self.client.create_experiment(
                name,
                artifact_location=place if is_database(self.uri) else None,
                tags={
                    "mlflow.experimentKind": "custom_model_development"
                },  # else the web interface asks for it
            )
        )

    def _look_up(self, state: StudyState) -> Found:
        leave = self._leaves_deleted(state)
        return find_runs(self.client, self.experiment, state, leave_deleted=leave)

    def _find_runs(self, state: StudyState) -> dict[int, Known]:
        found = self._look_up(state)
        for surplus in found.surplus:
            log.warning(
                "the MLflow run %s is deleted: its trial has another run, or differs in the "
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
            NOTE_TAG: created["question"],
            **self._source,
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
            NOTE_TAG: trial_note(trial),
            **self._source,
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
        elif known.parent != study.id:  # the study's run was created again
            self.client.set_tag(known.id, PARENT_TAG, study.id)
            known.parent = study.id
        if known.status == status and (trial.ended or self._has(known, count)):
            return
        params = {}
        if known.new:
            params = trial_params(trial, record.state.created.get("recipes", {}))
            self.client.log_text(known.id, config_text(trial), "config.yaml")
        if trial.kernels and not known.has_kernels:
            params[KERNELS_PARAM] = kernels_text(trial)
            known.has_kernels = True
        points = record.points(trial.number, known.points)
        costs = []
        if trial.ended and trial.reports:
            arms, last = record.state.created["arms"], trial.reports[-1]
            costs.append(Point(last.time, last.epoch, trial_metrics(trial, arms)))
        self._log(known, points, params, costs)
        if trial.status == "completed":
            self._log_checkpoint(trial, known)
        if status != "running":
            self._check_steps(known, "epoch_seconds", record.steps(trial.number))
        reason = trial_text(trial)
        if status == "interrupted":
            reason = study_text(record.state) or DRIVER_GONE_TEXT
        self._set_status(known, status, reason, trial.ended_at or record.time)

    def _update_study(self, study: Known, record: Record, alive: bool) -> None:
        state = record.state
        # From before any extension, since MLflow refuses to change a parameter.
        began = {key: state.original[key] for key in ("seed", "metric", "mode")}
        began["reference"] = ", ".join(state.reference_arms)
        began |= {key: state.original[key] for key in ("search", "confirm")}
        params = params_of(began)
        points = record.study_points[study.points :]
        if study.new:
            self._log_dataset(study, state)
        self._log(study, points, params if study.new else {})
        if alive:
            if study.status != "running":  # an older answer: the study goes on, as it was extended
                self._withdraw_answer(study, state, record.time)
            self._set_status(study, "running", "", record.time)
            return
        for name in COUNT_OF.values():
            steps = {point.step for point in record.study_points if name in point.metrics}
            self._check_steps(study, name, steps)
        self._log_answer(study, state, record.time)
        if state.status in ("completed", "failed"):
            for name in (REPORT_MARKDOWN, REPORT_HTML):
                if (self.folder / name).is_file():
                    self.client.log_artifact(study.id, str(self.folder / name))
            if (self.folder / FIGURES).is_dir():  # the Markdown shows them
                self.client.log_artifacts(study.id, str(self.folder / FIGURES), FIGURES)
            assert self._runs is not None
            shown = {number: known.id for number, known in self._runs.items() if not known.deleted}
            from karat.tracking.results.analyses import log_analyses

            log_analyses(self.client, study.id, self.folder, shown)
        if state.status == "completed":
            from karat.tracking.models.registry import register_best  # imports torch

            register_best(self.client, self.uri, state, self.folder, shown)
        killed = state.status == "running"
        reason = DRIVER_GONE_TEXT if killed else study_text(state)
        status = "interrupted" if killed else state.status
        self._set_status(study, status, reason, state.ended_at or record.time)

    def _log_dataset(self, study: Known, state: StudyState) -> None:
        dataset = dataset_input(state.created)
        if dataset is not None:
            self.client.log_inputs(study.id, datasets=[dataset])

    def _log_answer(self, study: Known, state: StudyState, time: float) -> None:
        """Write what a study says when it has ended, or how far it came."""
        from mlflow.entities import Metric, RunTag

        from karat.report.facts.summary import summarise  # these load what makes the report
        from karat.tracking.results.answer import study_metrics, study_tags

        summary = summarise(state)
        if not summary.is_final:
            self._withdraw_answer(study, state, time)
        tags = study_tags(summary) | self._source
        time_ms = _ms(state.ended_at or time)
        self.client.log_batch(
            study.id,
            [
                Metric(*each, time_ms, len(state.launches))
                for each in study_metrics(summary).items()
            ],
            tags=[RunTag(*each) for each in tags.items()],
        )

    def _withdraw_answer(self, study: Known, state: StudyState, time: float) -> None:
        """Remove the answer that the run shows; MLflow keeps a metric for ever, so it becomes NaN."""
        from mlflow.entities import Metric

        shown = self.client.get_run(study.id).data
        for tag in filter(is_of_answer, shown.tags):
            self.client.delete_tag(study.id, tag)
        self.client.set_tag(study.id, NOTE_TAG, state.created["question"])
        old = [name for name in shown.metrics if is_of_answer(name)]
        nan, step = float("nan"), len(state.launches)
        self.client.log_batch(study.id, [Metric(name, nan, _ms(time), step) for name in old])

    def _log(
        self,
        known: Known,
        points: list[Point],
        params: Mapping[str, str],
        more: Iterable[Point] = (),
    ) -> None:
        """Send new points and parameters; MLflow's client splits them into allowed batches.

        `more` are points that are not counted, since another attempt sends them again.
        """
        from mlflow.entities import Metric, Param

        metrics = [
            Metric(name, value, time_ms, point.step)
            for point, time_ms in ((point, _ms(point.time)) for point in (*points, *more))
            for name, value in point.metrics.items()
        ]
        self.client.log_batch(
            known.id, metrics, [Param(name, value) for name, value in params.items()]
        )
        known.points, known.new = known.points + len(points), False

    def _check_steps(self, known: Known, name: str, sent: set[int]) -> None:
        """Check that MLflow has a metric at all steps. Called before a run ends, since ended runs are not read again."""
        if not sent:
            return
        history = self.client.get_metric_history(known.id, name)
        if not sent <= {point.step for point in history}:
            raise TrackingError("MLflow does not show metrics that were written")

    def _has(self, known: Known, count: int) -> bool:
        return not known.new and known.points == count

    def _log_checkpoint(self, trial: Trial, known: Known) -> None:
        from karat.training.checkpoint import kept_weights

        path = kept_weights(trial_folder(self.folder, trial.number))
        for file in (path, path.with_suffix(".json")) if path else ():
            if file.is_file():
                log_unchanging(self.client, known.id, file, "checkpoints")

    def _set_status(self, known: Known, status: str, reason: str, ended: float) -> None:
        from mlflow.entities import RunTag

        if known.status == status:
            return
        if status == "running":
            self.client.update_run(known.id, status="RUNNING")
        else:
            self.client.set_terminated(known.id, _RUN_STATUS[status], _ms(ended))
        tags = [RunTag("karat.reason", reason[:TAG_LENGTH]), RunTag(STATUS_TAG, status)]
        self.client.log_batch(known.id, tags=tags)
        known.status = status


def is_followed(state: StudyState) -> bool:
    """Whether MLflow is kept up to date while the study runs, as its space says now."""
    return not state.created or _tracking_of(state).follow


def deleted_runs_of(state: StudyState, given: DeletedRuns | None = None) -> DeletedRuns:
    """The policy for deleted runs: `given` if set, else that of the study's space."""
    return given or _tracking_of(state).deleted_runs


def _tracking_of(state: StudyState) -> TrackingConfig:
    return TrackingConfig(**state.created["space"].get("tracking", {}))


def _real(id_: object) -> str:
    """An id returned by MLflow.

    Raises:
        TrackingError: it is empty, as in the answer of another server."""
    if not id_:
        raise TrackingError("the answer has no id; is this MLflow?")
    return str(id_)


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
