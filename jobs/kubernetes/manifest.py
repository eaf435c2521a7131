"""A study as two Kubernetes objects: the space file, and the RayJob that reads it; pure functions."""

import hashlib
import importlib.metadata
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from jobs import Submission
from jobs.command_line import launch_words, refuse_secrets
from jobs.kubernetes.settings import KubernetesSettings
from jobs.ray.request import STOP_WAIT_S, data_of
from karat.errors import InputError
from karat.execution.ray_internals import NETWORK
from karat.space.settings import ResourceConfig

STUDIES = PurePosixPath("/studies")
_CODE = PurePosixPath("/karat")  # in the image (Dockerfile)
_QUESTION = PurePosixPath("/question")
_USER = 10001  # of the image
_HEAD = {"cpu": "2", "memory": "8G"}
_LONGEST_NAME = 47  # of 63 that a label may have: KubeRay appends to it
_MARGIN_S = 10  # of the grace, for the pod itself


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: no anchors, and text of several lines as it is."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _lines_of(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _lines_of)


def manifest(submission: Submission[KubernetesSettings]) -> str:
    """Both objects as YAML.

    Raises:
        InputError: something could not go well there, or a secret would be given away.
    """
    check_settings(submission)
    objects = [_question(submission), _ray_job(submission)]
    return refuse_secrets(
        yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    )


def check_settings(submission: Submission[KubernetesSettings]) -> None:
    """Refuse what is wrong on any cluster.

    Raises:
        InputError: what, and what would be right.
    """
    if "--fresh" in submission.arguments:
        raise InputError(
            "--fresh: does not go with --submit kubernetes, where each retry of the job would begin "
            "the study anew; choose another --name"
        )
    resources, settings = submission.space.resources, submission.settings
    if resources.is_probing and resources.gpus:
        raise InputError(
            f"resources.gpus = {resources.gpus}, with probes: trials are probed where the driver runs, "
            "on the head, which has no GPU; write how much a trial gets (resources.gpus: 0.5), and "
            "leave resources.probe out"
        )
    check_room(resources, settings)
    for root in data_of(submission):
        if not PurePosixPath(root).is_relative_to(STUDIES):
            raise InputError(
                f"data.root = {root!r}: no pod has it; must lie below {STUDIES}, which is the claim "
                f"{settings.claim} (cluster.kubernetes.claim)"
            )


def room_of(settings: KubernetesSettings) -> list[tuple[float, float]]:
    """CPUs and GPUs of each worker there may be."""
    return [(settings.cpus, settings.gpus)] * settings.most_workers


def check_room(resources: ResourceConfig, settings: KubernetesSettings) -> None:
    """Refuse a trial that all the workers there may be do not hold.

    Raises:
        InputError: with what a worker has.
    """
    if not resources.trials_on(room_of(settings)):
        raise InputError(
            f"resources: {settings.most_workers} workers with {settings.cpus} CPUs and {settings.gpus} "
            f"GPUs each (cluster.kubernetes) have no room for a trial of {resources.num_processes} "
            f"processes, each with {resources.cpus} CPUs and "
            f"{resources.gpus_per_process:g} GPUs"
        )


def name_of(submission: Submission[KubernetesSettings]) -> str:
    """A name that Kubernetes takes: no underscores, and room for what KubeRay appends.

    No two studies have the same: where the study's name is not taken as it is, a hash of it follows.
    """
    study = submission.space.name
    name = f"karat-{study.replace('_', '-')}".rstrip("-")
    if name == f"karat-{study}" and len(name) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(study.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - len(mark) - 1].rstrip('-')}-{mark}"


def _question(submission: Submission[KubernetesSettings]) -> dict[str, Any]:
    """The space file, which an image made before it cannot hold."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(submission), "namespace": submission.settings.namespace},
        "data": {submission.space_file.name: submission.space_file.read_text()},
    }


def _ray_job(submission: Submission[KubernetesSettings]) -> dict[str, Any]:
    settings, space = submission.settings, _QUESTION / submission.space_file.name
    words = launch_words(submission.program, submission.arguments, space, STUDIES)
    variables = {
        **submission.environment,
        "KARAT_MOST_SLOTS": str(submission.space.resources.trials_on(room_of(settings))),
        "RAY_JOB_STOP_WAIT_TIME_S": str(_stop_wait_s(settings)),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name_of(submission),
            "namespace": settings.namespace,
            "labels": {"app.kubernetes.io/name": "karat"},
        },
        "spec": {
            "entrypoint": shlex.join(words),
            "runtimeEnvYAML": yaml.safe_dump({"env_vars": variables}),
            "submissionMode": "K8sJobMode",
            "backoffLimit": settings.retries,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "suspend": False,
            "rayClusterSpec": _cluster(submission),
        },
    }


def _cluster(submission: Submission[KubernetesSettings]) -> dict[str, Any]:
    settings = submission.settings
    worker = {"cpu": str(settings.cpus), "memory": f"{settings.memory_gb:g}G"}
    if settings.gpus:
        worker["nvidia.com/gpu"] = str(settings.gpus)
    return {
        "rayVersion": importlib.metadata.version("ray"),
        "authOptions": {"mode": "token"},  # KubeRay draws a token and gives it to each pod
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"upscalingMode": "Default", "idleTimeoutSeconds": 120},
        "headGroupSpec": {
            # No CPUs for trials: the driver's machine is not filled up with them.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _pod(submission, "ray-head", _HEAD, _head_only(settings)),
        },
        "workerGroupSpecs": [
            {
                "groupName": "trials",
                "replicas": settings.workers,
                "minReplicas": settings.workers,
                "maxReplicas": settings.most_workers,
                "rayStartParams": {"num-cpus": str(settings.cpus)},
                "template": _pod(submission, "ray-worker", worker),
            }
        ],
    }


def _head_only(settings: KubernetesSettings) -> dict[str, Any]:
    """The driver shuts down before its head is killed; it alone knows of MLflow."""
    stop = ["python", "-m", "jobs.ray.stop_jobs", "--patience", str(_stop_wait_s(settings))]
    found: dict[str, Any] = {"lifecycle": {"preStop": {"exec": {"command": stop}}}}
    if settings.secret is not None:
        found["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    return found


def _stop_wait_s(settings: KubernetesSettings) -> int:
    return max(1, min(STOP_WAIT_S, settings.grace_s - _MARGIN_S))


def _pod(
    submission: Submission[KubernetesSettings],
    name: str,
    room: Mapping[str, str],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    settings = submission.settings
    container: dict[str, Any] = {
        "name": name,
        "image": settings.image,
        "workingDir": str(_CODE),
        "resources": {"requests": room, "limits": room},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": [
            {"name": "PYTHONPATH", "value": str(_CODE)},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
            *({"name": name, "value": value} for name, value in NETWORK.items()),
        ],
        "volumeMounts": [
            {"name": "studies", "mountPath": str(STUDIES)},
            {"name": "question", "mountPath": str(_QUESTION), "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    container |= more or {}
    return {
        "spec": {
            "terminationGracePeriodSeconds": settings.grace_s,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "studies", "persistentVolumeClaim": {"claimName": settings.claim}},
                {"name": "question", "configMap": {"name": name_of(submission)}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
            ],
        }
    }
