"""What happens to an image follows from seed, epoch and index alone, and has the distribution that is documented."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from karat.datasets import Preprocessing
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.mixing import Mixing
from karat.training.augmentation.padded_crop import shifts_of
from karat.training.augmentation.pipeline import Augmentation
from karat.training.augmentation.rand_augment import OPERATIONS, layers_of
from karat.training.augmentation.random_erasing import erased_boxes, random_erasing
from karat.training.augmentation.resized_crop import crop_boxes
from karat.training.augmentation.settings import AugmentationConfig, RandAugmentStrength
from karat.training.loading.pixels import Pixels

ONE_BY_ONE: dict[str, Any] = {
    "random_resized_crop": 0.2,
    "padded_crop": 4,
    "flip": 0.5,
    "rand_augment": "rand-m9-n2-mstd0.5-inc1",
    "color_jitter": 0.4,
    "random_erasing": 0.5,
}
STEPS = Preprocessing(size=16, resize=16, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
PIXELS = Pixels(STEPS)


def stored(count: int = 24, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, channels, 16, 16), dtype=torch.uint8, generator=generator)


def augment(indices: Tensor, seed: int = 1, epoch: int = 0, **settings: Any) -> Tensor:
    augmentation = Augmentation(AugmentationConfig(**(settings or ONE_BY_ONE)), PIXELS)
    return augmentation(stored()[indices], Draws(seed, epoch, indices))


@pytest.mark.parametrize("key", [*ONE_BY_ONE, "all"])
def test_an_image_is_changed_alike_in_every_batch(key: str) -> None:
    settings = ONE_BY_ONE if key == "all" else {key: ONE_BY_ONE[key]}
    everything = torch.arange(24)
    whole = augment(everything, **settings)
    assert not torch.equal(whole, PIXELS.to_input(stored()))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    for size in (1, 5, 24):
        for part in order.split(size):
            torch.testing.assert_close(augment(part, **settings), whole[part], rtol=0, atol=1e-5)


def test_the_same_batch_is_changed_alike_to_the_last_bit_and_others_in_other_epochs() -> None:
    indices = torch.arange(24)
    assert torch.equal(augment(indices), augment(indices))
    for seed, epoch in ((1, 1), (2, 0)):
        assert not torch.equal(augment(indices), augment(indices, seed, epoch))


def test_changing_draws_nothing_from_torchs_generator() -> None:
    before = torch.get_rng_state()
    augment(torch.arange(24))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("key", ONE_BY_ONE)
def test_grey_images_can_be_augmented(key: str) -> None:
    steps = Preprocessing(size=16, resize=16, mean=(0.5,), std=(0.5,))
    augmentation = Augmentation(AugmentationConfig(**{key: ONE_BY_ONE[key]}), Pixels(steps))
    images = Pixels(steps).to_input(stored(channels=1))
    found = augmentation(images, Draws(1, 0, torch.arange(24)))
    assert found.shape == images.shape
    assert found.isfinite().all()


def test_operations_are_drawn_equally_often_and_half_of_them_applied() -> None:
    draws = Draws(1, 0, torch.arange(6000))
    strength = RandAugmentStrength.read("rand-m15-n2-mstd1.0-inc1")
    assert strength is not None
    for layer in layers_of(draws, strength):
        counts = torch.bincount(layer.operations + 1, minlength=1 + len(OPERATIONS))
        assert abs(counts[0] / 6000 - 0.5) < 0.03
        assert (counts[1:] / 3000 - 1 / len(OPERATIONS)).abs().max() < 0.02
        assert (layer.magnitudes == 10).float().mean() > 0.99  # timm's limit
        assert abs(layer.signs.mean()) < 0.05


def test_crops_lie_within_the_image_and_keep_share_and_ratio() -> None:
    draws = Draws(1, 0, torch.arange(3000))
    heights, widths = torch.full((3000,), 40.0), torch.full((3000,), 60.0)
    tops, lefts, tall, wide = crop_boxes(draws, heights, widths, 0.08).T
    assert tops.min() == lefts.min() == 0
    assert (tops + tall).max() == 40
    assert (lefts + wide).max() == 60
    ratios = wide / tall
    assert ratios.min() > 0.66
    assert ratios.max() < 1.5
    assert 0.07 < (tall * wide / 2400).min() < 0.1


def test_a_long_image_is_cropped_at_its_centre_where_no_rectangle_fits() -> None:
    draws = Draws(1, 0, torch.arange(50))
    boxes = crop_boxes(draws, torch.full((50,), 10.0), torch.full((50,), 100.0), 1.0)
    assert boxes.unique(dim=0).tolist() == [[0, 43, 10, 13]]


def test_every_shift_is_drawn() -> None:
    shifts = shifts_of(Draws(1, 0, torch.arange(3000)), 4)
    assert len(shifts.unique(dim=0)) == 81


def test_noise_replaces_the_rectangle_and_nothing_else() -> None:
    draws = Draws(1, 0, torch.arange(200))
    boxes = erased_boxes(draws, 0.25, 16, 16)
    assert 0.15 < (boxes[:, 2] > 0).float().mean() < 0.35
    found = random_erasing(torch.full((200, 3, 16, 16), 9.0), boxes, draws)
    changed = (found != 9).all(1).sum((1, 2))
    assert torch.equal(changed, boxes[:, 2] * boxes[:, 3])
    assert abs(found[found != 9].std() - 1) < 0.05


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_labels_are_mixed_by_the_share_of_each_image(mixup: float, cutmix: float) -> None:
    count = 400
    mixing = Mixing(mixup=mixup, cutmix=cutmix, classes=5)
    draws = Draws(1, 0, torch.arange(count))
    weights, boxes = mixing.weights_and_boxes(draws, 16, 12)
    images, others = torch.ones(count, 3, 16, 12), torch.zeros(count, 3, 16, 12)
    mixed = mixing.mix(images, others, weights, boxes)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), weights)
    labels = torch.arange(count) % 5
    targets = mixing.targets(labels, (labels + 1) % 5, weights)
    torch.testing.assert_close(targets.gather(1, labels[:, None])[:, 0], weights)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    is_cut = ((mixed == 0) | (mixed == 1)).all((1, 2, 3)).float().mean()
    assert abs(is_cut - {(0.8, 0.0): 0, (0.0, 1.0): 1, (0.8, 1.0): 0.5}[mixup, cutmix]) < 0.08


def test_the_loss_of_mixed_and_smoothed_labels_is_that_of_timm() -> None:
    from timm.data.mixup import mixup_target
    from timm.loss import SoftTargetCrossEntropy

    labels, logits = torch.tensor([0, 3, 2, 1]), torch.arange(20.0).sin().reshape(4, 5)
    mixing = Mixing(mixup=0.8, cutmix=0.0, classes=5)
    targets = mixing.targets(labels, labels.flip(0), torch.full((4,), 0.3))
    found = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    expected = SoftTargetCrossEntropy()(logits, mixup_target(labels, 5, 0.3, 0.1))
    torch.testing.assert_close(found, expected)


def test_weights_have_the_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    mixing = Mixing(mixup=0.8, cutmix=0.0, classes=5)
    weights, _ = mixing.weights_and_boxes(Draws(3, 0, torch.arange(4000)), 8, 8)
    assert kstest(weights.numpy(), beta(0.8, 0.8).cdf).pvalue > 0.001


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_changes_images_as_the_cpu_does() -> None:
    indices = torch.arange(24)
    augmentation = Augmentation(AugmentationConfig(**ONE_BY_ONE), PIXELS)
    found = augmentation(stored().cuda(), Draws(1, 0, indices)).cpu()
    # A product that is a whole number on one of them may be truncated to the one below on the other.
    differ = (found - augment(indices)).abs() > 1e-4
    assert differ.float().mean() < 0.01


def test_sizes_smaller_than_a_kernel_can_be_augmented() -> None:
    settings = AugmentationConfig(rand_augment="rand-m9-n20-p1", padded_crop=1, color_jitter=0.4)
    for height, width in itertools.product((1, 2, 3), repeat=2):
        images = stored()[..., :height, :width]
        found = Augmentation(settings, PIXELS)(images, Draws(1, 0, torch.arange(24)))
        assert found.shape == images.shape
        assert found.isfinite().all()
