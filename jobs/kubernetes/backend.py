"""A study as a `RayJob` for KubeRay: head, autoscaled workers, a volume for the studies, secrets.

The driver runs on the head. When a node is lost under it, KubeRay makes a new cluster and starts
the driver again, up to `retries` times; the study in the volume goes on. It would do so after every
other end but success, too: hence `retries_failed_jobs`.
"""

import json
import shlex
import shutil

from jobs import Backend, Submission, Submitted
from jobs.kubernetes.checks import checks_of, claim, secret
from jobs.kubernetes.kubectl import kubectl
from jobs.kubernetes.manifest import manifest, name_of
from jobs.kubernetes.settings import KubernetesSettings
from karat.errors import InputError, StudyError
from karat.space.site import Machines
from karat.system.checks import Check, CheckFailed

_ENDED = ("Complete", "Failed")


class Kubernetes(Backend[KubernetesSettings]):
    """The whole study as one RayJob."""

    settings = KubernetesSettings
    retries_failed_jobs = True

    def machines(self, settings: KubernetesSettings) -> Machines:
        """As many workers as there may be."""
        return Machines(settings.most_workers, settings.cpus, settings.gpus)

    def text(self, submission: Submission[KubernetesSettings]) -> str:
        """Two objects as YAML: the space file, and the RayJob that reads it."""
        return manifest(submission)

    def submit(self, submission: Submission[KubernetesSettings]) -> Submitted:
        """Hand both objects to `kubectl`, after a dry run by the cluster's own schema."""
        if shutil.which("kubectl") is None:
            raise InputError("kubectl is missing; --dry-run prints what it would be given")
        objects, name = manifest(submission), name_of(submission)
        at = ["--namespace", submission.settings.namespace]
        refused, _ = kubectl(["apply", "--dry-run=server", "-f", "-"], objects)
        if refused:
            raise InputError(f"the Kubernetes cluster refuses the RayJob: {refused}")
        check_cluster(submission.settings)
        status = ["-o", "jsonpath={.status.jobDeploymentStatus}"]
        _, before = kubectl(["get", "rayjob", name, *at, *status])
        if before in _ENDED:  # an object that has ended does not begin again; its study does
            kubectl(["delete", "rayjob", name, *at])
        failed, _ = kubectl(["apply", "-f", "-"], objects)
        if failed:
            raise StudyError(f"kubectl apply failed: {failed}")
        where = shlex.join(at)
        suspend = shlex.quote(json.dumps({"spec": {"suspend": True}}))
        return Submitted(
            id=name,
            watch=f"kubectl logs {where} --follow --selector job-name={name}",
            # The pods go, the head's when its driver has shut down; the object stays.
            stop=f"kubectl patch rayjob {name} {where} --type merge --patch {suspend}",
        )

    def checks(self, submission: Submission[KubernetesSettings]) -> list[Check]:
        """What `kubectl` can see: KubeRay, namespace and rights, claim, secret, room, the RayJob."""
        return checks_of(submission)


def check_cluster(settings: KubernetesSettings) -> None:
    """Refuse a claim or a secret that is not there, for which pods would wait without end.

    Raises:
        InputError: which, and what would be right.
    """
    for check in (claim, secret):
        try:
            check(settings)
        except CheckFailed as error:
            # Whoever may make jobs may not be allowed to look at everything that these need.
            if "(Forbidden)" not in str(error):
                raise InputError(str(error)) from error
