"""Seconds of an epoch on a CPU from the tables of step costs and of image costs."""

from dataclasses import dataclass

from karat.forecast.speed.image_costs import ImageCosts
from karat.forecast.speed.step_costs import StepCosts
from karat.forecast.speed.yardsticks import Speed
from karat.models.config import OWN
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
        seconds = self.steps.epoch_s(config, speed, threads) + max(1, size // batch) * own_s
        seen = size / (1 - config.data.val_share)
        return seconds + seen * self._giver_s(config, speed, threads)

    def evaluation_s(self, config: TrialConfig, speed: Speed, threads: int = 1) -> float:
        """Seconds of an image in an evaluation; arguments as of `epoch_s`."""
        own_s = self.steps.evaluation_s(config, speed, threads)
        return own_s + self._giver_s(config, speed, threads)

    def _giver_s(self, config: TrialConfig, speed: Speed, threads: int) -> float:
        """Of the forward pass of an image through the frozen model that gives its attention.

        It has as many blocks, heads and tokens as the trial's; what its operator takes beyond softmax is not known here.
        """
        if config.model.attention_from == OWN:
            return 0.0
        return self.steps.evaluation_s(config, speed, threads)
