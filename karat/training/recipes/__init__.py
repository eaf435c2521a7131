"""Recipes: values of all training settings, one YAML file each; a search space may override any key."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from karat.errors import SettingError, nearest

__all__ = ["DEFAULT", "load_recipe", "of_recipe", "recipe_names", "shortened", "with_recipe"]

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


def with_recipe(
    section: Mapping[str, Any], recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All settings of a section `training`: its own, and those that it leaves to its recipe.

    Two of the recipe's settings follow the section's: a learning rate that the section sets is as it stands,
    for every batch size; and a warm-up that would take more than half of the training is shortened.

    Args:
        section: the section; its key `recipe` is not among the settings.
        recipe: settings of its recipe, as a journal has them; None reads the recipe.

    Raises:
        SettingError: there is no recipe of that name.
    """
    own = dict(section)
    name = own.pop("recipe", DEFAULT)
    left = dict(load_recipe(name) if recipe is None else recipe)
    if "learning_rate" in own:
        left.pop("learning_rate_batch", None)
    if (warmup := shortened(own, left)) is not None:
        left["warmup_epochs"] = warmup
    return {**left, **own}


def shortened(own: Mapping[str, Any], recipe: Mapping[str, Any]) -> float | None:
    """The warm-up in epochs that a recipe's is shortened to: its share of the recipe's epochs; None if it is not.

    Args:
        own: the section `training`.
        recipe: settings of its recipe.
    """
    epochs, warmup = own.get("epochs"), recipe.get("warmup_epochs")
    # Types are checked later, and a range of epochs has none here.
    if "warmup_epochs" in own or not isinstance(epochs, int) or not warmup or epochs < 1:
        return None
    if 2 * warmup <= epochs:
        return None
    share: float = warmup / recipe["epochs"]
    return share * epochs


def of_recipe(error: SettingError, section: Mapping[str, Any]) -> SettingError:
    """An error about a section `training`, which names the recipe if the setting is the recipe's.

    Args:
        error: its key begins with `training.`.
        section: the section.
    """
    name, key = section.get("recipe", DEFAULT), error.key.partition(".")[2]
    if key in section or key not in load_recipe(name):
        return error
    rule = f"{error.rule}; it is the recipe's ({name}): set training.{key} too"
    return SettingError(error.key, rule, error.value)


@functools.cache
def _read(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text())
    return settings
