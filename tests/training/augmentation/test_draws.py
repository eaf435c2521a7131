"""The numbers of an image follow from seed, epoch, index and purpose alone."""

import pytest
import torch
from torch import Tensor

from karat.training.augmentation.draws import Draws, philox

IMAGES = torch.tensor([5, 0, 3, 70_000, 1 << 33])


def word(value: int) -> Tensor:
    return torch.tensor([value])


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF, 0xFFFFFFFF),
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    found = philox(tuple(map(word, counter)), key)
    assert tuple(each.item() for each in found) == expected


def test_an_image_has_the_same_numbers_whatever_images_are_beside_it() -> None:
    together = Draws(1, 2, IMAGES)
    for place in range(len(IMAGES)):
        alone = Draws(1, 2, IMAGES[place : place + 1])
        assert torch.equal(alone.uniform("crop", 5), together.uniform("crop", 5)[place][None])
        assert torch.equal(alone.normal("noise", 9), together.normal("noise", 9)[place][None])
    assert torch.equal(
        together.of(torch.tensor([3, 1])).one("flip"), together.one("flip")[torch.tensor([3, 1])]
    )


def test_more_numbers_do_not_change_the_first_ones() -> None:
    draws = Draws(1, 2, IMAGES)
    assert torch.equal(draws.uniform("crop", 3), draws.uniform("crop", 9)[:, :3])


@pytest.mark.parametrize(
    "other", [Draws(2, 2, IMAGES), Draws(1, 3, IMAGES), Draws(1, 2, IMAGES + 1)]
)
def test_seed_epoch_index_and_purpose_each_give_other_numbers(other: Draws) -> None:
    draws = Draws(1, 2, IMAGES)
    assert not (draws.uniform("crop", 4) == other.uniform("crop", 4)).any()
    assert not (draws.uniform("crop", 4) == draws.uniform("flip", 4)).any()


def test_numbers_have_the_distribution_that_they_are_said_to_have() -> None:
    from scipy.stats import kstest

    draws = Draws(7, 0, torch.arange(2000))
    uniform, normal = draws.uniform("a", 5).flatten(), draws.normal("b", 5).flatten()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert kstest(uniform, "uniform").pvalue > 0.001
    assert kstest(normal, "norm").pvalue > 0.001


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_numbers_of_the_cpu() -> None:
    draws = Draws(1, 2, IMAGES)
    assert torch.equal(draws.normal("a", 50), draws.normal("a", 50, "cuda").cpu())
