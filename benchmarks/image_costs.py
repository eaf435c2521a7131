"""What preparing the images of a step costs: makes the table of `--dry-run`'s forecast.

    python -m benchmarks.image_costs --out karat/forecast/speed/image_costs.json

CPU seconds of one thread: reading a batch from the memory map, each augmentation, mixing, stochastic depth, and each corruption of test images, for
batches and images of several sizes, to which the three figures of each entry are fitted. To be made again when an
augmentation becomes faster. A minute.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from timm.layers import DropPath
from torch import Tensor

from benchmarks.measuring import Call, machine
from karat.datasets import CORRUPTIONS, Preprocessing
from karat.datasets._shifted import Shifted
from karat.forecast.speed.image_costs import (
    DROP_PATH,
    READING,
    ImageCost,
    ImageCosts,
    corruption_of,
)
from karat.forecast.speed.yardsticks import Speed, measured_speed
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.mixing import Mixing
from karat.training.augmentation.pipeline import Augmentation
from karat.training.augmentation.settings import MIXING, AugmentationConfig
from karat.training.loading.pixels import Pixels
from karat.training.loading.stored import StoredImages

SETTINGS: Mapping[str, AugmentationConfig] = {
    "random_resized_crop": AugmentationConfig(random_resized_crop=0.08),
    "padded_crop": AugmentationConfig(padded_crop=4),
    "flip": AugmentationConfig(flip=0.5),
    "color_jitter": AugmentationConfig(color_jitter=0.4),
    "rand_augment": AugmentationConfig(rand_augment="rand-m9-n2-mstd0.5-inc1"),  # 1 for each image
    "random_erasing": AugmentationConfig(random_erasing=1.0),
}
LEAST_S = 0.02  # that a measurement takes


class Shape(NamedTuple):
    """Images of a batch, and their channels and edge in pixels."""

    batch: int
    channels: int
    edge: int

    @property
    def numbers(self) -> int:
        return self.channels * self.edge**2


SHAPES = (Shape(16, 1, 8), Shape(128, 1, 8), Shape(128, 3, 32), Shape(16, 3, 32), Shape(16, 3, 128))


def calls_of(shape: Shape) -> Iterator[tuple[str, Call, Call]]:
    """Each operation of the table: its name, a call with it, and one without it."""
    steps = Preprocessing(
        size=shape.edge,
        resize=shape.edge,
        mean=(0.5,) * shape.channels,
        std=(0.25,) * shape.channels,
    )
    pixels, draw = Pixels(steps), torch.Generator().manual_seed(0)
    sizes = (shape.batch, shape.channels, shape.edge, shape.edge)
    images = torch.randint(0, 256, sizes, dtype=torch.uint8, generator=draw)
    draws = Draws(0, 0, torch.arange(shape.batch))
    stored = StoredImages(images, torch.zeros(shape.batch, dtype=torch.long), pixels)

    def as_input() -> Tensor:
        return pixels.to_input(images)

    yield READING, lambda: pixels.to_input(stored.raw(range(shape.batch))[0]), _nothing
    for name, config in SETTINGS.items():
        yield name, _augmented(Augmentation(config, pixels), images, draws), as_input
    yield MIXING, _mixed(as_input(), draws), _nothing
    yield DROP_PATH, _left_out(as_input()), _nothing
    for name in CORRUPTIONS:
        yield corruption_of(name), _corrupted(name, stored, steps), _nothing


def _nothing() -> None:
    """A call that takes no time."""


def _augmented(augment: Augmentation, images: Tensor, draws: Draws) -> Call:
    return lambda: augment(images, draws)


def _mixed(images: Tensor, draws: Draws) -> Call:
    mixing = Mixing(mixup=0.8, cutmix=1.0, classes=10)

    def mix() -> Tensor:
        weights, boxes = mixing.weights_and_boxes(draws, *images.shape[-2:])
        return mixing.mix(images, images.flip(0), weights, boxes)

    return mix


def _left_out(images: Tensor) -> Call:
    layer, given = DropPath(0.1).train(), images.clone().requires_grad_()

    def step() -> None:
        layer(given).backward(images)

    return step


def _corrupted(name: str, stored: StoredImages, steps: Preprocessing) -> Call:
    shifted = Shifted(stored, steps, corruption=CORRUPTIONS[name](), strength=3)
    return lambda: shifted.__getitems__(range(len(stored)))


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of one call, the median of several."""
    found: list[float] = []
    until = time.process_time() + LEAST_S
    while len(found) < 5 or time.process_time() < until:
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return statistics.median(found)


def fitted(taken: Sequence[float]) -> ImageCost:
    """The figures of an entry, none of them negative, from what it took with each of `SHAPES`."""
    rows = np.array([[1, each.batch, each.batch * each.numbers] for each in SHAPES])
    weights = 1 / np.maximum(1e-6, np.array(taken))  # all shapes count alike, however large
    (call_s, image_s, number_s), _ = nnls(rows * weights[:, None], np.array(taken) * weights)
    return ImageCost(call_s=float(call_s), image_s=float(image_s), number_s=float(number_s))


def table(rounds: int) -> ImageCosts:
    """Measure everything."""
    speeds = [measured_speed()]
    taken: dict[str, list[float]] = {}
    for shape in SHAPES:
        for name, with_it, without in calls_of(shape):
            with_it(), without()
            found = [seconds(with_it) - seconds(without) for _ in range(rounds)]
            taken.setdefault(name, []).append(max(0.0, statistics.median(found)))
        speeds.append(measured_speed())
    costs = {name: fitted(each) for name, each in taken.items()}
    for name, each in taken.items():
        again = [costs[name].seconds(shape.batch, shape.numbers) for shape in SHAPES]
        print(name, *(f"{1e3 * a:.2f}/{1e3 * b:.2f}" for a, b in zip(again, each, strict=True)))
    return ImageCosts(speed=Speed.mean(speeds), costs=costs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each operation (5)")
    parser.add_argument("--out", type=Path, required=True, help="file of the table")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source = {"made_by": "python -m benchmarks.image_costs", "machine": machine()}
    options.out.write_text(
        json.dumps({**source, **_short(asdict(table(options.rounds)))}, indent=1) + "\n"
    )
    return 0


def _short(value: Any) -> Any:
    """With four digits."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
