"""Finds the MLflow run of one trial."""

from pathlib import Path
from typing import Any

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.system.redact import shown_address
from karat.tracking.client import asking, has_no_database, tracking_uri
from karat.tracking.runs import TRIAL_TAG, UID_TAG


def run_of_trial(folder: Path, state: StudyState, trial: Trial) -> dict[str, Any]:
    """Id, status and MLflow's address of a trial's run; the id and the status are None if it has none.

    Raises:
        TrackingError: MLflow does not answer.
    """
    uri = tracking_uri(folder)
    found: dict[str, Any] = {"id": None, "status": None, "at": shown_address(uri)}
    if has_no_database(folder, uri):
        return found
    with asking(uri, "could not be read") as client:
        experiment = client.get_experiment_by_name(state.created["name"])
        if experiment is None:
            return found
        uid = state.created["uid"]
        wanted = f"tags.`{UID_TAG}` = '{uid}' and tags.`{TRIAL_TAG}` = '{trial.number}'"
        for run in client.search_runs([experiment.experiment_id], wanted, max_results=1):
            found |= {"id": run.info.run_id, "status": run.info.status}
    return found
