"""A site: the prices of its machines, and the settings of its backends for submitted studies.

    cluster: our-lab                 # clusters/our-lab.yaml, beside the space's folder
    cluster: {slurm: {partition: gpu, time_limit: "04:00:00"}, usd_per_gpu_hour: 2.5}

A backend is a kind of cluster (Slurm, a running Ray, Kubernetes). This module keeps its settings as
they were read; `jobs.site` knows the backends and checks the settings. One file may configure
several backends for the same machines: `--submit` selects one of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karat.errors import InputError, SettingError, nearest
from karat.settings import at_least, build
from karat.space.yaml_reader import read_yaml

FOLDER = "clusters"
PRICES = ("usd_per_gpu_hour", "usd_per_cpu_hour")
SITE_VARIABLE = "KARAT_SITE"  # environment variable of a submitted launch: the prices as JSON


@dataclass(frozen=True)
class Machines:
    """A number of identical machines, with the CPU cores and GPUs of each."""

    count: int
    cpus: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """Machines to which studies are submitted.

    Args:
        usd_per_gpu_hour: price of a GPU for an hour in US dollars, at least 0; None if unknown.
        usd_per_cpu_hour: price of a CPU core for an hour in US dollars, at least 0; None if unknown.
        backends: name of a backend to its settings, as they were read.
        place: source of the settings, for messages.
    """

    usd_per_gpu_hour: float | None = None
    usd_per_cpu_hour: float | None = None
    backends: Mapping[str, Any] = field(default_factory=dict)
    place: str = field(default="cluster", compare=False)

    def __post_init__(self) -> None:
        for key in PRICES:
            at_least(key, getattr(self, key), 0)

    @property
    def prices(self) -> dict[str, float]:
        """The known prices, by the name of their setting."""
        return {key: getattr(self, key) for key in PRICES if getattr(self, key) is not None}


def read_site(given: object, space_file: Path, place: str | None = None) -> Site:
    """The site of a space, from its key `cluster`: a mapping, or the name of a file in `clusters/`.

    Args:
        given: the value; None for a site without prices, with the defaults of every backend.
        space_file: path of the space; the folder `clusters` is in its folder or beside it.
        place: where the key stands, for messages.

    Raises:
        InputError: the file is missing, or a price is wrong.
    """
    if given is None:
        return Site()
    if isinstance(given, Mapping):
        return _site_of(given, f"{place or space_file}: cluster")
    if not isinstance(given, str):
        rule = "must be a name or a mapping"
        raise InputError(f"{place or space_file}: cluster = {given!r}: {rule}")
    path = _file_of(given, space_file, place or str(space_file))
    data = read_yaml(path).data
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: must contain `key: value` lines")
    return _site_of(data, str(path))


def _file_of(name: str, space_file: Path, place: str) -> Path:
    beside = space_file.resolve().parent
    folders = (beside / FOLDER, beside.parent / FOLDER)
    for folder in folders:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted(each.stem for folder in folders for each in folder.glob("*.yaml"))
    raise InputError(
        f"{place}: cluster = {name!r}: there is no {FOLDER}/{name}.yaml. {nearest(name, known)}"
    )


def site_from_environment(environment: Mapping[str, str]) -> Site | None:
    """The site in the environment of a submitted launch, which has no file of it; None if unset.

    Raises:
        InputError: the variable has another format.
    """
    given = environment.get(SITE_VARIABLE)
    if given is None:
        return None
    try:
        values = json.loads(given)
    except ValueError as error:
        raise InputError(f"{SITE_VARIABLE}: must be JSON ({error})") from error
    if not isinstance(values, Mapping):
        raise InputError(f"{SITE_VARIABLE} = {given!r}: must be a mapping")
    for key in values.keys() - set(PRICES):
        raise InputError(f"{SITE_VARIABLE}: cluster.{key}: unknown key. {nearest(key, PRICES)}")
    return _site_of(values, SITE_VARIABLE)


def _site_of(values: Mapping[str, Any], place: str) -> Site:
    prices = {key: value for key, value in values.items() if key in PRICES}
    backends = {key: value for key, value in values.items() if key not in PRICES}
    try:
        return build(Site, {**prices, "backends": backends, "place": place}, "cluster")
    except SettingError as error:
        raise InputError(f"{place}: {error}") from error
