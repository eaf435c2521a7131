"""The runs of one study in MLflow, found again by their tags."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from karat.journal.state import StudyState, Trial

STATUS_TAG, UID_TAG, TRIAL_TAG = "karat.status", "karat.study_uid", "karat.trial"
FINGERPRINT_TAG = "karat.fingerprint"  # `karat.journal.state.Trial.fingerprint`
KERNELS_PARAM = "attention.kernel_used"
PARENT_TAG = "mlflow.parentRunId"
STUDY = -1  # in place of a trial's number


@dataclass(slots=True)
class Known:
    """What is known of one run in MLflow.

    Args:
        id: MLflow's.
        status: the tag `karat.status` that it bears.
        parent: the run that it is shown below.
        deleted: it was deleted by somebody and is to be left alone.
        new: this view has not written to it.
        points: how many points this view has sent.
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
    """What is there of a study: one run for the study and each trial, and runs too many of them."""

    runs: dict[int, Known] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)


def all_runs(client: Any, experiment: str, uid: str) -> Iterator[Any]:
    """Every run that bears the study's tag, deleted ones too."""
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
    """Whether somebody has deleted the run, and it has not been purged yet."""
    return str(run.info.lifecycle_stage) == "deleted"


def is_of_another(run: Any, trial: Trial | None) -> bool:
    """Whether the run shows another configuration, seed or kernel than the trial of its number has.

    A journal that was cut may ask for other trials by the numbers that it had given, and MLflow
    takes no second value of a parameter. Runs of older versions of karat bear no fingerprint, and
    are taken for the journal's.
    """
    if trial is None:
        return False
    shown, kernels = run.data.tags.get(FINGERPRINT_TAG), run.data.params.get(KERNELS_PARAM)
    if kernels is not None and trial.kernels and kernels != kernels_text(trial):
        return True
    return shown is not None and shown != trial.fingerprint


def kernels_text(trial: Trial) -> str:
    """The parameter `attention.kernel_used` of a trial that has reported."""
    return ", ".join(trial.kernels or ())


def find_runs(client: Any, experiment: str, state: StudyState, *, leave_deleted: bool) -> Found:
    """Settle which run stands for the study and for each trial.

    A server that is slow to answer may make a run that nobody waits for any more, after the view
    has made another one: those are surplus, and so are runs that show another trial. One that is
    whole goes first.
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
