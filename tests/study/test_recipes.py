"""A study writes its recipes down, and goes on only with the same ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.errors import InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.settings import fields_of
from karat.space import space as spaces
from karat.space.reader import load_space
from karat.study.description import changed_recipes
from karat.training import recipes
from karat.training.augmentation.settings import AugmentationConfig
from karat.training.config import TrainingConfig, TrialConfig
from karat.training.recipes import load_recipe
from karat.training.steps.config import StepConfig
from karat.training.watching.config import WatchConfig
from tests.driven import go, without_ray
from tests.planning.test_extension import state_of
from tests.studies import rewrite

WriteSpace = Callable[..., Path]
__all__ = ["without_ray"]  # a fixture
pytestmark = pytest.mark.usefixtures("without_ray")


@pytest.fixture
def use_recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes the recipe `quick`, as another version of karat may do."""
    now = load_recipe("quick")

    def use(**changes: Any) -> None:
        for module in (recipes, spaces):
            monkeypatch.setattr(module, "load_recipe", lambda _: {**now, **changes})

    return use


def test_journal_has_every_training_setting_of_its_recipe(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space()
    go(space, tmp_path)
    state = state_of(tmp_path)
    [(name, written)] = state.created["recipes"].items()
    assert name == "quick"
    assert written == load_recipe("quick")
    optional = {
        "replicate",
        *fields_of(AugmentationConfig),
        *fields_of(StepConfig),
        *fields_of(WatchConfig),
    }  # which the recipe leaves out
    assert written.keys() == set(TrainingConfig.__dataclass_fields__) - optional
    # With the settings of the trial these are all that it was trained by.
    trial = state.trials[0]
    given = {key: value for key, value in trial.config["training"].items() if key != "recipe"}
    used = TrialConfig.from_sections(trial.config).training
    assert TrainingConfig(**{**written, **given}) == used


def test_changed_recipe_is_refused_by_name_when_a_study_goes_on(
    write_space: WriteSpace, tmp_path: Path, use_recipe: Callable[..., None]
) -> None:
    space = write_space()
    assert go(space, tmp_path, steps=5) == 75
    before = (tmp_path / "small" / JOURNAL).read_bytes()
    use_recipe(weight_decay=0.1, clip_grad=2.0)
    with pytest.raises(InputError) as refused:
        go(space, tmp_path)
    said = str(refused.value)
    assert "recipe quick: weight_decay was 0.05 when the study began, is 0.1 now" in said
    assert "recipe quick: clip_grad was 1.0 when the study began, is 2.0 now" in said
    assert "choose another --name, or rename the older study with --fresh" in said
    assert (tmp_path / "small" / JOURNAL).read_bytes() == before
    use_recipe()
    assert go(space, tmp_path) == 0


def test_changed_setting_that_the_space_replaces_is_no_obstacle(
    write_space: WriteSpace, tmp_path: Path, use_recipe: Callable[..., None]
) -> None:
    space = write_space()
    assert go(space, tmp_path, steps=5) == 75
    use_recipe(epochs=99, batch_size=7, learning_rate=0.5)  # fixed in the space, or tuned
    assert go(space, tmp_path) == 0


def test_finished_study_is_shown_but_not_extended_by_another_recipe(
    write_space: WriteSpace, tmp_path: Path, use_recipe: Callable[..., None]
) -> None:
    space = write_space()
    assert go(space, tmp_path) == 0
    use_recipe(weight_decay=0.1)
    assert go(space, tmp_path) == 0
    with pytest.raises(InputError, match=r"weight_decay was 0\.05"):
        go(space, tmp_path, "trials=+2")


def test_setting_that_a_recipe_lost_is_named(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(write_space(), tmp_path, steps=1)
    folder = tmp_path / "small"

    def with_more(event: Any) -> dict[str, Any]:
        if event.kind != "study_created":
            return dict(event.data)
        return {**event.data, "recipes": {"quick": {**event.data["recipes"]["quick"], "mixup": 1}}}

    rewrite(folder, with_more)
    assert changed_recipes(state_of(tmp_path), load_space(write_space())) == [
        "recipe quick: mixup was 1 when the study began, is gone now"
    ]


def test_study_that_did_not_write_its_recipes_goes_on(
    write_space: WriteSpace, tmp_path: Path, use_recipe: Callable[..., None]
) -> None:
    space = write_space()
    assert go(space, tmp_path, steps=5) == 75
    rewrite(
        tmp_path / "small",
        lambda event: {key: value for key, value in event.data.items() if key != "recipes"},
    )
    use_recipe(weight_decay=0.1)
    assert go(space, tmp_path) == 0
    assert "recipes" not in next(iter(read_events(tmp_path / "small" / JOURNAL))).data


def test_hash_of_a_space_depends_on_the_settings_that_are_left_to_its_recipe(
    write_space: WriteSpace, use_recipe: Callable[..., None]
) -> None:
    space = load_space(write_space())
    before = space.hash
    use_recipe(epochs=99)
    assert space.hash == before
    use_recipe(weight_decay=0.1)
    assert space.hash != before
