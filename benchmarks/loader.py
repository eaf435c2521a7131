"""How fast training images come, beside torchvision's ImageFolder with a DataLoader, and their share of a step.

    python -m benchmarks.loader [--root FOLDER]

FOLDER has images in train/<class>/* and test/<class>/*; without it, JPEG files of 32 x 32 pixels are made up. Both sides
are measured from their second epoch on, in turns, with the same threads; the rival with each number of workers, which it
keeps between epochs. Both give float32 batches, normalised and in a random order.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.measuring import machine
from karat.datasets._on_disk import first_of_each
from karat.training.config import TrialConfig
from karat.training.loading.batches import TrainingBatches
from karat.training.loading.splits import splits_of
from karat.training.process_group import ProcessGroup
from karat.training.trainer import Trainer

BATCH, EDGE = 128, 32
RECIPES: dict[str, dict[str, Any]] = {
    "none": {},
    "flip, padded crop": {"flip": 0.5, "padded_crop": 4},
    "all": {
        "random_resized_crop": 0.3,
        "flip": 0.5,
        "rand_augment": "rand-m9-n2-mstd0.5-inc1",
        "color_jitter": 0.4,
        "random_erasing": 0.25,
        "mixup": 0.8,
        "cutmix": 1.0,
    },
}


def made_up(root: Path, count: int) -> None:
    """JPEG files of smooth noise, of ten classes."""
    draw = np.random.default_rng(0)
    for part, each in (("train", count // 10), ("test", 8)):
        for label in range(10):
            folder = root / part / f"class_{label}"
            folder.mkdir(parents=True)
            for number in range(each):
                coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize((EDGE, EDGE))
                image.save(folder / f"{number}.jpg", quality=90)


def config_of(root: Path, count: int, **training: Any) -> TrialConfig:
    """A trial of vit_micro on the first images of each class."""
    data = {"name": "image_folder", "root": str(root), "image_size": EDGE}
    data |= {"limit_per_class": count // 10, "val_share": 0.02}
    return TrialConfig.from_sections(
        {
            "data": data,
            "model": {"name": "vit_micro", "patch_size": 4},
            "attention": {"basis": "softmax"},
            "training": {"epochs": 9, "batch_size": BATCH, **training},
        }
    )


def ours(root: Path, count: int) -> Callable[[], int]:
    """An epoch of our batches; returns the number of images."""
    config = config_of(root, count)
    split = splits_of(config.data, "benchmark").splits.train
    batches = TrainingBatches(split, config, 0, BATCH, ProcessGroup(), lambda _: None)
    return lambda: sum(len(images) for images, _ in batches.of_epoch(0))


def theirs(root: Path, count: int, workers: int) -> Callable[[], int]:
    """An epoch of the same images with ImageFolder and a DataLoader."""
    normalize = transforms.Normalize((0.5,) * 3, (0.25,) * 3)
    steps = transforms.Compose([transforms.ToTensor(), normalize])
    files = ImageFolder(str(root / "train"), transform=steps)
    loader = DataLoader(
        Subset(files, first_of_each(files.targets, count // 10)),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: sum(len(images) for images, _ in loader)


def rates(calls: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Images per second of each in each round, in turns, after an epoch that is not counted."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            images = call()
            found[name].append(images / (time.perf_counter() - started))
    return found


def shares(root: Path, count: int, epochs: int) -> dict[str, list[float]]:
    """Time waited for data as a share of a step, of each augmentation and epoch from the second on."""
    found: dict[str, list[float]] = {}
    for name, settings in RECIPES.items():
        trainer = Trainer(config_of(root, count, **settings), 0, fingerprint="benchmark")
        told = []
        for _ in range(epochs):
            trainer.run_epoch()
            told.append(trainer.loading())
        found[name] = [each["data_s"] / each["step_s"] for each in told[1:]]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, default=5000, help="training images, of ten classes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KARAT_CACHE"] = str(Path(folder) / "cache")
        root = given.root or Path(folder) / "data"
        if given.root is None:
            made_up(root, given.images)
        print(machine())
        cores = os.cpu_count() or 1
        rivals = {
            f"{workers} workers": theirs(root, given.images, workers)
            for workers in sorted({0, 1, 2, cores})
        }
        found = rates({"ours": ours(root, given.images), **rivals}, given.rounds)
        rows = {name: statistics.median(each) for name, each in found.items()}
        best = max(rivals, key=lambda name: rows[name])
        ratios = [one / other for one, other in zip(found["ours"], found[best], strict=True)]
        for name, rate in rows.items():
            print(f"{name:12} {rate:10,.0f} images/s, {rate / rows[best]:6.2f} of the best rival")
        print(f"ours / {best}: {min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds")
        for name, each in shares(root, given.images, given.epochs).items():
            low, high = (f"{100 * value:.1f}" for value in (min(each), max(each)))
            print(f"{name:20} waits {low} to {high} % of a step of vit_micro at batch {BATCH}")


if __name__ == "__main__":
    main()
