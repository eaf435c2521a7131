"""What preparing the images of a step adds to the forecast of an epoch without a probe."""

from dataclasses import replace
from typing import Any

import pytest

from karat.datasets import CORRUPTIONS
from karat.forecast.speed.epochs import EpochCosts
from karat.forecast.speed.image_costs import ImageCost, ImageCosts, corruption_of
from karat.training.augmentation.settings import SETTINGS
from karat.training.config import TrialConfig

COSTS = EpochCosts.read()
SET: dict[str, Any] = {
    **dict.fromkeys(("random_resized_crop", "flip", "color_jitter", "random_erasing"), 0.5),
    "padded_crop": 4,
    "rand_augment": "rand-m9-n2",
    "mixup": 0.8,
    "cutmix": 1.0,
    "drop_path": 0.1,
}


def config_of(**training: Any) -> TrialConfig:
    return TrialConfig.from_sections(
        {
            "data": {"name": "fake", "train_images": 1280, "image_size": 32},
            "model": {"name": "vit_micro", "patch_size": 8},
            "attention": {"basis": "softmax"},
            "training": {"recipe": "quick", **training},
        }
    )


def epoch_s(**training: Any) -> float:
    return COSTS.epoch_s(config_of(**training), COSTS.speed)


def test_every_augmentation_is_among_those_tested() -> None:
    assert set(SETTINGS) < set(SET)


def test_every_corruption_has_its_cost() -> None:
    assert set(map(corruption_of, CORRUPTIONS)) <= COSTS.images.costs.keys()


@pytest.mark.parametrize("name", SET)
def test_what_is_done_to_images_makes_an_epoch_longer(name: str) -> None:
    assert epoch_s(**{name: SET[name]}) > epoch_s()


def test_an_epoch_takes_longer_with_more_operations_of_rand_augment() -> None:
    assert epoch_s(rand_augment="rand-m9-n4") > epoch_s(rand_augment="rand-m9-n2")


def test_mixup_and_cutmix_together_are_one_operation() -> None:
    assert epoch_s(mixup=0.8, cutmix=1.0) == epoch_s(mixup=0.8)


def test_a_slower_machine_takes_as_much_longer_for_images_and_cores_share_them() -> None:
    config = config_of(**SET)
    batch, images = config.training.batch_size, COSTS.images
    slow = replace(images.speed, rounds_per_s=images.speed.rounds_per_s / 3)
    once = images.step_s(config, batch, images.speed)
    assert images.step_s(config, batch, slow) == pytest.approx(3 * once)
    assert images.step_s(config, batch, images.speed, threads=2) == pytest.approx(once / 2)


def test_an_entry_counts_calls_images_and_their_numbers() -> None:
    cost = ImageCost(call_s=1.0, image_s=0.1, number_s=0.01)
    assert cost.seconds(10, 5) == pytest.approx(1 + 1 + 0.5)
    assert ImageCosts.read().costs.keys() >= config_of(**SET).training.work().keys()
