"""What a study needs of a Kubernetes cluster, for `python -m karat doctor --submit kubernetes`."""

import json
import re
import shutil
from typing import Any

from jobs import Submission
from jobs.kubernetes.kubectl import kubectl
from jobs.kubernetes.manifest import manifest
from jobs.kubernetes.settings import KubernetesSettings
from karat.system.checks import Check, CheckFailed

_SHARED = "ReadWriteMany"
_UNITS: dict[str, float] = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}


def checks_of(submission: Submission[KubernetesSettings]) -> list[Check]:
    """The checks of a cluster, as `kubectl` and its context see it.

    What only a pod sees (packages, clocks, MLflow) is in the image and in the secret, and is not
    looked at.
    """
    settings = submission.settings
    return [
        ("kubectl", server),
        ("kuberay", kuberay),
        ("namespace", lambda: namespace(settings)),
        ("shared", lambda: claim(settings)),
        ("secret", lambda: secret(settings)),
        ("nodes", lambda: nodes(settings)),
        ("rayjob", lambda: rayjob(submission)),
    ]


def asked(what: str, words: list[str], given: str = "") -> str:
    """What `kubectl` prints.

    Raises:
        CheckFailed: it is not there, or refuses.
    """
    if shutil.which("kubectl") is None:
        raise CheckFailed("kubectl is missing: install it, and point KUBECONFIG at the cluster")
    refused, said = kubectl(words, given)
    if refused:
        raise CheckFailed(f"{what}: {refused}")
    return said


def server() -> str:
    """The cluster answers."""
    said = json.loads(asked("the cluster does not answer", ["version", "-o", "json"]))
    return f"the cluster runs Kubernetes {said['serverVersion']['gitVersion']}"


def kuberay() -> str:
    """KubeRay knows what a RayJob is."""
    served = ["-o", "jsonpath={.spec.versions[*].name}"]
    words = ["get", "crd", "rayjobs.ray.io", *served]
    said = asked("there is no KubeRay (install its operator with Helm)", words)
    if "v1" not in said.split():
        raise CheckFailed(f"KubeRay here has RayJob {said}, not v1: update its operator")
    return "RayJob v1"


def namespace(settings: KubernetesSettings) -> str:
    """The namespace is there, and jobs may be made in it."""
    name = settings.namespace
    asked(f"cluster.kubernetes.namespace = {name}", ["get", "namespace", name])
    said = asked(
        f"RayJobs may not be made in {name}",
        ["auth", "can-i", "create", "rayjobs.ray.io", "--namespace", name],
    )
    return f"{name}; RayJobs may be made in it ({said})"


def claim(settings: KubernetesSettings) -> str:
    """The claim for the studies is there, and every node can have it."""
    name = settings.claim
    words = ["get", "persistentvolumeclaim", name, "--namespace", settings.namespace]
    said = json.loads(asked(f"cluster.kubernetes.claim = {name}", [*words, "-o", "json"]))
    modes = said["spec"].get("accessModes", [])
    if _SHARED not in modes:
        raise CheckFailed(
            f"claim {name} is {', '.join(modes)}: pods on several nodes need one that is "
            f"{_SHARED} (NFS, CephFS, Filestore, EFS)"
        )
    return f"claim {name}, {_SHARED}, {said.get('status', {}).get('phase', 'not bound yet')}"


def secret(settings: KubernetesSettings) -> str:
    """The secret with the tracking credentials is there; its values are not read."""
    if settings.secret is None:
        return "none named; MLflow is a file in the volume"
    words = ["get", "secret", settings.secret, "--namespace", settings.namespace, "-o", "name"]
    asked(f"cluster.kubernetes.secret = {settings.secret}", words)
    return f"{settings.secret} is there"


def nodes(settings: KubernetesSettings) -> str:
    """Some node is as large as a worker."""
    said = json.loads(asked("nodes cannot be looked at", ["get", "nodes", "-o", "json"]))
    rooms = [each["status"]["allocatable"] for each in said["items"]]
    fitting = [room for room in rooms if fits(room, settings)]
    if not fitting:
        raise CheckFailed(
            f"none of {len(rooms)} nodes has {settings.cpus} CPUs, {settings.memory_gb:g} GB and "
            f"{settings.gpus} GPUs for a worker (an autoscaler may add one); ask for less in "
            "cluster.kubernetes"
        )
    return f"a worker fits on {len(fitting)} of {len(rooms)} nodes"


def fits(room: dict[str, Any], settings: KubernetesSettings) -> bool:
    """Whether a node's allocatable resources hold a worker."""
    return (
        quantity(room.get("cpu", "0")) >= settings.cpus
        and quantity(room.get("memory", "0")) >= settings.memory_gb * 1e9
        and quantity(room.get("nvidia.com/gpu", "0")) >= settings.gpus
    )


def quantity(text: str) -> float:
    """A number as Kubernetes writes it: `3920m`, `16Gi`."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None or found[2] not in _UNITS:
        raise CheckFailed(f"the cluster says {text!r} where a quantity is meant")
    return float(found[1]) * _UNITS[found[2]]


def rayjob(submission: Submission[KubernetesSettings]) -> str:
    """The cluster's own schema takes what would be submitted; nothing is made."""
    words = ["apply", "--dry-run=server", "-f", "-"]
    asked("the cluster refuses the RayJob", words, manifest(submission))
    return "the cluster would take it"
