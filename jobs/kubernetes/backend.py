"""A study as a `RayJob` for KubeRay: head, autoscaled workers, a volume for the studies, secrets.

The driver runs on the head. When a node is lost under it, KubeRay makes a new cluster and starts
the driver again, up to `retries` times; the study in the volume goes on. It would do so after every
other end but success, too, and so `karat.cli.in_rayjob` lets those count as one that it would not change.
"""

import json
import shlex
import shutil
from collections.abc import Callable

from jobs import Submission, Submitted
from jobs.command_line import again
from jobs.kubernetes.kubectl import kubectl
from jobs.kubernetes.manifest import Dumper, config_of, lines_of, name_of, text
from karat.errors import InputError, StudyError

_ENDED = ("Complete", "Failed")


Dumper.add_representer(str, lines_of)


def submit(submission: Submission) -> Submitted:
    """Hand both objects to `kubectl`, after a dry run by the cluster's own schema.

    Raises:
        InputError: there is no kubectl, or the cluster refuses the objects or lacks what they name.
        StudyError: it does not take them.
    """
    if shutil.which("kubectl") is None:
        raise InputError("kubectl is missing; --dry-run prints what it would be given")
    objects, config = text(submission), config_of(submission)
    name, at = name_of(submission), ["--namespace", config.namespace]
    refused, _ = kubectl(["apply", "--dry-run=server", "-f", "-"], objects)
    if refused:
        raise InputError(f"the Kubernetes cluster refuses the RayJob: {refused}")
    check_cluster(submission)
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
        # The pods go, the head's when its driver has left off; the object stays.
        stop=f"kubectl patch rayjob {name} {where} --type merge --patch {suspend}",
        resume=again(submission.arguments, "kubernetes"),
    )


def check_cluster(submission: Submission) -> None:
    """Refuse a claim or a secret that is not there, for which pods would wait without end.

    Raises:
        InputError: which, and what would be right.
    """
    from jobs.kubernetes.checks import claim, secret
    from karat.system.checks import CheckFailed

    config = config_of(submission)
    for check in (claim, secret):
        try:
            check(config)
        except CheckFailed as error:
            # Whoever may make jobs may not be allowed to look at everything that these need.
            if "(Forbidden)" not in str(error):
                raise InputError(str(error)) from error


def checks(submission: Submission) -> list[tuple[str, Callable[[], str]]]:
    """What `python -m karat doctor --submit kubernetes` asks beyond this machine."""
    from jobs.kubernetes import checks as kubernetes_checks

    return kubernetes_checks.checks(submission)
