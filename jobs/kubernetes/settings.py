"""The settings of a Kubernetes cluster (`kubernetes:` in a file of `clusters/`)."""

from dataclasses import dataclass

from karat.errors import SettingError
from karat.settings import above, at_least


@dataclass(frozen=True, kw_only=True)
class KubernetesSettings:
    """A `RayJob` for KubeRay.

    Args:
        namespace: where the job is made.
        image: with karat in it.
        claim: the persistent volume claim that holds the studies, as /studies.
        secret: whose keys become the environment (tracking credentials); None for none.
        workers: of the worker group, when it is made.
        most_workers: to which it is scaled up.
        cpus, gpus, memory_gb: of each worker; memory in units of 10^9 bytes.
        grace_s: seconds to write checkpoints before a pod is killed.
        retries: of the whole job, after a crash or with its head lost.
    """

    namespace: str = "default"
    image: str
    claim: str
    secret: str | None = None
    workers: int = 1
    most_workers: int = 4
    cpus: int = 4
    gpus: int = 0
    memory_gb: float = 16
    grace_s: int = 120
    retries: int = 3

    def __post_init__(self) -> None:
        for key in ("workers", "most_workers", "cpus", "grace_s"):
            at_least(key, getattr(self, key), 1)
        at_least("gpus", self.gpus, 0)
        at_least("retries", self.retries, 0)
        above("memory_gb", self.memory_gb, 0)
        if self.most_workers < self.workers:
            raise SettingError("most_workers", f"must be at least workers, {self.workers}")
