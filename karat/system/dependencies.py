"""The versions of Python and of other packages that karat's distribution declares."""

import importlib.metadata
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from karat.errors import KaratError
from karat.system.paths import CODE

DISTRIBUTION = "karat-attention"
PROJECT = CODE / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Versions that karat is tested with.

    Args:
        python: allowed versions of Python.
        packages: name of a package to its allowed versions.
    """

    python: SpecifierSet
    packages: dict[str, SpecifierSet]


def declared() -> Dependencies:
    """From the `pyproject.toml` of a checkout, otherwise from the metadata of the installed package.

    Raises:
        KaratError: both are missing.
    """
    project = tomllib.loads(PROJECT.read_text()).get("project", {}) if PROJECT.is_file() else {}
    # `pip install --target` can place karat beside the pyproject.toml of another project.
    if project.get("name") == DISTRIBUTION:
        return _read(project["requires-python"], project["dependencies"])
    try:
        found = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise KaratError(
            f"the versions that karat needs are unknown: {PROJECT} is missing and "
            f"{DISTRIBUTION} is not installed; copy that file, or install {DISTRIBUTION}"
        ) from error
    return _read(found["Requires-Python"], found.get_all("Requires-Dist") or ())


def _read(python: str, packages: Iterable[str]) -> Dependencies:
    needed = [each for each in map(Requirement, packages) if not _is_extra(each)]
    return Dependencies(SpecifierSet(python), {each.name: each.specifier for each in needed})


def _is_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
