"""Corrupted test images: the same for everybody, stronger step by step, and those of Hendrycks and Dietterich."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from karat.datasets import CORRUPTIONS, STRENGTHS, Preprocessing, make_dataset
from karat.datasets._shifted import Shifted
from karat.errors import SettingError

STEPS = Preprocessing(size=32, resize=32, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
GREY = Preprocessing(size=8, resize=8, mean=(0.5,), std=(0.5,))


def stored(channels: int = 3, size: int = 32, count: int = 6) -> Tensor:
    """Smooth images with pixels in multiples of 1/255, (count, channels, size, size)."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 4, 4, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (255 * smooth).round() / 255


def split_of(images: Tensor, steps: Preprocessing = STEPS) -> TensorDataset:
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (steps.mean, steps.std))
    return TensorDataset((images - mean) / std, torch.arange(len(images)))


@pytest.fixture(params=list(CORRUPTIONS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_are_six_corruptions() -> None:
    assert set(CORRUPTIONS) == {"noise", "blur", "contrast", "pixelate", "jpeg", "brightness"}


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8), (3, 33), (1, 1)])
def test_corrupted_pixels_are_bytes_of_the_same_shape(name: str, channels: int, size: int) -> None:
    images = stored(channels, max(size, 1))
    for strength in STRENGTHS:
        found = CORRUPTIONS[name]()(images, strength, range(len(images)))
        assert found.shape == images.shape
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.allclose(255 * found, (255 * found).round(), atol=1e-3)


def test_five_strengths_go_further_and_further_from_the_image(name: str) -> None:
    images = stored()
    off = [
        (CORRUPTIONS[name]()(images, strength, range(6)) - images).square().mean().item()
        for strength in STRENGTHS
    ]
    assert off[0] > 0
    # Half of the noise of a compression is the image's own: only the ends are ordered there.
    assert off == sorted(off) if name not in ("jpeg", "pixelate") else off[0] < off[-1]


def test_what_is_drawn_depends_on_the_image_alone_not_on_its_batch(name: str) -> None:
    shifted = Shifted(split_of(stored()), STEPS, corruption=CORRUPTIONS[name](), strength=3)
    whole = torch.cat([images for images, _ in DataLoader(shifted, batch_size=6)])
    parts = torch.cat([images for images, _ in DataLoader(shifted, batch_size=4)])
    assert torch.equal(whole, parts)
    assert torch.equal(shifted[5][0], whole[5])
    assert [int(label) for _, label in shifted] == list(range(6))


def test_noise_differs_between_images_and_strengths() -> None:
    black = torch.full((2, 3, 8, 8), 0.5)
    noise = CORRUPTIONS["noise"]()
    first, second = noise(black, 1, [0, 1])
    assert not torch.equal(first, second)
    assert not torch.equal(noise(black, 2, [0, 1])[0], first)


def test_without_a_corruption_the_images_are_those_of_the_split() -> None:
    split = split_of(stored())
    found = torch.stack([image for image, _ in Shifted(split, STEPS)])
    assert torch.allclose(found, split.tensors[0], atol=1e-6)


def test_images_are_normalised_as_the_model_was_trained() -> None:
    into = Preprocessing(size=32, resize=32, mean=(0.1, 0.1, 0.1), std=(2.0, 2.0, 2.0))
    found = torch.stack([image for image, _ in Shifted(split_of(stored()), STEPS, into=into)])
    assert torch.allclose(found, (stored() - 0.1) / 2, atol=1e-6)


@pytest.mark.parametrize("size", [32, 8, 33])
def test_pixelate_is_pillows_box_filter_down_and_up(size: int) -> None:
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    pixels = (255 * images[0]).round().to(torch.uint8).permute(1, 2, 0).numpy()
    for strength, share in zip(STRENGTHS, CORRUPTIONS["pixelate"].strengths, strict=True):
        smaller = (int(size * share),) * 2
        box = Image.Resampling.BOX
        wanted = Image.fromarray(pixels).resize(smaller, box).resize((size, size), box)
        found = CORRUPTIONS["pixelate"]()(
            torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, strength, [0]
        )
        off = 255 * found[0].permute(1, 2, 0).numpy() - np.asarray(wanted, dtype=np.float32)
        assert np.abs(off).max() < 1.5  # Pillow rounds after each axis


def test_blur_is_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    images = stored()
    found = CORRUPTIONS["blur"]()(images, 5, range(6))
    wanted = gaussian_filter(images.numpy(), sigma=(0, 0, 1.0, 1.0), mode="nearest")
    assert np.abs(found.numpy() - wanted).max() < 1 / 255


def test_brightness_keeps_hue_and_saturation() -> None:
    import colorsys

    pixel = torch.tensor([0.2, 0.4, 0.1]).reshape(1, 3, 1, 1)
    found = CORRUPTIONS["brightness"]()(pixel, 5, [0]).flatten().tolist()
    hue, saturation, value = colorsys.rgb_to_hsv(0.2, 0.4, 0.1)
    wanted = colorsys.hsv_to_rgb(hue, saturation, value + 0.3)
    assert found == pytest.approx(wanted, abs=1 / 255)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nose"], "data.corruptions = 'nose': unknown corruption. did you mean 'noise'?"),
        (["blur", "blur"], "names blur twice"),
    ],
)
def test_unknown_corruption_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(SettingError) as error:
        make_dataset({"name": "digits", "corruptions": names})
    assert message in str(error.value)


def test_corruptions_are_no_part_of_the_data_where_none_are_named() -> None:
    assert make_dataset({"name": "digits"}).corruptions == ()
    plain, shifted = (
        make_dataset({"name": "digits", **more}) for more in ({}, {"corruptions": ["blur"]})
    )
    assert plain.check() == shifted.check()
