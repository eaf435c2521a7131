"""TODO"""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from jobs import Submission
from jobs.command_line import launch_words, refuse_secrets
from jobs.kubernetes.settings import KubernetesConfig
from jobs.ray_jobs.client import STOP_WAIT_S, data_of
from jobs.ray_jobs.upload import space_inside
from karat.errors import InputError
from karat.space.settings import ResourceConfig

STUDIES = PurePosixPath("/studies")


_REPOSITORY = PurePosixPath("/karat")


_QUESTION = PurePosixPath("/question")


_USER = 10001  # of the image (Dockerfile)


_HEAD = {"cpu": "2", "memory": "8G"}


_LONGEST_NAME = 47


_MARGIN_S = 10  # of the grace, for the pod itself


class Dumper(yaml.SafeDumper):
    """YAML as people write it: no anchors, and text of several lines as it is."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def lines_of(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


def text(submission: Submission) -> str:
    """Two objects as YAML: the space file, and the RayJob that reads it.

    Raises:
        InputError: the space names no Kubernetes settings, something could not go well there, or
            a secret would be given away.
    """
    config = config_of(submission)
    check_settings(submission, config)
    objects = [_question(submission, config), _ray_job(submission, config)]
    return refuse_secrets(
        yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True)
    )


def check_settings(submission: Submission, config: KubernetesConfig) -> None:
    """Refuse what is wrong on any cluster.

    Raises:
        InputError: what, and what would be right.
    """
    if "--fresh" in submission.arguments:
        raise InputError(
            "--fresh: does not go with --submit kubernetes, where each retry of the job would begin "
            "the study anew; choose another --name"
        )
    resources = submission.space.resources
    if resources.is_probing and resources.gpus:
        raise InputError(
            f"resources.gpus = {resources.gpus}, with probes: trials are probed where the driver runs, "
            "on the head, which has no GPU; write how much a trial gets (resources.gpus: 0.5), and "
            "leave resources.probe out"
        )
    check_room(resources, config)
    for root in data_of(submission):
        if not PurePosixPath(root).is_relative_to(STUDIES):
            raise InputError(
                f"data.root = {root!r}: no pod has it; must lie below {STUDIES}, which is the claim "
                f"{config.claim} (cluster.kubernetes.claim)"
            )


def room_of(config: KubernetesConfig) -> list[tuple[float, float]]:
    """CPUs and GPUs of each worker there may be."""
    return [(config.cpus, config.gpus)] * config.most_workers


def check_room(resources: ResourceConfig, config: KubernetesConfig) -> None:
    """Refuse a trial that all the workers there may be do not hold.

    Raises:
        InputError: with what a worker has.
    """
    if not resources.trials_on(room_of(config)):
        raise InputError(
            f"resources: {config.most_workers} workers with {config.cpus} CPUs and {config.gpus} "
            f"GPUs each (cluster.kubernetes) have no room for a trial of {resources.of_processes} "
            f"processes, each with {resources.cpus} CPUs and "
            f"{resources.gpus_of_process:g} GPUs"
        )


def name_of(submission: Submission) -> str:
    """A name that Kubernetes takes: no underscores, and room for what KubeRay appends.

    No two studies have the same: where the study's name is not taken as it is, a hash of it follows.
    """
    study = submission.space.name
    name = f"karat-{study.replace('_', '-')}".rstrip("-")
    if name == f"karat-{study}" and len(name) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(study.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - len(mark) - 1].rstrip('-')}-{mark}"


def config_of(submission: Submission) -> KubernetesConfig:
    """The settings of this way.

    Raises:
        InputError: the space names none.
    """
    if submission.cluster.kubernetes is None:
        raise InputError(
            "cluster.kubernetes is missing: it must name at least the image and the claim, as "
            "{kubernetes: {image: registry/karat:0.1.0, claim: studies}}"
        )
    return submission.cluster.kubernetes


def _question(submission: Submission, config: KubernetesConfig) -> dict[str, Any]:
    """The space file, which an image made before it cannot hold."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(submission), "namespace": config.namespace},
        "data": {space_inside(submission).name: submission.space_file.read_text()},
    }


def _ray_job(submission: Submission, config: KubernetesConfig) -> dict[str, Any]:
    space = _QUESTION / space_inside(submission).name
    words = launch_words(submission.arguments, space, STUDIES, "karat.cli.in_rayjob")
    variables = {
        **submission.environment,
        "KARAT_MOST_SLOTS": str(submission.space.resources.trials_on(room_of(config))),
        "RAY_JOB_STOP_WAIT_TIME_S": str(_stop_wait_s(config)),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name_of(submission),
            "namespace": config.namespace,
            "labels": {"app.kubernetes.io/name": "karat"},
        },
        "spec": {
            "entrypoint": shlex.join(words),
            "runtimeEnvYAML": yaml.safe_dump({"env_vars": variables}),
            "submissionMode": "K8sJobMode",
            "backoffLimit": config.retries,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "suspend": False,
            "rayClusterSpec": _cluster(submission, config),
        },
    }


def _cluster(submission: Submission, config: KubernetesConfig) -> dict[str, Any]:
    import ray

    worker = {"cpu": str(config.cpus), "memory": f"{config.memory_gb:g}G"}
    if config.gpus:
        worker["nvidia.com/gpu"] = str(config.gpus)
    return {
        "rayVersion": ray.__version__,
        "authOptions": {"mode": "token"},  # KubeRay draws a token and gives it to each pod
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"upscalingMode": "Default", "idleTimeoutSeconds": 120},
        "headGroupSpec": {
            # No CPUs for trials: the driver's machine is not filled up with them.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _pod(submission, config, "ray-head", _HEAD, _head_only(config)),
        },
        "workerGroupSpecs": [
            {
                "groupName": "trials",
                "replicas": config.workers,
                "minReplicas": config.workers,
                "maxReplicas": config.most_workers,
                "rayStartParams": {"num-cpus": str(config.cpus)},
                "template": _pod(submission, config, "ray-worker", worker),
            }
        ],
    }


def _head_only(config: KubernetesConfig) -> dict[str, Any]:
    """The driver leaves off before its head is killed; it alone knows of MLflow."""
    stop = ["python", "-m", "jobs.ray_jobs.stop_jobs", "--patience", str(_stop_wait_s(config))]
    found: dict[str, Any] = {"lifecycle": {"preStop": {"exec": {"command": stop}}}}
    if config.secret is not None:
        found["envFrom"] = [{"secretRef": {"name": config.secret}}]
    return found


def _stop_wait_s(config: KubernetesConfig) -> int:
    return max(1, min(STOP_WAIT_S, config.grace_s - _MARGIN_S))


def _pod(
    submission: Submission,
    config: KubernetesConfig,
    name: str,
    room: Mapping[str, str],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": config.image,
        "workingDir": str(_REPOSITORY),
        "resources": {"requests": room, "limits": room},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": [
            {"name": "PYTHONPATH", "value": str(_REPOSITORY)},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
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
            "terminationGracePeriodSeconds": config.grace_s,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "studies", "persistentVolumeClaim": {"claimName": config.claim}},
                {"name": "question", "configMap": {"name": name_of(submission)}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
            ],
        }
    }
