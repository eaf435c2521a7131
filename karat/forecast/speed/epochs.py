"""Seconds of an epoch on a CPU from the tables of step costs and of image costs."""

from dataclasses import dataclass

from karat.forecast.speed.image_costs import ImageCosts
from karat.forecast.speed.step_costs import StepCosts
from karat.forecast.speed.yardsticks import Speed
from karat.training.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class EpochCosts:
    """Both tables.

    Args:
        steps: of the model.
        images: of what is done to its images.
    """

    steps: StepCosts
    images: ImageCosts

    @classmethod
    def read(cls) -> "EpochCosts":
        """The tables of this package."""
        return cls(steps=StepCosts.read(), images=ImageCosts.read())

    @property
    def speed(self) -> Speed:
        """Of the machine on which the step costs were measured."""
        return self.steps.speed

    def epoch_s(self, config: TrialConfig, speed: Speed, threads: int = 1) -> float:
        """Seconds of an epoch of a trial, images in memory: its steps, the validation and the checkpoint.

        Args:
            config: of the trial.
            speed: of a core of the machine that trains.
            threads: cores of the trial, over all its processes.

        Raises:
            InputError: the settings are not compatible.
        """
        size = config.data.info().train_size
        batch = min(config.training.batch_size, size)
        own_s = self.images.step_s(config, batch, speed, threads)
        return self.steps.epoch_s(config, speed, threads) + max(1, size // batch) * own_s
