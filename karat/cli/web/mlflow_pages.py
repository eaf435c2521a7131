"""Addresses of MLflow's pages.

MLflow shows an experiment in one of two ways, for language models or for model training. Version 3.17 does not ask
the experiment (its tag `mlflow.experimentKind`) but the browser, which begins with language models and keeps
what `workflowType` in an address said last.
"""

import contextlib
from pathlib import Path

from karat.journal.state import StudyState
from karat.system.redact import shown_address
from karat.tracking.client import (
    TrackingError,
    open_client,
    patience,
    prepare_mlflow,
    reason_of,
    time_limit,
    tracking_uri,
)

HINT = (
    'pages for language models instead of runs? "Model training", at the top left, changes to them'
)
_TRAINING = "workflowType=machine_learning"
_ANSWER_S, _WAIT_S = 10.0, 2.0


def runs_page(server: str, experiment: str | None) -> str:
    """The page that shows the runs of an experiment, or all experiments if it is None.

    Args:
        server: address of the server.
        experiment: MLflow's id.
    """
    page = "experiments" if experiment is None else f"experiments/{experiment}/runs"
    return f"{shown_address(server).rstrip('/')}/#/{page}?{_TRAINING}"


def is_server(uri: str) -> bool:
    """Whether this is the address of a server, which has pages of its own."""
    return uri.startswith(("http://", "https://"))


def where_runs_are(folder: Path, state: StudyState) -> str | None:
    """The page of a study's runs on the server that MLFLOW_TRACKING_URI names; None without one (`karat ui`)."""
    uri = tracking_uri(folder)
    if is_server(uri):
        with contextlib.suppress(TrackingError):  # it is away: its address is all that is known
            return runs_page(uri, experiment_of(uri, state.created["name"], _WAIT_S))
        return runs_page(uri, None)
    return None


def experiment_of(uri: str, name: str, wait_s: float = _ANSWER_S) -> str | None:
    """MLflow's id of the experiment with this name; None if there is none.

    Args:
        uri: of MLflow.
        name: of the study.
        wait_s: seconds to wait for an answer, unless the environment says how long.

    Raises:
        TrackingError: MLflow does not answer.
    """
    prepare_mlflow()
    try:
        with patience(time_limit(wait_s)):
            found = open_client(uri).get_experiment_by_name(name)
    except Exception as error:  # MLflow's client raises anything for an answer that is not MLflow's
        raise TrackingError(
            f"MLflow at {shown_address(uri)} does not answer ({reason_of(error)})"
        ) from error
    return None if found is None else str(found.experiment_id)
