"""The weights that a trial kept, evaluated once more, on this machine's CPU."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from karat.datasets import Images, load_splits
from karat.errors import CheckpointError, CombinationError
from karat.journal.layout import WEIGHTS
from karat.journal.trial import Trial
from karat.models.build import build_model
from karat.planning.data_place import sections_at
from karat.training.checkpoint import load_checkpoint
from karat.training.config import TrialConfig
from karat.training.evaluation import Evaluated, conditions, evaluate, sha256_of_weights
from karat.training.initial.start import with_attention
from karat.training.process_group import ProcessGroup


class _OnCpu(ProcessGroup):
    """This process alone, without a GPU, so that every machine finds the same."""

    def device(self) -> torch.device:
        """The CPU, also where there is a GPU."""
        return torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint of weights.

    Args:
        path: of the checkpoint.
        model: the state of the model.
        epoch: epochs done when it was that of the weights; None where the checkpoint does not say.
        weights: sha256 of the state, as in `karat.tested.Tested`.
    """

    path: Path
    model: Mapping[str, Any]
    epoch: int | None
    weights: str


@dataclass(frozen=True, kw_only=True)
class Again:
    """What the weights give now, and the conditions under which they do.

    Args:
        found: their answers on the test split, with details.
        validated: their answers on the validation split.
        classes: of the model.
        where: conditions, as in `karat.tested.Tested`.
        copies: name of a corruption, strength, and answers on the corrupted test split, with details; empty where
            they were not asked for.
    """

    found: Evaluated
    validated: Evaluated
    classes: int
    where: Mapping[str, Any]
    copies: tuple[tuple[str, int, Evaluated], ...] = ()


def read_kept(path: Path, owner: str = "") -> Kept:
    """The weights of a checkpoint.

    Args:
        path: the `.pt` file.
        owner: required fingerprint of the trial; empty for any.

    Raises:
        CheckpointError: it is missing, damaged, or of another trial.
    """
    content = load_checkpoint(path, owner)
    model = content["model"]
    return Kept(
        path=path, model=model, epoch=content.get("epoch"), weights=sha256_of_weights(model)
    )


class Models:
    """Builds the models of trials, and none where the trial before had the same settings.

    All weights are replaced before each use, and nothing else in a model changes when it is evaluated.
    """

    def __init__(self) -> None:
        self._settings, self._model = "", nn.Module()

    def of(self, config: TrialConfig, initial: Path) -> nn.Module:
        """The model of a trial, with any weights.

        Args:
            config: of the trial.
            initial: folder of the study's initial weights.
        """
        shape = config.data_shape()
        settings = repr((config.model, config.attention, shape, initial))
        if settings != self._settings:
            model = build_model(config.model, config.attention, seed=0, **shape)
            self._model = with_attention(model, config, initial)
            self._settings = settings
        return self._model


def evaluate_again(
    trial: Trial,
    kept: Kept,
    models: Models,
    *,
    threads: int,
    micro_batches: int,
    data_place: Mapping[str, Any] | None = None,
    shifted: bool = False,
) -> Again:
    """Evaluate weights on the validation and the test split of a trial, in this process.

    Args:
        trial: its configuration defines the model and the data.
        kept: the weights.
        models: builds the model.
        threads: CPU threads, and
        micro_batches: parts of a batch, both as they were: results depend on them.
        data_place: where the data lies now, of `karat.planning.data_place`; None for where it lay.
        shifted: whether the corrupted copies that the data set names are evaluated too.

    Raises:
        RuntimeError: the weights do not fit the trial's model.
        CheckpointError: they are those of another attention.
        InputError: the data is missing here.
    """
    torch.set_num_threads(threads)
    config, group = TrialConfig.from_sections(sections_at(trial.config, data_place or {})), _OnCpu()
    model = models.of(config, kept.path.parents[2] / WEIGHTS)
    try:
        model.load_state_dict(kept.model)
    except CombinationError as error:
        raise CheckpointError(f"{kept.path}: {error}") from error
    splits = load_splits(config.data)

    def answers(split: Images, *, hash_images: bool = False) -> Evaluated:
        return evaluate(
            model,
            split,
            group,
            micro_batches=micro_batches,
            hash_images=hash_images,
            details=True,
        )

    return Again(
        found=answers(splits.test, hash_images=True),
        validated=answers(splits.val),
        classes=len(config.data.info().classes),
        where=conditions(model, group, micro_batches),
        copies=tuple(_copies(config, splits.test, answers)) if shifted else (),
    )


def _copies(
    config: TrialConfig, test: Images, answers: Callable[[Images], Evaluated]
) -> Iterator[tuple[str, int, Evaluated]]:
    from karat.training.testing.shifted import shifted_splits

    steps = config.data.preprocessing()
    if steps is None:
        return
    for name, strength, copy in shifted_splits(test, steps, config.data.corruptions):
        yield name, strength, answers(copy)
