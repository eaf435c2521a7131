"""A running Ray cluster, by its Jobs API.

The driver of the study runs as a job on the cluster's head and joins the cluster in which it runs.
Credentials for tracking are the head's: a job's text is read by whoever reads the dashboard.
"""

import json
import shlex
import uuid

from jobs import Backend, Submission, Submitted
from jobs.command_line import refuse_secrets
from jobs.ray.checks import checks_of
from jobs.ray.client import ask_for_job, check_nodes, look, staged
from jobs.ray.request import entrypoint, metadata, sent_files, summary, variables
from jobs.ray.settings import RaySettings
from karat.system.checks import Check
from karat.system.redact import shown_address


class RayCluster(Backend[RaySettings]):
    """The study's driver as a job of a Ray cluster that runs already."""

    settings = RaySettings

    def text(self, submission: Submission[RaySettings]) -> str:
        """What is asked of the Jobs API, as JSON, and how many files of what are sent along."""
        request = {
            "address": shown_address(submission.settings.address),
            "entrypoint": entrypoint(submission),
            "metadata": metadata(submission),
            "runtime_env": {
                "env_vars": variables(submission),
                "working_dir": summary(sent_files(submission)),
            },
        }
        return refuse_secrets(json.dumps(request, indent=2) + "\n")

    def submit(self, submission: Submission[RaySettings]) -> Submitted:
        """Look at the cluster, send the code, and submit the study's driver as a job."""
        refuse_secrets(self.text(submission))
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
        at = shlex.join(["--address", shown_address(submission.settings.address), job])
        ray = "RAY_AUTH_MODE=token ray job"  # without it Ray's command does not send the token
        return Submitted(id=job, watch=f"{ray} logs --follow {at}", stop=f"{ray} stop {at}")

    def checks(self, submission: Submission[RaySettings]) -> list[Check]:
        """Version and token, room, packages, storage and clocks of all nodes, disk and MLflow of the head."""
        return checks_of(submission)
