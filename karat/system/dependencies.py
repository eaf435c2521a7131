"""What karat needs of Python and of other packages, as its distribution declares it."""

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
        python: versions of Python.
        packages: what may be installed, by the package's name.
    """

    python: SpecifierSet
    packages: dict[str, SpecifierSet]


def declared() -> Dependencies:
    """From pyproject.toml beside the code, else from the metadata of what is installed.

    Raises:
        KaratError: there is neither.
    """
    project = tomllib.loads(PROJECT.read_text()).get("project", {}) if PROJECT.is_file() else {}
    if project.get("name") == DISTRIBUTION:  # and not of those into whose folder it was installed
        return _read(project["requires-python"], project["dependencies"])
    try:
        found = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise KaratError(
            f"neither {PROJECT} nor an installed {DISTRIBUTION} says what karat needs; "
            f"copy that file too, or install {DISTRIBUTION}"
        ) from error
    return _read(found["Requires-Python"], found.get_all("Requires-Dist") or ())


def _read(python: str, packages: Iterable[str]) -> Dependencies:
    needed = [each for each in map(Requirement, packages) if not _is_extra(each)]
    return Dependencies(SpecifierSet(python), {each.name: each.specifier for each in needed})


def _is_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
