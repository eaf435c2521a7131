"""The weights that a trial kept, evaluated on the test split once more, on this machine's CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from karat.datasets import load_splits
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
    """What the test evaluation finds now, and the conditions under which it does."""

    found: Evaluated
    where: Mapping[str, Any]


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


def evaluate_again(
    trial: Trial,
    kept: Kept,
    *,
    threads: int,
    micro_batches: int,
    data_place: Mapping[str, Any] | None = None,
) -> Again:
    """Evaluate weights on the test split of a trial, in this process.

    Args:
        trial: its configuration defines the model and the data.
        kept: the weights.
        threads: CPU threads, and
        micro_batches: parts of a batch, both as they were: results depend on them.
        data_place: where the data lies now, of `karat.planning.data_place`; None for where it lay.

    Raises:
        RuntimeError: the weights do not fit the trial's model.
        InputError: the data is missing here.
    """
    torch.set_num_threads(threads)
    config, group = TrialConfig.from_sections(sections_at(trial.config, data_place or {})), _OnCpu()
    # The seed has no effect: all weights are replaced.
    model = build_model(config.model, config.attention, seed=0, **config.data_shape())
    model = with_attention(model, config, kept.path.parents[2] / WEIGHTS)
    model.load_state_dict(kept.model)
    test = load_splits(config.data).test
    found = evaluate(model, test, group, micro_batches=micro_batches, hash_images=True)
    return Again(found=found, where=conditions(model, group, micro_batches))
