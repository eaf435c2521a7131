"""MLflow's client without output and retries, since `karat.tracking.sync` decides when to retry."""

import contextlib
import logging
import math
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from karat.errors import StudyError
from karat.journal.layout import MLFLOW_DATABASE
from karat.system.offline import go_offline
from karat.system.redact import shown_address, without_secrets

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
ANSWER_S = 10.0
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class TrackingError(StudyError):
    """MLflow could not be updated; the journal has all data for another attempt."""


def tracking_uri(study_folder: Path) -> str:
    """`MLFLOW_TRACKING_URI` or, by default, the SQLite file in the storage folder, shared by its studies."""
    database = study_folder.absolute().parent / MLFLOW_DATABASE
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(database)


def sqlite_uri(database: Path) -> str:
    """The URI of a SQLite file, whatever characters its path has.

    A question mark would begin the options, and the file would be another one. Quoted twice, since SQLAlchemy and
    SQLite each unquote it.
    """
    if "?" in str(database):
        return f"sqlite:///file:{quote(quote(str(database)))}?uri=true"
    return f"sqlite:///{database}"


def has_no_database(folder: Path, uri: str) -> bool:
    """Whether the file that MLflow's runs would be in is not there; to open it would create it."""
    database = folder.absolute().parent / MLFLOW_DATABASE
    return uri == sqlite_uri(database) and not database.exists()


def is_database(uri: str) -> bool:
    """Whether the client opens a database directly, without a server."""
    return uri.partition(":")[0].partition("+")[0] in DATABASES


def prepare_mlflow() -> None:
    """Import MLflow with logging and retries turned off.

    MLflow's retries would obey a server's `Retry-After`, however long, and could create a run twice.
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

    # Else it logs the traceback of every exception that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def open_client(uri: str) -> Any:
    """Open a client; if it opens a database directly, test the connection first.

    MLflow itself would retry for minutes if the database is down or locked.
    """
    from mlflow import MlflowClient

    if is_database(uri):
        import sqlalchemy

        _make_database(uri)
        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine).get_table_names()
        finally:
            engine.dispose()
    return MlflowClient(uri, registry_uri=uri)


def _make_database(uri: str) -> None:
    """Make the SQLite file of an address that has none yet, whole from the moment that it has its name.

    MLflow makes its tables one by one: a process killed meanwhile, or a second one that makes them at
    the same time, would leave a database that MLflow refuses ever after.
    """
    import sqlalchemy
    from mlflow import MlflowClient

    url = sqlalchemy.make_url(uri)
    file = Path(url.database or ":memory:")
    if url.get_backend_name() != "sqlite" or url.query or file.exists() or not file.parent.is_dir():
        return  # MLflow says what is wrong with it
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mlflow-") as folder:
        made, whole = Path(folder, "made.db"), Path(folder, "whole.db")
        MlflowClient(sqlite_uri(made))
        # A copy, since MLflow keeps `made` open, and SQLite warns of a file with two names.
        with (
            contextlib.closing(sqlite3.connect(made)) as source,
            contextlib.closing(sqlite3.connect(whole)) as target,
        ):
            source.backup(target)
        try:
            os.link(whole, file)
        except FileExistsError:
            pass  # another process was quicker
        except OSError:
            os.replace(whole, file)  # this file system has no hard links


def time_limit(otherwise: float) -> float:
    """Seconds to wait for a server's answer: `MLFLOW_HTTP_REQUEST_TIMEOUT` if set, else `otherwise`."""
    return float(os.environ.get(_TIMEOUT) or otherwise)


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Limit the wait for each answer of a server; MLflow reads the variable at every request."""
    before = os.environ.get(_TIMEOUT)
    os.environ[_TIMEOUT] = str(math.ceil(seconds))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TIMEOUT]
        else:
            os.environ[_TIMEOUT] = before


@contextlib.contextmanager
def asking(uri: str, failed: str, done: list[str] | None = None) -> Iterator[Any]:
    """A client; whatever it raises becomes a `TrackingError` that says what was done before."""
    prepare_mlflow()
    try:
        with patience(time_limit(ANSWER_S)):
            yield open_client(uri)
    # MLflow's client may raise anything for an answer that is not MLflow's.
    except Exception as error:
        before = f" Deleted there before: {', '.join(done)}." if done else ""
        raise TrackingError(
            f"MLflow at {shown_address(uri)} {failed} ({reason_of(error)}).{before}"
        ) from error


def reason_of(error: Exception) -> str:
    """Why MLflow failed, in a line; an error of a type that suggests an invalid answer has its type."""
    text = str(error).strip() or type(error).__name__
    if "NewConnectionError" in text or "Failed to establish a new connection" in text:
        return "nothing answers there"
    first = text.splitlines()[0]
    if isinstance(error, LookupError | TypeError | AttributeError | ValueError):
        first = f"not an answer of MLflow? ({type(error).__name__}: {first})"
    return without_secrets(first)[:300]
