"""A running Ray cluster, asked through its dashboard: token, version, nodes and jobs."""

import json
import os
import shlex
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from jobs import Submission
from jobs.ray.node_check import MARK
from jobs.ray.request import data_of, sent_files, storage_of
from jobs.ray.settings import RaySettings
from jobs.ray.upload import check_size, stage
from karat.errors import InputError, StudyError
from karat.space.settings import ResourceConfig
from karat.system.redact import shown_address

_ANSWER_S = 15.0
_CHECK_S = 180.0
_READY_S = 60.0
# Ray's client prefers these to the address that it is called with.
_MISLEADING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


def token_of(environment: Mapping[str, str]) -> str:
    """The cluster's token, of the environment or of the file that it names.

    Raises:
        InputError: there is none.
    """
    token = environment.get("RAY_AUTH_TOKEN", "")
    path = environment.get("RAY_AUTH_TOKEN_PATH")
    if not token and path:
        try:
            token = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"RAY_AUTH_TOKEN_PATH = {path}: {error.strerror}") from error
    if not token.strip():
        raise InputError(
            "the Ray cluster's token is missing: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a "
            "file that holds it"
        )
    return token.strip()


def check_version(address: str, token: str) -> None:
    """Refuse a cluster that does not answer, does not know the token, or is of another version.

    Raises:
        InputError: which of these.
    """
    import ray

    shown = shown_address(address)
    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            there = str(json.loads(answer.read())["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise InputError(
                f"{shown}: the Ray cluster refuses the token in RAY_AUTH_TOKEN; it must be the one "
                "that its head was started with"
            ) from error
        raise InputError(f"{shown}: answers {error.code}; is this a Ray dashboard?") from error
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{shown}: no Ray dashboard answers there ({said}); it is cluster.ray.address"
        ) from error
    if there != ray.__version__:
        raise InputError(
            f"{shown}: the cluster runs Ray {there}, karat here {ray.__version__}; they must be the same"
        )


def client_of(address: str, token: str) -> Any:
    """Ray's own client of the Jobs API."""
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"})


@contextmanager
def staged(submission: Submission[RaySettings]) -> Iterator[tuple[Any, str]]:
    """A client of the cluster, once version and token are checked, and a folder that is to be sent.

    Raises:
        InputError: there is too much to send, or the cluster does not answer or refuses.
    """
    settings, files = submission.settings, sent_files(submission)
    check_size(submission.code, files, settings.largest_upload_mb)
    token = token_of(os.environ)
    check_version(settings.address, token)
    with _own_address(), tempfile.TemporaryDirectory(prefix="karat-") as folder:
        stage(submission, files, Path(folder))
        yield client_of(settings.address, token), folder


@contextmanager
def _own_address() -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in _MISLEADING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def ask_for_job(client: Any, **asked: Any) -> str:
    """Submit a job; a head that has just started may not be ready for one yet.

    Raises:
        StudyError: it does not become so, or refuses the job.
    """
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            return str(client.submit_job(**asked))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise StudyError(f"the Ray cluster takes no job: {error}") from error
            time.sleep(1)


def look(
    client: Any, submission: Submission[RaySettings], folder: str, *more: str
) -> dict[str, Any]:
    """What the nodes report in a small job of its own (`jobs.ray.node_check`).

    Raises:
        StudyError: the job fails, or does not end.
    """
    words = ["python", "-m", "jobs.ray.node_check", *more]
    words += [str(storage_of(submission)), *data_of(submission)]
    runtime = {"working_dir": folder, "env_vars": dict(submission.environment)}
    job = ask_for_job(client, entrypoint=shlex.join(words), runtime_env=runtime)
    deadline = time.monotonic() + _CHECK_S
    while not client.get_job_status(job).is_terminal():
        if time.monotonic() > deadline:
            client.stop_job(job)
            raise StudyError(f"the Ray cluster did not run a small job ({job}) in {_CHECK_S:.0f} s")
        time.sleep(0.3)
    logs = client.get_job_logs(job)
    lines = [line for line in logs.splitlines() if line.startswith(MARK)]
    if not lines:
        raise StudyError(f"a small job on the Ray cluster failed ({job}):\n{logs[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return found


def examine_nodes(submission: Submission[RaySettings], disk_gb: float) -> dict[str, Any]:
    """What the cluster's nodes and its head report, for the doctor.

    Raises:
        InputError, StudyError: the cluster cannot be asked.
    """
    with staged(submission) as (client, folder):
        return look(client, submission, folder, f"--examine={disk_gb:g}")


def check_nodes(nodes: list[dict[str, Any]], resources: ResourceConfig) -> None:
    """Refuse a cluster that has no room for a trial, or where a node does not see the storage.

    Raises:
        InputError: which node, and what it lacks.
    """
    wrong = [f"{node['node']}: {each}" for node in nodes for each in node["wrong"]]
    if wrong:
        raise InputError(
            f"nodes of the Ray cluster do not see what they need: {'; '.join(wrong)}. Every node "
            "must see the same folder of studies (cluster.ray.storage, or --storage)"
        )
    room = [(each["resources"].get("CPU", 0), each["resources"].get("GPU", 0)) for each in nodes]
    if not resources.trials_on(room):
        there = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in room)
        raise InputError(
            f"resources: a trial has {resources.num_processes} processes, each of which needs a node "
            f"with {resources.cpus} CPUs and {resources.gpus_per_process:g} GPUs for it; the nodes of "
            f"the Ray cluster have {there}"
        )
