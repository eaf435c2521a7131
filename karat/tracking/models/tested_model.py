"""The model that a study ends with: which trial's it is, and how it is built from the weights that are kept."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from karat.datasets import Preprocessing
from karat.errors import CheckpointError, CombinationError, DataError
from karat.journal.layout import WEIGHTS, trial_folder
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState, data_of
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at
from karat.report.facts.summary import summarise
from karat.training.checkpoint import epoch_of, kept_weights, load_checkpoint

if TYPE_CHECKING:
    from torch import nn

    from karat.training.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class KeptModel:
    """The model of a trial with the weights that it keeps, in the mode of evaluation.

    Args:
        trial: whose model it is.
        path: of the checkpoint.
        epoch: epochs done when the weights had these values.
        config: of the trial.
        model: from normalised images, (B, channels, size, size), to logits, (B, classes).
        channels, size: of its images; the size in pixels along an edge.
        classes: names, in the order of the logits.
        preprocessing: from an image as it is read to the model's input; None where the data set does not say.
    """

    trial: Trial
    path: Path
    epoch: int
    config: "TrialConfig"
    model: "nn.Module"
    channels: int
    size: int
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None


def best_confirmed(state: StudyState) -> tuple[Trial, list[float]] | None:
    """The trial whose model a study ends with, and the metric of each completed seed of its arm.

    It is the best seed of the arm that the report's answer is about. Where the answer is about no
    single arm, it is that of the arm with the best mean of the study's metric, at the epochs whose
    weights were tested. Only completed confirmation trials of the longest training count; None if
    there is none.
    """
    metric = metric_of(state.created)
    arms: dict[str, list[tuple[float, Trial]]] = defaultdict(list)
    for trial in state.of_phase("confirm"):
        value = trial.of_kept_weights(metric.name)
        is_longest = trial.budget == state.longest
        if trial.status == "completed" and is_longest and value is not None:
            arms[trial.arm].append((value, trial))
    if not arms:
        return None
    headline = summarise(state).headline
    if headline is not None and headline.label in arms:
        found = arms[headline.label]
    else:
        found = max(arms.values(), key=lambda arm: metric.goodness(fmean(each for each, _ in arm)))
    _, best = max(found, key=lambda each: metric.goodness(each[0]))
    return best, [value for value, _ in found]


def kept_model(folder: Path, state: StudyState, trial: Trial) -> KeptModel:
    """Build the model of a trial and load the weights that it keeps.

    Of a trial of an older version only the weights of its best epoch are left, which may not be the
    tested ones. The data set is not needed where the journal and the settings say enough.

    Args:
        folder: of the study.
        state: of the study.
        trial: of the study.

    Raises:
        CheckpointError: there are no valid weights.
        DataError: the data set, which alone says what the images are like, is missing.
    """
    from karat.models.build import build_model
    from karat.training.config import TrialConfig
    from karat.training.initial.start import with_attention

    path = kept_weights(trial_folder(folder, trial.number))
    if path is None:
        raise CheckpointError(f"{folder}: trial {trial.number} has no checkpoint of its weights")
    content = load_checkpoint(path, trial.fingerprint)
    config = TrialConfig.from_sections(sections_at(trial.config, state.data_place))
    channels, size, classes = _images_of(
        config, data_of(state.created["data"], trial.config["data"])
    )
    model = build_model(
        config.model,
        config.attention,
        image_size=size,
        channels=channels,
        classes=len(classes),
        seed=0,  # without effect: all weights are replaced
    )
    model = with_attention(model, config, folder / WEIGHTS)
    try:
        model.load_state_dict(content["model"])
    except (CombinationError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit the trial's model ({error})") from error
    return KeptModel(
        trial=trial,
        path=path,
        epoch=content.get("epoch", epoch_of(path)),
        config=config,
        model=model.eval(),
        channels=channels,
        size=size,
        classes=classes,
        preprocessing=config.data.preprocessing(),
    )


def which_weights(trial: Trial) -> str:
    """Which weights a trial keeps, in words."""
    if trial.tested is None:
        return (
            "the weights of its best epoch on the validation split, which may not be those tested"
            if trial.phase == "confirm"
            else "the weights of its best epoch on the validation split; it was not tested"
        )
    return f"the weights that were tested, those of epoch {trial.tested['epoch']}"


def _images_of(
    config: "TrialConfig", recorded: Mapping[str, Any]
) -> tuple[int, int, tuple[str, ...]]:
    """Channels, size and classes of a trial's images."""
    steps = config.data.preprocessing()
    try:
        info = config.data.info()
    except DataError:  # moved or deleted since; the names of its classes are in the journal
        if steps is None or not recorded.get("classes"):
            raise
        return len(steps.mean), steps.size, tuple(recorded["classes"])
    return info.channels, info.image_size, info.classes
