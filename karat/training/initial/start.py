"""The model of a trial as its training starts: drawn from the seed, or from weights."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from karat.attention.names import SOFTMAX
from karat.errors import CheckpointError, HostError, InputError
from karat.models.build import build_model
from karat.models.config import OWN, SCRATCH
from karat.models.starting.given_attention import give_attention
from karat.models.starting.taking import Taken, take
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
    model = build_model(
        config.model,
        config.attention,
        seed=seed,
        drop_path=config.training.drop_path,
        **config.data_shape(),
    )
    if config.model.init_from != SCRATCH:
        start_from(model, _kept(folder, "init_from", config.model.init_from))
    return with_attention(model, config, folder)


def with_attention(model: "nn.Module", config: TrialConfig, folder: Path | None) -> "nn.Module":
    """The model with the attention that `model.attention_from` names; as it is where that is its own.

    Raises:
        CheckpointError: the weights of the other model are missing in the folder, or damaged.
        InputError: it does not fit.
    """
    text = config.model.attention_from
    return model if text == OWN else give_from(model, _kept(folder, "attention_from", text))


def give_from(model: "nn.Module", source: Source) -> "nn.Module":
    """The model with the attention of the model that has these weights.

    Raises:
        InputError: it does not fit.
    """
    giver = source.model()
    assert giver is not None  # a trial's settings are known
    try:
        return give_attention(model, giver)
    except HostError as error:
        raise InputError(f"model.attention_from = {source.text}: {error}") from error


def _kept(folder: Path | None, key: str, text: str) -> Source:
    if folder is None:
        raise CheckpointError(
            f"model.{key} = {text}: nobody has said in which folder these weights are kept"
        )
    return Source.kept(folder, text)


def start_from(model: "nn.Module", source: Source) -> Taken:
    """Put weights into a model.

    Raises:
        InputError: they are of another architecture: names and shapes.
    """
    try:
        return take(model, source.state, source.model())
    except HostError as error:
        raise InputError(f"model.init_from = {source.text}: {error}") from error


def drawn(config: TrialConfig, folder: Path) -> TrialConfig:
    """The same with all weights drawn, for measurements that do not depend on their values.

    A model that gives its attention is replaced by one of the trial's own settings, which has as many blocks, heads
    and tokens.

    Args:
        config: of the trial.
        folder: for the weights of that model (`starting_model`).
    """
    model = replace(config.model, init_from=SCRATCH)
    if model.attention_from != OWN:
        own, shape = replace(model, attention_from=OWN), config.data_shape()
        Source(
            text=model.attention_from,
            state=build_model(own, config.attention, seed=0, **shape).state_dict(),
            settings={"model": asdict(own), "attention": {"mechanism": SOFTMAX}, "shape": shape},
        ).keep(folder)
    return replace(config, model=model)
