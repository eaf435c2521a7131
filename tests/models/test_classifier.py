"""The model with its preprocessing inside, which takes images as they are read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor, to_tensor

from karat.datasets import Preprocessing
from karat.datasets._image_files import image_transform
from karat.models.classifier import REFUSAL, ImageClassifier, _half

STEPS = Preprocessing(
    size=12, resize=14, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), is_in_bytes=True
)
SIZES = ((14, 14), (12, 12), (40, 31), (17, 90), (90, 17), (5, 7), (1, 1))


class Pixels(nn.Module):
    """Shows what a model gets."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def image_of(height: int, width: int) -> Image.Image:
    """Smooth in both directions, and different in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin((y + 2 * x) / 9 + channel) for channel in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


class Patches(nn.Module):
    """Embeds patches as a ViT does, which looks at the layout of its input in memory."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embed(images).flatten(2).mean(-1))
        return logits


@pytest.fixture(scope="module", params=[12, 14], ids=lambda resize: f"resize={resize}")
def classifier(request: pytest.FixtureRequest) -> ImageClassifier:
    return ImageClassifier(Patches(), replace(STEPS, resize=request.param)).eval()


@pytest.fixture(scope="module")
def exported(classifier: ImageClassifier) -> nn.Module:
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        classifier,
        (torch.zeros(2, 3, 5, 7),),
        dynamic_shapes=({0: auto, 2: auto, 3: auto},),
    )
    return program.module()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_training_within_a_step_of_a_byte(size: tuple[int, int]) -> None:
    classifier = ImageClassifier(Pixels(), STEPS)
    image = image_of(*size)
    expected = image_transform(STEPS)(image)
    seen = classifier._cropped(to_tensor(image)[None])
    difference = (seen - classifier.mean) / classifier.std - expected
    assert difference.abs().max() <= 1.01 / 255 / min(STEPS.std)


@pytest.mark.parametrize("margin", range(9))
def test_margins_are_those_of_a_centre_crop(margin: int) -> None:
    assert _half(margin) == round(margin / 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_exported_program_serves_every_size_and_type(
    classifier: ImageClassifier, exported: nn.Module, size: tuple[int, int]
) -> None:
    image = image_of(*size)
    floats, integers = to_tensor(image)[None], pil_to_tensor(image)[None]
    expected = classifier(floats)
    assert expected.sum().item() == pytest.approx(1)
    for images in (floats, integers, integers.float(), floats.double()):
        torch.testing.assert_close(exported(images), expected)


def test_bytes_and_shares_may_be_in_one_batch() -> None:
    classifier = ImageClassifier(Pixels(), STEPS)
    image = to_tensor(image_of(14, 14))
    first, second = classifier(torch.stack([image, 255 * image]))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("is_exported", [False, True], ids=["module", "exported"])
def test_images_that_were_normalised_or_have_16_bits_are_refused(
    classifier: ImageClassifier, exported: nn.Module, is_exported: bool
) -> None:
    model = exported if is_exported else classifier
    image = to_tensor(image_of(20, 20))[None]
    for wrong in (2 * image - 1, (image - image.mean()) / image.std() * 1.2, 65535 * image):
        with pytest.raises(RuntimeError, match=REFUSAL):
            model(torch.cat([image, wrong]))
    for right in (0 * image, image, 255 * image, 265 * image - 9, 1.2 * image - 0.1):
        assert model(right).isfinite().all()


def test_preprocessing_is_told_in_words() -> None:
    assert str(STEPS) == (
        "shorter edge scaled to 14 px (bilinear, antialiased), 12 x 12 px cropped at the centre, "
        "mean 0.4 0.5 0.6, std 0.2 0.25 0.3"
    )
