"""Where a study runs when it is not here: site settings, from a space's `cluster` or a file of their own.

    cluster: our-lab                 # clusters/our-lab.yaml, beside the space's folder
    cluster: {slurm: {partition: gpu, time_limit: "04:00:00"}, usd_per_gpu_hour: 2.5}

One file may describe several ways to the same machines; `--submit` names the way.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.errors import InputError, SettingError, nearest
from karat.settings import above, at_least, build
from karat.yamlfile import read_yaml

FOLDER = "clusters"
TOLD = "KARAT_SITE"  # in a submitted launch's environment: the site as JSON, its prices alone
WAYS = ("slurm", "ray", "kubernetes")
_WORD = re.compile(r"[\w.,:&|()\[\]*@+-]+", re.ASCII)
_TIME = re.compile(r"(\d+-)?\d{1,2}:\d{2}:\d{2}")


@dataclass(frozen=True, kw_only=True)
class SlurmConfig:
    """One Slurm job that holds the whole study.

    Args:
        partition, account, qos, constraint: as `sbatch` takes them; left out where None.
        nodes: machines of the job.
        cpus_per_node: CPU cores on each; also Ray's.
        gpus_per_node: GPUs on each; also Ray's.
        memory_gb: of each node, in units of 10^9 bytes; None leaves it to the site.
        time_limit: `HH:MM:SS` or `D-HH:MM:SS`, after which the job is requeued and goes on.
        notice_s: how long before that running trials are told to write checkpoints.
        array: so many short jobs, one after the other, in place of requeueing; None for one job.
        modules: to be loaded by `module load`.
        setup: lines of shell that are run first on every node.
        image: of Apptainer, in which everything runs; None for none.
        wait_minutes: how long a slow node is waited for.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    cpus_per_node: int = 4
    gpus_per_node: int = 0
    memory_gb: float | None = None
    time_limit: str = "04:00:00"
    notice_s: int = 300
    array: int | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    image: str | None = None
    wait_minutes: float = 10

    def __post_init__(self) -> None:
        at_least("nodes", self.nodes, 1)
        at_least("cpus_per_node", self.cpus_per_node, 1)
        at_least("gpus_per_node", self.gpus_per_node, 0)
        above("memory_gb", self.memory_gb, 0)
        above("wait_minutes", self.wait_minutes, 0)
        at_least("notice_s", self.notice_s, 30)
        at_least("array", self.array, 1)
        for key in ("partition", "account", "qos", "constraint"):
            if not _WORD.fullmatch(getattr(self, key) or "none"):
                raise SettingError(key, "must be one word", getattr(self, key))
        if not _TIME.fullmatch(self.time_limit):
            raise SettingError("time_limit", "must be HH:MM:SS or D-HH:MM:SS", self.time_limit)
        if self.time_limit_s <= self.notice_s:
            rule = f"must be more than notice_s, {self.notice_s} seconds"
            raise SettingError("time_limit", rule, self.time_limit)

    @property
    def time_limit_s(self) -> int:
        """The time limit in seconds."""
        days, _, rest = self.time_limit.rpartition("-")
        hours, minutes, seconds = map(int, rest.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """A running Ray cluster, reached by its Jobs API; the token comes from `RAY_AUTH_TOKEN`.

    Args:
        address: of the dashboard (`http://127.0.0.1:8265`).
        storage: folder of all studies, as every node sees it.
        largest_upload_mb: of the working directory, in units of 10^6 bytes.
    """

    address: str = "http://127.0.0.1:8265"
    storage: str | None = None
    largest_upload_mb: float = 50

    def __post_init__(self) -> None:
        above("largest_upload_mb", self.largest_upload_mb, 0)


@dataclass(frozen=True, kw_only=True)
class KubernetesConfig:
    """A `RayJob` for KubeRay.

    Args:
        namespace: where the job is made.
        image: with karat in it.
        claim: the persistent volume claim that holds the studies, as /studies.
        secret: whose keys become the environment (tracking credentials); None for none.
        workers: of the worker group, when it is made.
        most_workers: to which it is scaled up.
        cpus, gpus, memory_gb: of each worker.
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


@dataclass(frozen=True)
class Machines:
    """So many alike, with so many CPU cores and GPUs each."""

    count: int
    cpus: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """A site: its ways of submission, each left out where there is none, and its prices."""

    slurm: SlurmConfig | None = None
    ray: RayConfig | None = None
    kubernetes: KubernetesConfig | None = None
    usd_per_gpu_hour: float | None = None
    usd_per_cpu_hour: float | None = None

    @property
    def machines(self) -> dict[str, Machines]:
        """What a study would have, by way; a running Ray cluster would have to be asked."""
        found = {}
        if (at := self.slurm) is not None:
            found["slurm"] = Machines(at.nodes, at.cpus_per_node, at.gpus_per_node)
        if (of := self.kubernetes) is not None:
            found["kubernetes"] = Machines(of.most_workers, of.cpus, of.gpus)
        return found

    @property
    def prices(self) -> dict[str, float]:
        """Those that are known, by their settings."""
        keys = ("usd_per_gpu_hour", "usd_per_cpu_hour")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}

    def __post_init__(self) -> None:
        at_least("usd_per_gpu_hour", self.usd_per_gpu_hour, 0)
        at_least("usd_per_cpu_hour", self.usd_per_cpu_hour, 0)


_SETTINGS = {"slurm": SlurmConfig, "ray": RayConfig, "kubernetes": KubernetesConfig}


def cluster_of(given: object, space_file: Path) -> ClusterConfig:
    """The site that a space's `cluster` means: a mapping, or the name of a file in `clusters/`.

    Args:
        given: the value; None for a site with all defaults.
        space_file: the space's path; the folder `clusters` stands in its folder or beside it.

    Raises:
        InputError: no such file, or a wrong setting in it; with its place.
    """
    if given is None:
        return ClusterConfig()
    if isinstance(given, Mapping):
        return _checked(given, f"{space_file}: cluster")
    if not isinstance(given, str):
        raise InputError(f"{space_file}: cluster = {given!r}: must be a name or a mapping")
    beside = space_file.resolve().parent
    folders = (beside / FOLDER, beside.parent / FOLDER)
    path = next((f / f"{given}.yaml" for f in folders if (f / f"{given}.yaml").is_file()), None)
    if path is None:
        known = sorted(each.stem for folder in folders for each in folder.glob("*.yaml"))
        raise InputError(
            f"{space_file}: cluster = {given!r}: there is no {FOLDER}/{given}.yaml. "
            f"{nearest(given, known)}"
        )
    data = read_yaml(path).data
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: must hold `key: value` lines")
    return _checked(data, str(path))


def told_site(environment: Mapping[str, str]) -> ClusterConfig | None:
    """The site that a submitted launch was told of, where no file describes it; None for none.

    Raises:
        InputError: what it was told is no site.
    """
    given = environment.get(TOLD)
    if given is None:
        return None
    try:
        values = json.loads(given)
    except ValueError as error:
        raise InputError(f"{TOLD}: must be JSON ({error})") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{TOLD} = {given!r}: must be a mapping")
    return _checked(values, TOLD)


def _checked(values: Mapping[str, Any], place: str) -> ClusterConfig:
    settings = dict(values)
    try:
        for way, kind in _SETTINGS.items():
            if settings.get(way) is not None:
                if not isinstance(settings[way], Mapping):
                    raise SettingError(way, "must hold `key: value` lines", settings[way])
                settings[way] = build(kind, settings[way], way)
        return build(ClusterConfig, settings, "cluster")
    except SettingError as error:
        raise InputError(f"{place}: {error}") from error
