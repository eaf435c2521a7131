"""How the trials of a study were trained: what a reader needs to repeat them."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from karat.journal.state import StudyState
from karat.training.recipes import shortened, with_recipe

SECTIONS = ("data", "model", "attention", "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How long training steps waited for their images, in the first epoch of each trial.

    Args:
        trials: that told it.
        step_s, data_s: medians over them, of the mean seconds of a step, and of waiting for its images.
        map_bytes: of the decoded images that the trials of a node share; 0 for none.
    """

    trials: int
    step_s: float
    data_s: float
    map_bytes: int


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
        images: number in each split; empty where the journal does not say, or for several data sets.
        contents: of the data set, as its check has found them; empty where the journal does not say.
        steps: of an epoch; None where that is not known, or not the same for all.
        weights: that arms started from, as the journal has them (`karat.study.initial.weights`); empty where all
            were drawn.
        computed: the ways in which the steps of trials were computed (precision, optimiser, backend of softmax
            attention, ...), each once; without measured times. Empty where the journal does not say.
        warmup: epochs of warm-up of the recipe, where the training's is shorter for want of epochs, else None.
        loading: None where no trial told it.
    """

    settings: Mapping[str, Any]
    recipes: tuple[str, ...]
    ranges: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, Any]
    images: Mapping[str, int]
    contents: Mapping[str, Any]
    steps: int | None
    computed: tuple[Mapping[str, Any], ...] = ()
    warmup: float | None = None
    loading: Loading | None
    weights: tuple[Mapping[str, Any], ...] = ()


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
    warmup = None
    if len(recipes) == 1:
        [recipe] = recipes.values()
        varied = {name.removeprefix("training.") for name in (*factors, *ranges)}
        own = {**dict.fromkeys(varied), **(space.get("training") or {})}
        used = with_recipe(own, recipe)
        warmup = recipe["warmup_epochs"] if shortened(own, recipe) is not None else None
        settings |= {f"training.{key}": used[key] for key in recipe if key in used}
    settings = {key: settings[key] for key in settings if key not in {*factors, *ranges}}
    # The journal counts the images of one data set, and a report must not say them of others.
    has_sets = "sets" in state.created["data"]
    batch = settings.get("training.batch_size")
    train = None if has_sets else state.images.get("train")
    return Setup(
        settings=settings,
        recipes=tuple(recipes),
        ranges=ranges,
        factors={
            key: of.get("values", of) if isinstance(of, Mapping) else of
            for key, of in factors.items()
        },
        images={} if has_sets else state.images,
        weights=tuple(state.created.get("weights", ())),
        computed=_computed(state),
        warmup=warmup,
        loading=_loading_of(state),
        contents={} if has_sets else state.created["data"].get("contents", {}),
        steps=train // min(batch, train) if isinstance(batch, int) and train else None,
    )


def _computed(state: StudyState) -> tuple[Mapping[str, Any], ...]:
    """The ways in which steps were computed, each once; without times, which differ between trials."""
    found: list[Mapping[str, Any]] = []
    for trial in state.trials.values():
        way = {key: value for key, value in (trial.computed or {}).items() if key != "softmax_ms"}
        if way and way not in found:
            found.append(way)
    return tuple(found)


def _loading_of(state: StudyState) -> Loading | None:
    told = [trial.loading for trial in state.trials.values() if trial.loading]
    timed = [each for each in told if "step_s" in each]
    if not timed:
        return None
    return Loading(
        trials=len(timed),
        step_s=median(each["step_s"] for each in timed),
        data_s=median(each["data_s"] for each in timed),
        map_bytes=int(max(each.get("map_bytes", 0) for each in told)),
    )
