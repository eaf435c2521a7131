"""Every recipe in the folder is one that a trial can be trained by."""

import pytest

from karat.errors import SettingError
from karat.settings import fields_of
from karat.training.augmentation.settings import AugmentationConfig
from karat.training.config import TrainingConfig, TrialConfig
from karat.training.recipes import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_is_whole_and_right(name: str) -> None:
    config = TrialConfig.from_sections(
        {"data": {"name": "digits"}, "model": {}, "attention": {}, "training": {"recipe": name}}
    )
    settings = load_recipe(name)
    required = fields_of(TrainingConfig).keys() - fields_of(AugmentationConfig) - {"replicate"}
    assert required <= settings.keys() <= fields_of(TrainingConfig).keys() - {"replicate"}
    assert all(getattr(config.training, key) == value for key, value in settings.items())


@pytest.mark.parametrize("name", ["quik", "../quick", None, 3])
def test_unknown_recipe_lists_the_known_ones(name: object) -> None:
    with pytest.raises(SettingError, match=r"Known: .*quick"):
        load_recipe(name)
