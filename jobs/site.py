"""Where a study runs when it is not here: site settings, from a space's `cluster` or a file of their own.

    cluster: our-lab                 # clusters/our-lab.yaml, beside the space's folder
    cluster: {slurm: {partition: gpu, time_limit: "04:00:00"}, usd_per_gpu_hour: 2.5}

One file may describe several ways to the same machines; `--submit` names the way.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.kubernetes.settings import KubernetesConfig
from jobs.ray_jobs.settings import RayConfig
from jobs.slurm.settings import SlurmConfig
from karat.errors import InputError, SettingError, nearest
from karat.settings import at_least, build
from karat.space.site import Machines
from karat.space.yaml_reader import read_yaml

FOLDER = "clusters"
TOLD = "KARAT_SITE"  # in a submitted launch's environment: the site as JSON, its prices alone
WAYS = ("slurm", "ray", "kubernetes")


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
