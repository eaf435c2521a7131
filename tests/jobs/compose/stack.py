"""The stack of docker-compose.yml as processes, and studies that are handed to it."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from jobs import Submission, Submitted
from jobs.ray.backend import RayCluster
from jobs.ray.client import client_of
from jobs.ray.settings import RaySettings
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.space.reader import load_space
from tests.conftest import ROOT
from tests.jobs.compose.local_postgres import programs
from tests.jobs.compose.local_stack import LocalStack
from tests.waiting import PATIENCE_S, wait_until


def missing() -> str | None:
    """What the stack needs and this machine has not; None for nothing."""
    if programs() is None:
        return "PostgreSQL is missing (apt-get install postgresql)"
    for module in ("psycopg2", "flask_wtf", "aiohttp_cors"):
        if importlib.util.find_spec(module) is None:
            return f"the Python package {module} is missing (requirements.txt)"
    return None


@contextmanager
def running_stack(also: Mapping[str, str] = MappingProxyType({})) -> Iterator[LocalStack]:
    """A stack with two Ray workers of one CPU each, and the environment of one who uses it.

    Args:
        also: variables of every service beside those of the file.
    """
    folder = Path(tempfile.mkdtemp(prefix="karat-stack-"))  # PostgreSQL's own user must come there
    before = dict(os.environ)
    try:
        with LocalStack(folder, also=also) as stack:
            os.environ.update(
                RAY_AUTH_TOKEN=stack.secret("ray_token"),
                MLFLOW_TRACKING_URI=stack.mlflow,
                MLFLOW_TRACKING_USERNAME="karat",
                MLFLOW_TRACKING_PASSWORD=stack.secret("mlflow_karat_password"),
            )
            yield stack
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def submission_of(
    space_file: Path, ray: RaySettings, *, name: str = "small"
) -> Submission[RaySettings]:
    """A launch of the space under a name."""
    assert ray.storage is not None
    return Submission(
        space=load_space(space_file, (), name),
        space_file=space_file,
        program=("-m", "karat.cli.in_cluster"),
        arguments=("--space", str(space_file), "--storage", ray.storage, "--name", name),
        storage=Path(ray.storage),
        code=ROOT,
        settings=ray,
    )


def hand_over(stack: LocalStack, space_file: Path, name: str) -> Submitted:
    """Submit a study to the stack's Ray."""
    ray = RaySettings(address=stack.ray, storage=str(stack.studies))
    return RayCluster().submit(submission_of(space_file, ray, name=name))


def state_of(stack: LocalStack, name: str) -> StudyState:
    """The study as its journal has it now."""
    path = stack.studies / name / JOURNAL
    return StudyState.of(read_events(path) if path.exists() else ())


def reports(state: StudyState) -> int:
    return sum(len(trial.reports) for trial in state.trials.values())


def job_logs(stack: LocalStack, job: str) -> str:
    return str(client_of(stack.ray, stack.secret("ray_token")).get_job_logs(job))


def wait_for_job(stack: LocalStack, job: str) -> str:
    """The status in which a job ends."""
    ended = ("SUCCEEDED", "FAILED", "STOPPED")
    client = client_of(stack.ray, stack.secret("ray_token"))  # each new one asks for the version

    def status() -> str:
        return str(client.get_job_status(job).value)

    # Each question wakes the dashboard and the GCS, on the cores that train.
    wait_until(lambda: status() in ended, job, patience_s=2 * PATIENCE_S, poll_s=1.0)
    return status()
