"""What preparing the images of a step costs on a CPU: a table that `benchmarks.image_costs` has measured.

Reading them from the memory map, augmentation and mixing, one entry each, stochastic depth, and a corruption of test
images take

    call_s + images * (image_s + number_s * (numbers of an image))

in CPU seconds of one thread on the machine that the table names: channels times height times width are the numbers
of an image, for stochastic depth those of its tokens.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from karat.datasets import STRENGTHS, Dataset
from karat.forecast.speed.yardsticks import Speed
from karat.models.shape import layer_shapes
from karat.training.config import TrialConfig

TABLE = Path(__file__).parent / "image_costs.json"
READING, DROP_PATH = "reading", "drop_path"
CROP = "random_resized_crop"
_CORRUPTION = "corruption "
_BRANCHES = 2  # of a block, each of which is left out by itself


def corruption_of(name: str) -> str:
    """The entry of a corruption."""
    return f"{_CORRUPTION}{name}"


@dataclass(frozen=True, kw_only=True)
class ImageCost:
    """Seconds of one operation: of a call, of an image, and of a number of it."""

    call_s: float
    image_s: float
    number_s: float

    def seconds(self, images: float, numbers: int) -> float:
        """Of some images with so many numbers each."""
        return self.call_s + images * (self.image_s + self.number_s * numbers)


@dataclass(frozen=True, kw_only=True)
class ImageCosts:
    """The table, and the machine that it is from.

    Args:
        speed: of that machine, while the table was measured.
        costs: setting of the augmentation, or another operation, to its costs.
    """

    speed: Speed
    costs: Mapping[str, ImageCost]

    @classmethod
    def read(cls, path: Path = TABLE) -> "ImageCosts":
        """The table in a file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        costs = {name: ImageCost(**each) for name, each in data["costs"].items()}
        return cls(speed=Speed(**data["speed"]), costs=costs)

    def step_s(self, config: TrialConfig, batch: int, speed: Speed, threads: int = 1) -> float:
        """Seconds of a step beside the model's own.

        Args:
            config: of the trial.
            batch: images of a step.
            speed: of a core of the machine that trains.
            threads: cores of the trial, over all its processes.
        """
        info = config.data.info()
        numbers = info.channels * info.image_size**2
        seconds = self.costs[READING].seconds(batch, numbers)
        work = config.training.work()
        if getattr(config.data, "loader", "memory") == "files":
            work.pop(CROP, None)  # cut out of the file's image, as a part of reading it
        for name, times in work.items():
            seconds += self.costs[name].seconds(batch * times, numbers)
        seconds += self._drop_path_s(config, batch)
        return seconds * self.speed.rounds_per_s / speed.rounds_per_s / threads

    def corrupting_s(self, data: Dataset, images: int, speed: Speed) -> float:
        """Seconds of a core to make all corrupted copies of some images.

        Args:
            data: says which; an unknown corruption takes as long as the slowest of the known.
            images: their number.
            speed: of a core.
        """
        info = data.info()
        numbers = info.channels * info.image_size**2
        known = {
            name: cost.seconds(images, numbers)
            for name, cost in self.costs.items()
            if name.startswith(_CORRUPTION)
        }
        slowest = max(known.values())
        each = (known.get(corruption_of(name), slowest) for name in data.corruptions)
        return len(STRENGTHS) * sum(each) * self.speed.rounds_per_s / speed.rounds_per_s

    def _drop_path_s(self, config: TrialConfig, batch: int) -> float:
        if not config.training.drop_path:
            return 0.0
        layers = layer_shapes(config.model, config.data.info().image_size)
        cost = self.costs[DROP_PATH]
        # The first block is never left out.
        return sum(
            _BRANCHES * cost.seconds(batch, each.width * each.num_tokens * each.windows)
            for each in layers[1:]
        )
