"""A running Ray cluster, by its Jobs API: what is submitted, what is refused before, and how.

The driver of the study runs as a job on the cluster's head and joins the cluster it runs in.
Credentials for tracking are the head's; a job's text is read by whoever reads the dashboard.
"""

import json
import shlex
import uuid
from collections.abc import Callable

from jobs import Submission, Submitted
from jobs.command_line import again, refuse_secrets
from jobs.ray_jobs.client import (
    ask_for_job,
    check_nodes,
    config_of,
    entrypoint,
    look,
    metadata,
    not_sent,
    staged,
    summary,
    variables,
)
from jobs.ray_jobs.upload import files_of
from karat.system.redact import shown_address


def text(submission: Submission) -> str:
    """What is asked of the Jobs API, as YAML would have it, and what is sent along."""
    config = config_of(submission)
    files = files_of(submission.repository, not_sent(submission))
    request = {
        "address": shown_address(config.address),
        "entrypoint": entrypoint(submission),
        "metadata": metadata(submission),
        "runtime_env": {"env_vars": variables(submission), "working_dir": summary(files)},
    }
    return refuse_secrets(json.dumps(request, indent=2) + "\n")


def submit(submission: Submission) -> Submitted:
    """Look at the cluster, send the code, and submit the study's driver as a job.

    Raises:
        InputError: what is refused, before the study is submitted.
        StudyError: the cluster does not do what it is asked for.
    """
    config = config_of(submission)
    refuse_secrets(text(submission))
    with staged(submission) as (client, folder):
        nodes = look(client, submission, folder)["nodes"]
        check_nodes(nodes, submission.space.resources)
        job = ask_for_job(
            client,
            entrypoint=entrypoint(submission),
            submission_id=f"karat-{submission.space.name}-{uuid.uuid4().hex[:8]}",
            runtime_env={"working_dir": folder, "env_vars": variables(submission)},
            metadata=metadata(submission),
        )
    at = shlex.join(["--address", shown_address(config.address), job])
    ray = "RAY_AUTH_MODE=token ray job"  # else it keeps its token to itself
    return Submitted(
        id=job,
        watch=f"{ray} logs --follow {at}",
        stop=f"{ray} stop {at}",
        resume=again(submission.arguments, "ray"),
    )


def checks(submission: Submission) -> list[tuple[str, Callable[[], str]]]:
    """What `python -m karat doctor --submit ray` asks beyond this machine."""
    from jobs.ray_jobs import checks as ray_checks

    return ray_checks.checks(submission)
