"""Settings of augmentation: without one nothing changes, and what is written is what is meant."""

import pytest

from karat.errors import CombinationError, SettingError
from karat.settings import fields_of
from karat.training.augmentation.settings import AugmentationConfig, RandAugmentStrength
from tests.training.test_trainer import config


def test_without_a_setting_no_image_is_changed() -> None:
    none = AugmentationConfig()
    assert not none.changes_images
    assert not none.mixes_images
    training = config().training
    assert not training.changes_images
    assert not training.mixes_images


def test_augmentation_that_could_not_be_applied_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the normalisation, operations on pixels cannot be made; they are not left out in silence."""
    wanted = config(training={"flip": 0.5})
    wanted.check()
    monkeypatch.setattr(type(wanted.data), "preprocessing", lambda _: None)
    with pytest.raises(CombinationError, match=r"training.flip: cannot be applied") as caught:
        wanted.check()
    assert caught.value.keys == ("training.flip",)
    config(training={"random_erasing": 0.5}).check()


def test_the_papers_notation_is_read() -> None:
    assert RandAugmentStrength.read("rand-m15-n2-mstd1.0-inc1") == RandAugmentStrength(
        magnitude=15, layers=2, spread=1.0, increasing=True
    )
    assert RandAugmentStrength.read("none") is None
    assert RandAugmentStrength.read("rand") == RandAugmentStrength()


@pytest.mark.parametrize(
    "text", ["rand-m9-x2", "m9", "rand-m9-m10", "rand-n0", "rand-n1.5", "rand-p2", "rand-inc2", ""]
)
def test_notation_that_is_not_timms_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"training.rand_augment"):
        config(training={"rand_augment": text})


@pytest.mark.parametrize("key", sorted(fields_of(AugmentationConfig)))
def test_values_out_of_range_are_refused_by_name(key: str) -> None:
    value = "rand-m9-n99" if key == "rand_augment" else -1
    with pytest.raises(SettingError, match=f"training.{key}"):
        config(training={key: value})
