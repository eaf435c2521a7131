"""What one trial is: data, model, attention and training, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from karat.attention.config import AttentionConfig
from karat.datasets import Dataset, make_dataset
from karat.models.config import ModelConfig
from karat.models.costs import Costs, costs_of
from karat.models.shape import check_model
from karat.settings import above, at_least, at_most, below, build
from karat.training.recipes import load_recipe

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a trial is trained: AdamW, linear warm-up by step, then cosine by step.

    Args:
        epochs: full length.
        batch_size: images per step; the last, smaller batch of an epoch is left out.
        learning_rate: the highest, reached at the end of the warm-up.
        weight_decay: AdamW's; not for biases and norms (timm's rule).
        adam_eps: AdamW's epsilon.
        clip_grad: highest norm of the gradient, 0 for no clipping.
        label_smoothing: 0 to below 1.
        warmup_epochs: may be 0; below `epochs`.
        warmup_learning_rate: at the first step of the warm-up.
        min_learning_rate: at the end of the cosine.
        workers: processes that load data; 0 loads in the trial's own.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    adam_eps: float
    clip_grad: float
    label_smoothing: float
    warmup_epochs: int
    warmup_learning_rate: float
    min_learning_rate: float
    workers: int = 0

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_most("epochs", self.epochs, 100_000)
        at_least("batch_size", self.batch_size, 1)
        above("learning_rate", self.learning_rate, 0)
        above("adam_eps", self.adam_eps, 0)
        for key in ("weight_decay", "clip_grad", "label_smoothing", "warmup_epochs", "workers"):
            at_least(key, getattr(self, key), 0)
        at_most("workers", self.workers, 256)
        at_least("warmup_learning_rate", self.warmup_learning_rate, 0)
        at_least("min_learning_rate", self.min_learning_rate, 0)
        below("label_smoothing", self.label_smoothing, 1)
        below("warmup_epochs", self.warmup_epochs, self.epochs)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that a trial's result depends on, but for its seed."""

    data: Dataset
    model: ModelConfig
    attention: AttentionConfig
    training: TrainingConfig

    @classmethod
    def from_sections(cls, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        """From the sections `data`, `model`, `attention` and `training`, as a space has them.

        Raises:
            InputError: an unknown or wrong setting.
        """
        training = dict(sections["training"])
        recipe = load_recipe(training.pop("recipe", "quick"))
        return cls(
            data=make_dataset(sections["data"]),
            model=build(ModelConfig, sections["model"], "model"),
            attention=AttentionConfig.from_settings(sections["attention"]),
            training=build(TrainingConfig, {**recipe, **training}, "training"),
        )

    def check(self) -> None:
        """Whether the settings go together.

        Raises:
            CombinationError: they do not.
            DataError: the data is not there.
        """
        check_model(self.model, self.attention, self.data.info().image_size)

    def build_model(self, seed: int) -> "nn.Module":
        """The untrained model."""
        from karat.models.build import build_model  # brings torch

        return build_model(self.model, self.attention, seed=seed, **self.data_shape())

    def data_shape(self) -> dict[str, int]:
        """What a model must know of its data, as `karat.models.build.build_model` names it."""
        info = self.data.info()
        return {
            "image_size": info.image_size,
            "channels": info.channels,
            "classes": len(info.classes),
        }


def costs_of_trial(config: TrialConfig) -> Costs:
    """Of the model that a trial trains, on its data.

    Raises:
        InputError: settings that do not go together.
    """
    return costs_of(config.model, config.attention, **config.data_shape())
