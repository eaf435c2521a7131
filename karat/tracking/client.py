"""MLflow's client, made quiet and impatient: who tries again, and when, is `karat.tracking.sync`'s to say."""

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karat.errors import StudyError
from karat.journal.layout import MLFLOW_DATABASE
from karat.system.offline import go_offline

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class TrackingError(StudyError):
    """MLflow could not be brought up to date; the journal has everything for another attempt."""


def tracking_uri(study_folder: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or else the SQLite file that the studies of one storage share."""
    database = study_folder.absolute().parent / MLFLOW_DATABASE
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


def is_database(uri: str) -> bool:
    """Whether the client opens a database itself, with no server in between."""
    return uri.partition(":")[0].partition("+")[0] in DATABASES


def prepare_mlflow() -> None:
    """Import MLflow, after having told it to neither speak nor try again.

    Its own second attempts would keep a server's `Retry-After`, however long, and could make a
    run twice.
    """
    go_offline()
    os.environ.update(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER="false",
    )
    for name, value in {
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    # It writes a traceback for what it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def open_client(uri: str) -> Any:
    """A client whose database, if it has one of its own, answers now.

    MLflow would try for minutes to open a database that is down or locked.
    """
    from mlflow import MlflowClient

    if is_database(uri):
        import sqlalchemy

        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine).get_table_names()
        finally:
            engine.dispose()
    return MlflowClient(uri, registry_uri=uri)


def time_limit(otherwise: float) -> float:
    """Seconds to wait for an answer of a server, unless the user has set them."""
    return float(os.environ.get(_TIMEOUT) or otherwise)


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait so long for each answer of a server; MLflow asks the environment at every request."""
    before = os.environ.get(_TIMEOUT)
    os.environ[_TIMEOUT] = str(math.ceil(seconds))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TIMEOUT]
        else:
            os.environ[_TIMEOUT] = before
