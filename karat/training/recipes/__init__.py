"""Recipes: values of all training settings, one YAML file each; a search space may override any key."""

import functools
from pathlib import Path
from typing import Any

import yaml

from karat.errors import SettingError, nearest

__all__ = ["DEFAULT", "load_recipe", "recipe_names"]

DEFAULT = "quick"  # where a configuration names no recipe


@functools.cache
def recipe_names() -> tuple[str, ...]:
    """Names of the known recipes."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


def load_recipe(name: object) -> dict[str, Any]:
    """The settings of a recipe.

    Raises:
        SettingError: there is no recipe of that name.
    """
    if name not in recipe_names():
        raise SettingError("training.recipe", f"unknown. {nearest(name, recipe_names())}", name)
    return dict(_read(str(name)))


@functools.cache
def _read(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text())
    return settings
