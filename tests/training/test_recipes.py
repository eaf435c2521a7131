"""Every recipe in the folder is one that a trial can be trained by, and a shorter training is told of."""

import dataclasses
from pathlib import Path

import pytest

from karat.errors import SettingError
from karat.settings import fields_of
from karat.training import recipes
from karat.training.config import TrainingConfig, TrialConfig, training_of
from karat.training.recipes import load_recipe, recipe_names, shortened, with_recipe
from tests.conftest import ROOT

REQUIRED = {
    name
    for name, field in fields_of(TrainingConfig).items()
    if field.default is dataclasses.MISSING
}
# Table 5 of arXiv 2503.10632v3, for CIFAR-10.
TABLE_5 = {
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "adamw",
    "adam_eps": 1e-6,
    "weight_decay": 0.05,
    "clip_grad": 1.0,
    "schedule": "cosine",
    "warmup_epochs": 5,
    "warmup_learning_rate": 1e-6,
    "min_learning_rate": 1e-5,
    "ema_decay": 0.99992,
    "random_resized_crop": 0.08,
    "flip": 0.5,
    "color_jitter": 0.4,
    "rand_augment": "rand-m15-n2-mstd1.0-inc1",
    "label_smoothing": 0.1,
}


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_whole_and_right(name: str) -> None:
    config = TrialConfig.from_sections(
        {"data": {"name": "digits"}, "model": {}, "attention": {}, "training": {"recipe": name}}
    )
    settings = load_recipe(name)
    assert settings.keys() >= REQUIRED | {"workers"}
    assert settings.keys() <= fields_of(TrainingConfig).keys() - {"replicate"}
    assert all(getattr(config.training, key) == value for key, value in settings.items())


def test_quick_recipe_is_what_it_was_so_that_old_studies_go_on() -> None:
    assert load_recipe("quick") == {
        "epochs": 12,
        "batch_size": 64,
        "learning_rate": 0.003,
        "weight_decay": 0.05,
        "adam_eps": 1.0e-8,
        "clip_grad": 1.0,
        "label_smoothing": 0.1,
        "warmup_epochs": 1,
        "warmup_learning_rate": 1.0e-6,
        "min_learning_rate": 1.0e-5,
        "workers": 0,
    }


def test_paper_recipe_has_every_line_of_its_table() -> None:
    paper = training_of({"recipe": "paper"})
    assert {key: getattr(paper, key) for key in TABLE_5} == TABLE_5
    assert paper.peak_learning_rate == 5e-4 * 32 / 512
    assert training_of({"recipe": "paper", "batch_size": 128}).peak_learning_rate == 1.25e-4
    other = with_recipe({"recipe": "paper_convit_swin"})
    changed = {key for key, value in load_recipe("paper").items() if other[key] != value}
    assert changed == {"adam_eps", "rand_augment"}


def test_every_value_of_a_recipe_has_its_source_beside_it() -> None:
    folder = Path(recipes.__file__).parent
    for name in set(recipe_names()) - {"quick"}:
        lines = (folder / f"{name}.yaml").read_text().splitlines()
        bare = [each for each in lines if each[0] != "#" and "#" not in each]
        assert bare in (["workers: 0"], ["optimizer: adamw", "flip: 0.5", "workers: 0"]), name


def test_every_recipe_is_in_the_page_on_recipes() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text()
    assert all(f"| `{name}` |" in page for name in recipe_names())


@pytest.mark.parametrize("name", ["quik", "../quick", None, 3])
def test_unknown_recipe_lists_the_known_ones(name: object) -> None:
    with pytest.raises(SettingError, match=r"Known: .*quick"):
        load_recipe(name)


def test_warm_up_of_a_recipe_is_shortened_in_proportion_where_it_would_be_most_of_the_training() -> (
    None
):
    assert training_of({"epochs": 1}).warmup_epochs == 1 / 12
    assert training_of({"recipe": "paper", "epochs": 5}).warmup_epochs == 0.25
    for kept in ({"epochs": 2}, {"epochs": 60}, {}, {"epochs": 3, "warmup_epochs": 2}):
        assert training_of(kept).warmup_epochs == kept.get("warmup_epochs", 1)
    assert shortened({"epochs": 1}, load_recipe("quick")) == 1 / 12
    assert shortened({"epochs": None}, load_recipe("quick")) is None  # a factor, or tuned


def test_warm_up_of_ones_own_is_not_shortened_but_refused() -> None:
    with pytest.raises(SettingError, match=r"warmup_epochs = 1: must be below epochs, 1$"):
        training_of({"epochs": 1, "warmup_epochs": 1})


def test_error_about_a_setting_that_the_user_did_not_write_names_the_recipe() -> None:
    with pytest.raises(
        SettingError,
        match=r"training\.min_learning_rate = 1e-05: .*it is the recipe's \(paper\): set training\.min",
    ):
        training_of({"recipe": "paper", "learning_rate": 2e-6})
