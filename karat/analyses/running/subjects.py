"""What a trial of a study gives an analysis: its model with the weights that it kept, images, and its path."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from karat.analyses.running.images import some_images
from karat.analyses.subject import Snapshot, Subject
from karat.datasets import load_splits
from karat.errors import AnalysisError
from karat.journal.layout import WEIGHTS, trial_folder
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at
from karat.training.checkpoint import kept_weights, load_checkpoint, snapshots
from karat.training.config import TrialConfig
from karat.training.initial.start import starting_model


def subject_of(
    folder: Path, state: StudyState, trial: Trial, images: int, without: tuple[int, ...] = ()
) -> Subject:
    """The trial's model on this process' CPU, validation images, and the weights of its training.

    Args:
        folder: of the study.
        state: of the study.
        trial: completed, with its weights.
        images: at most this many, spread evenly over the validation split: the same for all trials that
            have the same data.
        without: places in the split of images that cannot be read.

    Raises:
        AnalysisError: its weights are missing.
        CheckpointError: they are damaged.
        InputError: the data set is missing here.
    """
    config = TrialConfig.from_sections(sections_at(trial.config, state.data_place))
    initial = folder / WEIGHTS
    model = starting_model(config, config.training.seed_of(trial.seed), initial)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    own = trial_folder(folder, trial.number)
    path = last_weights(own)
    last = load_checkpoint(path, trial.fingerprint)
    model.load_state_dict(last["model"])
    split = load_splits(config.data).val
    tensor, labels = some_images(split, images, without)
    return Subject(
        model=model.eval(),
        images=tensor,
        labels=labels,
        path=tuple(_path(own, trial, start, last)),
    )


def last_weights(own: Path) -> Path:
    """The checkpoint with the weights that a completed trial kept.

    Args:
        own: folder of the trial.

    Raises:
        AnalysisError: there is none.
    """
    path = kept_weights(own)
    if path is None:
        raise AnalysisError("its weights are missing")
    return path


def fingerprint_of(own: Path) -> str:
    """What identifies the weights that a trial kept: the sums in the manifests of its checkpoints.

    Raises:
        AnalysisError: there are no weights, or a manifest is missing.
    """
    paths = [path.with_suffix(".json") for path in (last_weights(own), *snapshots(own))]
    return " ".join(_sum_in(path) for path in paths)


def _sum_in(manifest: Path) -> str:
    try:
        return str(json.loads(manifest.read_text("utf-8"))["sha256"])
    except OSError as error:
        raise AnalysisError(f"{manifest}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AnalysisError(f"{manifest}: is no manifest of a checkpoint") from error


def _path(
    own: Path, trial: Trial, start: Mapping[str, Tensor], last: Mapping[str, Any]
) -> Iterator[Snapshot]:
    """The start, the snapshots, and the last weights, by epoch."""
    end = int(last.get("epoch") or trial.epochs)
    yield Snapshot(epoch=0, read=lambda: start)
    for path in snapshots(own):
        epoch = int(path.stem.rpartition("-")[2])
        if 0 < epoch < end:
            yield Snapshot(epoch=epoch, read=partial(_weights, path, trial.fingerprint))
    yield Snapshot(epoch=end, read=lambda: last["model"])


def _weights(path: Path, owner: str) -> Mapping[str, Tensor]:
    found: Mapping[str, Tensor] = load_checkpoint(path, owner)["model"]
    return found
