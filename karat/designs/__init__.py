"""Designs: which combinations of factor levels a study runs. One file each, registered in `DESIGNS` by file name."""

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from karat.catalog import Catalog
from karat.designs._crossing import Crossing, Levels, distinct, written
from karat.errors import SettingError, nearest
from karat.settings import build, fields_of, unknown_key

__all__ = [
    "DEFAULT",
    "DESIGNS",
    "Crossing",
    "Design",
    "Levels",
    "design_of",
    "distinct",
    "settings_of",
    "written",
]

DEFAULT, NAME = "search", "name"


@dataclass(frozen=True, kw_only=True)
class Design(abc.ABC):
    """A function of the factors, their conditions and the reference to the combinations that become arms.

    Exclusions, and rules that combinations break, are applied to what it returns, so that a design names what it
    would run and never asks whether that can run. A setting is a field of the class, checked in `__post_init__`.
    """

    # Whether every arm is confirmed for itself; else `confirm.by` may name a factor.
    confirms_every_arm: ClassVar[bool] = True
    # Whether the search is the grid of the tuned values, each trained once at full length.
    trains_each_cell: ClassVar[bool] = False
    # Whether a combination that cannot run spoils the design, so that it is refused.
    needs_all: ClassVar[bool] = False
    # Whether the report gives effects of factors over all arms, from two-level contrasts.
    has_effects: ClassVar[bool] = False

    @abc.abstractmethod
    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        """The combinations, each once, with the factors that exist in it, in the order of the file.

        Raises:
            SettingError: the design cannot be made of these factors; says what would be right.
        """

    def largest(self, crossing: Crossing) -> int:
        """How many combinations there are at most, known without making them."""
        return crossing.largest

    def reference(self, crossing: Crossing) -> Levels | None:
        """The combination that others are compared with; None where the space's `reference` says it alone."""
        return None

    @abc.abstractmethod
    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        """What is run and what it can show, for the plan; the first line without the name."""

    @property
    def name(self) -> str:
        """The name in a space."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def stopping(self) -> Mapping[str, str] | None:
        """The early stopping of a space that names none; None where its own default holds."""
        return {"scheduler": "none"} if self.trains_each_cell else None

    def __str__(self) -> str:
        own = {key: getattr(self, key) for key in fields_of(type(self))}
        told = ", ".join(f"{key} {value}" for key, value in own.items() if value is not None)
        return f"{self.name} ({told})" if told else self.name


DESIGNS = Catalog(Design, "design")  # type: ignore[type-abstract]


def settings_of(name: str) -> tuple[str, ...]:
    """The settings of a design beside its name."""
    return tuple(fields_of(DESIGNS[name]))


def design_of(given: Any) -> Design:
    """The design of a space.

    Args:
        given: the value of `design`: a name, or a mapping with `name` and settings; None for the default.

    Raises:
        SettingError: the name or a setting is unknown or wrong.
    """
    values = {NAME: given} if isinstance(given, str) else given
    if values is None:
        values = {NAME: DEFAULT}
    if not isinstance(values, Mapping):
        raise SettingError("design", f"must be the name of a design. {nearest('', DESIGNS)}", given)
    settings = dict(values)
    name = settings.pop(NAME, None)
    if not isinstance(name, str):
        rule = f"must be the name of a design. {nearest('', DESIGNS)}"
        raise SettingError(f"design.{NAME}", rule, *(() if name is None else (name,)))
    known = settings_of(name)
    for key in settings:
        if key not in known:
            if not known:
                rule = f"does not exist: design {name} has no settings beside its name"
                raise SettingError(f"design.{key}", rule, settings[key])
            raise unknown_key(f"design.{key}", (NAME, *known))
    return build(DESIGNS[name], settings, "design")
