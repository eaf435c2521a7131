"""The batches of an epoch: those of a plain loader without augmentation, and with it the same on every machine."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler
from torchvision.transforms.v2 import functional as TF

from karat.datasets import load_splits
from karat.seeds import derive
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.resized_crop import crop_boxes
from karat.training.config import TrialConfig
from karat.training.loading.batches import TrainingBatches
from karat.training.loading.splits import splits_of
from karat.training.process_group import ProcessGroup
from tests.datasets.files import write_images

EVERYTHING: dict[str, Any] = {
    "random_resized_crop": 0.3,
    "padded_crop": 2,
    "flip": 0.5,
    "rand_augment": "rand-m9-n2-mstd0.5-inc1",
    "color_jitter": 0.4,
    "random_erasing": 0.3,
    "mixup": 0.8,
    "cutmix": 1.0,
}
SEED = 7


class Rank(ProcessGroup):
    """One of several ranks, which never meet."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("KARAT_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path / "data", {"train": 15, "test": 2}, ("cat", "dog"), ".png")
    return {"name": "image_folder", "root": str(tmp_path / "data"), "image_size": 12}


def batches_of(
    data: dict[str, Any],
    group: ProcessGroup | None = None,
    fingerprint: str = "abc",
    **training: Any,
) -> TrainingBatches:
    config = TrialConfig.from_sections(
        {"data": data, "model": {}, "attention": {}, "training": training}
    )
    split = splits_of.__wrapped__(config.data, fingerprint).splits.train
    size = config.training.batch_size
    return TrainingBatches(split, config, SEED, size, group or ProcessGroup(), lambda _: None)


def epoch_of(
    batches: TrainingBatches, epoch: int = 1, skip: int = 0
) -> list[tuple[Tensor, Tensor]]:
    return list(batches.of_epoch(epoch, skip))


def same(ones: list[tuple[Tensor, Tensor]], others: list[tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        for one, other in zip(ones, others, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fingerprint", ["", "abc"])
def test_without_augmentation_batches_are_those_of_a_plain_loader(
    data: dict[str, Any], workers: int, fingerprint: str
) -> None:
    found = epoch_of(batches_of(data, fingerprint=fingerprint, batch_size=5, workers=workers))
    config = {"data": data, "model": {}, "attention": {}, "training": {}}
    split: Any = load_splits(TrialConfig.from_sections(config).data).train
    generator = torch.Generator().manual_seed(derive(SEED, "order", 1))
    order = BatchSampler(RandomSampler(split, generator=generator), 5, drop_last=True)
    assert same(found, list(DataLoader(split, batch_sampler=order, generator=generator)))


@pytest.mark.parametrize("loader", ["memory", "files"])
def test_augmented_batches_are_the_same_for_every_number_of_workers(
    data: dict[str, Any], loader: str
) -> None:
    settings = {**EVERYTHING, "batch_size": 6}
    data["loader"] = loader
    found = epoch_of(batches_of(data, **settings, workers=0))
    assert same(found, epoch_of(batches_of(data, **settings, workers=2)))
    assert same(found, epoch_of(batches_of(data, **settings)))
    assert not same(found, epoch_of(batches_of(data, **settings), epoch=2))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_together_see_the_batches_of_one_process(
    data: dict[str, Any], world_size: int
) -> None:
    settings = {**EVERYTHING, "batch_size": 7}
    alone = epoch_of(batches_of(data, **settings))
    ranks = [epoch_of(batches_of(data, Rank(r, world_size), **settings)) for r in range(world_size)]
    for step, (images, labels) in enumerate(alone):
        parts = [rank[step] for rank in ranks]
        # The same numbers are drawn; sums of floats may be taken in another order.
        torch.testing.assert_close(torch.cat([each[0] for each in parts]), images)
        assert torch.equal(torch.cat([each[1] for each in parts]), labels)


def test_an_epoch_that_is_resumed_goes_on_with_the_same_batches(data: dict[str, Any]) -> None:
    settings = {**EVERYTHING, "batch_size": 6}
    whole = epoch_of(batches_of(data, **settings))
    assert same(whole[2:], epoch_of(batches_of(data, **settings), skip=2))


def test_images_kept_as_bytes_are_augmented_as_decoded_ones(data: dict[str, Any]) -> None:
    settings = {**EVERYTHING, "batch_size": 6}
    kept = epoch_of(batches_of(data, **settings))
    assert same(kept, epoch_of(batches_of(data, fingerprint="", **settings)))


def test_files_are_cropped_out_of_the_whole_image(data: dict[str, Any]) -> None:
    data["loader"] = "files"
    batches = batches_of(data, batch_size=6, random_resized_crop=0.3)
    [first, *_] = list(batches._loader(1))
    images, _, indices = first
    assert images.is_contiguous(memory_format=torch.channels_last)
    files: Any = batches._split
    boxes = crop_boxes(Draws(SEED, 1, indices), torch.full((6,), 16.0), torch.full((6,), 20.0), 0.3)
    for image, index, box in zip(images, indices.tolist(), boxes.tolist(), strict=True):
        path, _ = files.dataset.samples[files.indices[index]]
        whole = TF.pil_to_tensor(files.dataset.loader(path))
        assert torch.equal(image, TF.resized_crop(whole, *box, [12, 12], antialias=True))


def test_the_wait_for_data_is_measured_without_the_first_step(data: dict[str, Any]) -> None:
    batches = batches_of(data, batch_size=5)
    assert batches.timing.described() == {}
    assert len(epoch_of(batches)) == 5
    timing = batches.timing
    assert timing.steps == 4
    assert 0 < timing.waited_s <= timing.took_s
    assert batches.timing.described().keys() == {"step_s", "data_s"}
