"""Checks that an MLflow server accepts runs."""

from karat.system.checks import CheckFailed
from karat.system.redact import shown_address, without_secrets
from karat.tracking.client import open_client, patience

_MLFLOW_S = 20.0


def tracking(uri: str | None) -> str:
    """Write a run to the MLflow server and delete it again; returns what was found.

    Raises:
        CheckFailed: the server did not accept the run."""
    if uri is None:
        return "no MLFLOW_TRACKING_URI: a SQLite file in the storage"
    try:
        with patience(_MLFLOW_S):
            client = open_client(uri)
            known = client.get_experiment_by_name("karat-doctor")
            experiment = known.experiment_id if known else client.create_experiment("karat-doctor")
            run = client.create_run(experiment).info.run_id
            client.log_metric(run, "alive", 1.0)
            client.delete_run(run)
    except Exception as error:
        said = " ".join(without_secrets(str(error)).split())[:200]
        raise CheckFailed(
            f"{shown_address(uri)} accepts no run ({said}): check address, user and password "
            "(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)"
        ) from error
    return f"{shown_address(uri)} accepts runs"
