"""Finds the runs of a study in MLflow by their tags."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from karat.journal.state import StudyState
from karat.journal.trial import Trial

STATUS_TAG, UID_TAG, TRIAL_TAG = "karat.status", "karat.study_uid", "karat.trial"
FINGERPRINT_TAG = "karat.fingerprint"  # `karat.journal.state.Trial.fingerprint`
KERNELS_PARAM = "attention.kernel_used"
PARENT_TAG = "mlflow.parentRunId"
TAG_LENGTH = 5000  # characters that every version of MLflow stores
STUDY = -1  # used as the trial number of the study's run


@dataclass(slots=True)
class Known:
    """What the view knows about a run in MLflow.

    Args:
        id: of MLflow.
        status: value of its tag `karat.status`.
        parent: id of its parent run.
        deleted: the run was deleted by a user and must not be changed.
        new: this view has not written to it.
        points: number of points that this view has sent.
        has_kernels: whether this view has sent the kernels.
    """

    id: str
    status: str = ""
    parent: str = ""
    deleted: bool = False
    new: bool = True
    points: int = 0
    has_kernels: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Runs of a study: one for the study and each trial, and ids of surplus runs, to be deleted."""

    runs: dict[int, Known] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)


def all_runs(client: Any, experiment: str, uid: str) -> Iterator[Any]:
    """All runs with the study's tag, including deleted ones."""
    from mlflow.entities import ViewType

    token: str | None = None
    while token != "":
        page = client.search_runs(
            [experiment],
            f"tags.`{UID_TAG}` = '{uid}'",
            run_view_type=ViewType.ALL,
            max_results=1000,
            page_token=token,
        )
        yield from page
        token = page.token or ""


def trial_of(run: Any) -> int:
    """The run's trial; `STUDY` for the study's own run."""
    return int(run.data.tags.get(TRIAL_TAG, STUDY))


def is_deleted(run: Any) -> bool:
    """Whether a user has deleted the run (it is not purged yet)."""
    return str(run.info.lifecycle_stage) == "deleted"


def is_of_another(run: Any, trial: Trial | None) -> bool:
    """Whether the run shows another configuration, seed or kernel than the trial with its number.

    After a journal was cut (`karat repair`), a number may be given to another trial, and MLflow
    refuses to change a parameter. Runs of older versions of karat have no fingerprint and are
    accepted.
    """
    if trial is None:
        return False
    shown, kernels = run.data.tags.get(FINGERPRINT_TAG), run.data.params.get(KERNELS_PARAM)
    if kernels is not None and trial.kernels and kernels != kernels_text(trial):
        return True
    return shown is not None and shown != trial.fingerprint


def kernels_text(trial: Trial) -> str:
    """Value of the parameter `attention.kernel_used`."""
    return ", ".join(trial.kernels or ())


def find_runs(client: Any, experiment: str, state: StudyState, *, leave_deleted: bool) -> Found:
    """Choose one run for the study and one for each trial.

    A slow server may create a run after the request timed out and the view created another one.
    Such runs are surplus, and so are runs that show another trial. A finished run is preferred.
    """
    found, by_trial = Found(), defaultdict(list)
    for run in all_runs(client, experiment, state.created["uid"]):
        number = trial_of(run)
        if not is_of_another(run, state.trials.get(number)):
            by_trial[number].append(run)
        elif not is_deleted(run):
            found.surplus.append(run.info.run_id)
    for number, runs in by_trial.items():
        active = [run for run in runs if not is_deleted(run)]
        active.sort(key=lambda run: run.data.tags.get(STATUS_TAG) in (None, "running"))
        found.surplus.extend(run.info.run_id for run in active[1:])
        if active:
            found.runs[number] = _known(active[0])
        elif leave_deleted:
            found.runs[number] = _known(runs[0])
    return found


def _known(run: Any) -> Known:
    tags = run.data.tags
    return Known(
        run.info.run_id,
        tags.get(STATUS_TAG, ""),
        tags.get(PARENT_TAG, ""),
        deleted=is_deleted(run),
    )
