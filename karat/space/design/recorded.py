"""The design of a study, from its journal alone."""

from collections.abc import Mapping
from typing import Any

from karat.designs import Crossing, Design, design_of
from karat.parameters import Factor, level_of
from karat.space.space import SECTIONS


def recorded_design(source: Mapping[str, Any]) -> tuple[Design, Crossing]:
    """The design in a space's data, which was checked, and its factors without conditions.

    Conditions that follow from mechanism and basis are not looked up: what a report asks of the factors is asked of designs
    that have none.
    """
    factors = {
        key: Factor(name=key, values=tuple(map(level_of, _values(given))), when={})
        for key, given in source["factors"].items()
    }
    return design_of(source.get("design")), Crossing.of(source, factors, SECTIONS)


def _values(given: Any) -> list[Any]:
    found: list[Any] = given["values"] if isinstance(given, Mapping) else given
    return found
