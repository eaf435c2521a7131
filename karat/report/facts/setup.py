"""How the trials of a study were trained: what a reader needs to repeat them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.journal.state import StudyState

SECTIONS = ("data", "model", "attention", "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings that all trials share, with the values that a recipe gives.

    Args:
        settings: full name to value: `data`, `model`, `attention` and `training`, without what is a
            factor or tuned.
        recipes: names of recipes; their settings are among the others where there is one recipe and
            the journal has it.
        ranges: tuned parameter to its range or values, as the space has them.
        factors: full name to its levels.
        images: number in each split; empty where the journal does not say.
        contents: of the data set, as its check has found them; empty where the journal does not say.
        steps: of an epoch; None where that is not known, or not the same for all.
    """

    settings: Mapping[str, Any]
    recipes: tuple[str, ...]
    ranges: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, Any]
    images: Mapping[str, int]
    contents: Mapping[str, Any]
    steps: int | None


def setup_of(state: StudyState) -> Setup:
    """What the journal says of it."""
    space: Mapping[str, Any] = state.created["space"]
    recipes: Mapping[str, Mapping[str, Any]] = state.created.get("recipes", {})
    factors, ranges = space.get("factors", {}), space.get("tuned", {})
    settings = {
        f"{section}.{key}": value
        for section in SECTIONS
        for key, value in (space.get(section) or {}).items()
        if key != "recipe"
    }
    if len(recipes) == 1:
        [recipe] = recipes.values()
        settings |= {
            f"training.{key}": value
            for key, value in recipe.items()
            if f"training.{key}" not in settings
        }
    settings = {key: settings[key] for key in settings if key not in {*factors, *ranges}}
    batch, train = settings.get("training.batch_size"), state.images.get("train")
    return Setup(
        settings=settings,
        recipes=tuple(recipes),
        ranges=ranges,
        factors={
            key: of.get("values", of) if isinstance(of, Mapping) else of
            for key, of in factors.items()
        },
        images=state.images,
        contents=state.created["data"].get("contents", {}),
        steps=train // min(batch, train) if isinstance(batch, int) and train else None,
    )
