"""The model of a trial as its training starts: drawn from the seed, or from weights."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from karat.errors import CheckpointError, HostError, InputError
from karat.models.build import build_model
from karat.models.config import SCRATCH
from karat.models.taking import Taken, take
from karat.training.config import TrialConfig
from karat.training.initial.source import Source

if TYPE_CHECKING:
    from torch import nn


def starting_model(config: TrialConfig, seed: int, folder: Path | None) -> "nn.Module":
    """The model before its first step.

    Args:
        config: of the trial.
        seed: of the weights that are drawn.
        folder: with the weights that are not drawn (`Source.kept`).

    Raises:
        CheckpointError: the weights are missing in the folder, or damaged.
        InputError: they do not fit the model.
    """
    model = build_model(config.model, config.attention, seed=seed, **config.data_shape())
    if config.model.init_from != SCRATCH:
        if folder is None:
            raise CheckpointError(
                f"model.init_from = {config.model.init_from}: nobody has said in which folder these weights are kept"
            )
        start_from(model, Source.kept(folder, config.model.init_from))
    return model


def start_from(model: "nn.Module", source: Source) -> Taken:
    """Put weights into a model.

    Raises:
        InputError: they are of another architecture: names and shapes.
    """
    try:
        return take(model, source.state, source.model())
    except HostError as error:
        raise InputError(f"model.init_from = {source.text}: {error}") from error


def drawn(config: TrialConfig) -> TrialConfig:
    """The same with all weights drawn, for measurements that do not depend on their values."""
    return replace(config, model=replace(config.model, init_from=SCRATCH))
