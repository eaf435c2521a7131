"""The configuration of one trial, checked: data, model, attention and training."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from karat.attention.config import AttentionConfig
from karat.datasets import DataInfo, Dataset, make_dataset
from karat.errors import CombinationError, SettingError
from karat.models.config import ModelConfig
from karat.models.shape import check_model
from karat.seeds import derive
from karat.settings import above, at_least, at_most, build, fraction
from karat.training.augmentation.settings import NONE, PIXEL_SETTINGS, AugmentationConfig
from karat.training.recipes import of_recipe, with_recipe
from karat.training.steps.config import StepConfig
from karat.training.watching.config import WatchConfig

EVAL_BATCH_SIZE = 256
MAX_LEARNING_RATE = 1.0
MAX_REPLICATES = 1000


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(AugmentationConfig, StepConfig, WatchConfig):
    """How a trial is trained; if nothing else is set with AdamW, a linear warm-up, then a cosine, updated every step.

    Args:
        epochs: length of the full training, from 1 to 100,000.
        batch_size: images per step, at least 1; the last, smaller batch of an epoch is dropped. With fewer
            training images than that, a batch is all of them.
        learning_rate: peak learning rate, reached at the end of the warm-up; above 0 and at most 1, where
            AdamW moves each weight by 1 in a step.
        weight_decay: at least 0; not applied to biases and norms (timm's rule).
        adam_eps: epsilon of AdamW, and of other optimisers that have one; above 0.
        clip_grad: maximum norm of the gradient, 0 for no clipping.
        label_smoothing: share of each label that is spread over all classes, at least 0 and below 1.
        warmup_epochs: epochs of linear warm-up, at least 0 and below `epochs`; may be a fraction. A recipe's
            that would be more than half of the training is shortened to its share of the recipe's epochs.
        warmup_learning_rate: learning rate at the first step of the warm-up; at most `learning_rate`.
        min_learning_rate: learning rate at the end of the schedule; at most `learning_rate`.
        workers: data loading processes of each trial, 0 to 256; 0 loads in the training process.
        replicate: which of several independent repetitions this is: with another number the same seed
            stands for other random numbers, so that arms that differ in nothing else are one arm twice.
            No recipe has it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    adam_eps: float
    clip_grad: float
    label_smoothing: float
    warmup_epochs: float
    warmup_learning_rate: float
    min_learning_rate: float
    workers: int = 0
    replicate: int = 0

    def __post_init__(self) -> None:
        AugmentationConfig.__post_init__(self)
        StepConfig.__post_init__(self)
        at_least("epochs", self.epochs, 1)
        at_most("epochs", self.epochs, 100_000)
        self.check_kept(self.epochs)
        at_least("batch_size", self.batch_size, 1)
        above("learning_rate", self.learning_rate, 0)
        at_most("learning_rate", self.learning_rate, MAX_LEARNING_RATE)
        above("adam_eps", self.adam_eps, 0)
        for key in ("weight_decay", "clip_grad", "label_smoothing", "warmup_epochs", "workers"):
            at_least(key, getattr(self, key), 0)
        at_least("replicate", self.replicate, 0)
        at_most("replicate", self.replicate, MAX_REPLICATES)
        at_most("workers", self.workers, 256)
        at_least("warmup_learning_rate", self.warmup_learning_rate, 0)
        at_least("min_learning_rate", self.min_learning_rate, 0)
        if self.label_smoothing:
            fraction("label_smoothing", self.label_smoothing)
        if self.warmup_epochs >= self.epochs:
            rule = f"must be below epochs, {self.epochs}"
            whole = int(self.warmup_epochs)
            given = whole if whole == self.warmup_epochs else self.warmup_epochs
            raise SettingError("warmup_epochs", rule, given)
        for key in ("warmup_learning_rate", "min_learning_rate"):
            if (rate := getattr(self, key)) > self.peak_learning_rate:
                scaled = (
                    f" x batch_size {self.batch_size} / {self.learning_rate_batch}"
                    if self.learning_rate_batch
                    else ""
                )
                peak = f"{self.learning_rate:g}{scaled}"
                rule = f"must be at most learning_rate, {peak}, where the warm-up ends"
                raise SettingError(key, rule, rate)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate at the end of the warm-up, for this batch size."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch

    def costly(self) -> dict[str, object]:
        """The settings on which time and memory of a step depend, where they are not the defaults."""
        more: dict[str, object] = {"images": work} if (work := self.work()) else {}
        # Whatever the probability is: the blocks are computed for all images.
        more |= {"drop_path": True} if self.drop_path else {}
        return {**StepConfig.costly(self), **more}

    def seed_of(self, seed: int) -> int:
        """The seed of weights and data order of a trial with this seed, in this repetition."""
        return derive(seed, "replicate", self.replicate) if self.replicate else seed


def training_of(section: Mapping[str, Any]) -> TrainingConfig:
    """The settings of a section `training`, with those of its recipe.

    Raises:
        SettingError: a setting is unknown or wrong; where it is the recipe's, the recipe is named.
    """
    try:
        return build(TrainingConfig, with_recipe(section), "training")
    except SettingError as error:
        raise of_recipe(error, section) from None


def _model_of(section: Mapping[str, Any]) -> ModelConfig:
    return build(ModelConfig, section, "model")


# Sections of a trial's configuration, in the order in which they are checked.
_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "data": make_dataset,
    "model": _model_of,
    "attention": AttentionConfig.from_settings,
    "training": training_of,
}


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that the result of a trial depends on, except its seed."""

    data: Dataset
    model: ModelConfig
    attention: AttentionConfig
    training: TrainingConfig

    @classmethod
    def from_sections(cls, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        """From the sections `data`, `model`, `attention` and `training` of a search space.

        Raises:
            InputError: a setting is unknown or wrong.
        """
        return cls(**{name: make(sections[name]) for name, make in _MAKERS.items()})

    def check(self, *, looks_at_data: bool = True) -> None:
        """Check that the settings are compatible with each other and with the data.

        Args:
            looks_at_data: whether the data must be here; without, its settings say the size of its images.

        Raises:
            CombinationError: they are not.
            DataError: the data is missing.
        """
        size = None if looks_at_data else getattr(self.data, "image_size", None)
        check_model(self.model, self.attention, size or self.data.info().image_size)
        if self.training.needs_pixels and self.data.preprocessing() is None:
            keys = [
                f"training.{key}"
                for key in PIXEL_SETTINGS
                if getattr(self.training, key) not in (0, NONE)
            ]
            rule = (
                f"{', '.join(keys)}: cannot be applied to this data set, which does not say how its images are "
                "normalised; set it to 0 or none"
            )
            raise CombinationError(tuple(keys), rule)

    def data_shape(self, info: DataInfo | None = None) -> dict[str, int]:
        """The shape of the data, as arguments of `karat.models.build.build_model`.

        Args:
            info: of the data, where that need not be here; None looks at it.
        """
        info = info or self.data.info()
        return {
            "image_size": info.image_size,
            "channels": info.channels,
            "classes": len(info.classes),
        }


class Parts:
    """Builds configurations, each distinct section once: thousands of arms share theirs."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def config(self, sections: Mapping[str, Mapping[str, Any]]) -> TrialConfig:
        """As `TrialConfig.from_sections`."""
        return TrialConfig(
            **{name: self._part(name, sections[name], make) for name, make in _MAKERS.items()}
        )

    def _part(self, name: str, values: Mapping[str, Any], make: Callable[..., Any]) -> Any:
        key = name + json.dumps(values, default=repr)
        if key not in self._known:
            self._known[key] = make(values)
        return self._known[key]
