"""`model.init_from: STUDY/same arm`: for each arm, the trial of that study which has the same model and attention.

Equal is what makes the architecture. Initial weights, the kernel, and what is tuned in either study do not count, nor do
the number of classes and the size of the images, to which weights are fitted (`karat.models.starting.taking`).
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import own_settings
from karat.errors import InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.models.config import SAME_ARM, ModelConfig
from karat.settings import build, fields_of
from karat.space.arms import trial_config
from karat.space.reader import space_of
from karat.space.space import Space
from karat.study.initial.sources import MissingWeightsError, study_of
from karat.training.checkpoint import kept_weights
from karat.training.initial.chosen import Chosen

# Settings without influence on the architecture, or replaced by the weights.
_NO_PART = {"name", "init_from", "pos_embed_std", "weight_init", "init", "kernel"}


class AwaitedStudyError(MissingWeightsError):
    """The study that will have the weights is not there yet, or not complete: a launch must wait for it."""


def each_from_its_own(
    space: Space, storage: Path, recorded: Mapping[str, Chosen]
) -> tuple[Space, dict[str, Chosen]]:
    """The space in which each arm names its trial, and those trials by the label of the arm here.

    Args:
        space: of the launch; returned as it is where no arm asks for it.
        storage: folder of all studies.
        recorded: what was chosen when the study began, which is not chosen anew.

    Raises:
        AwaitedStudyError: the other study is not there, or not complete.
        InputError: it has no trial, or several different ones, for an arm.
    """
    wanted = {
        label: text
        for label, arm in space.arms.items()
        if (text := str(arm.sections["model"].get("init_from", ""))).endswith(SAME_ARM)
    }
    if not wanted:
        return space, {}
    chosen: dict[str, Chosen] = {}
    givers: dict[str, Giver] = {}
    for label, text in wanted.items():
        was = recorded.get(label)
        if was is not None and was.text.rpartition("/")[0] == text.removesuffix(SAME_ARM):
            chosen[label] = was
            continue
        if text not in givers:
            givers[text] = Giver.of(text, storage)
        chosen[label] = givers[text].choose(space, label)
    texts = {
        label: chosen[label].text if label in chosen else arm.sections["model"]["init_from"]
        for label, arm in space.arms.items()
    }
    source = {**space.source, "model": {**space.source["model"], "init_from": texts}}
    known = space_of(source, space.name, space.name, space.early_stopping)
    return replace(known, cluster=space.cluster), chosen


@dataclass(frozen=True, kw_only=True)
class Giver:
    """A completed study whose arms have weights.

    Args:
        text: as `model.init_from` names it, STUDY/same arm.
        folder: of the study.
        state: of the study.
    """

    text: str
    folder: Path
    state: StudyState

    @classmethod
    def of(cls, text: str, storage: Path) -> "Giver":
        """The study that a text names.

        Raises:
            AwaitedStudyError: it is not there, or not complete.
        """
        try:
            folder = study_of(text, storage)
        except MissingWeightsError as error:
            raise AwaitedStudyError(str(error)) from error
        state = StudyState.of(read_events(folder / JOURNAL))
        if state.status != "completed":
            rule = "its best trials are known when it is completed"
            raise AwaitedStudyError(f"model.init_from = {text}: {folder} is {state.status}; {rule}")
        return cls(text=text, folder=folder, state=state)

    def choose(self, space: Space, label: str) -> Chosen:
        """The best confirmed seed of the arm here that is the same as one of another space.

        Args:
            space: of the other study.
            label: of its arm.

        Raises:
            InputError: there is none, or there are several different arms, or its weights are gone.
        """
        where = f"arm {label}: model.init_from = {self.text}"
        confirmed = self._confirmed()
        same = [each for each in confirmed if self._is_same(each, space, label)]
        arms = dict.fromkeys(each.arm for each in same)
        if not arms:
            known = ", ".join(dict.fromkeys(each.arm for each in confirmed)) or "none"
            raise InputError(
                f"{where}: no arm that is confirmed there has its model and attention; confirmed are: {known}"
            )
        if len(arms) > 1:
            raise InputError(
                f"{where}: several arms there have its model and attention: {', '.join(arms)}; name one trial of "
                f"each arm instead, as `model: {{init_from: {{{label}: STUDY/TRIAL, ...}}}}`"
            )
        metric = metric_of(self.state.created)
        best = max(same, key=lambda each: metric.goodness(_value(each, metric.name)))
        if kept_weights(trial_folder(self.folder, best.number)) is None:
            raise InputError(
                f"{where}: the weights of trial {best.number}, the best of {best.arm} there, are gone"
            )
        study = self.text.removesuffix(SAME_ARM)
        return Chosen(
            text=f"{study}/{best.number}", arm=best.arm, metric=metric.name, seeds=len(same)
        )

    def _confirmed(self) -> list[Trial]:
        """The completed confirmation runs of the longest training that have a validation value."""
        metric = metric_of(self.state.created).name
        return [
            trial
            for trial in self.state.of_phase("confirm")
            if trial.status == "completed"
            and trial.budget == self.state.longest
            and trial.of_kept_weights(metric) is not None
        ]

    def _is_same(self, trial: Trial, space: Space, label: str) -> bool:
        config, arm = trial_config(space, space.arms[label]), space.arms[label]
        tuned = {*arm.tuned, *trial.tuned}
        there = architecture(
            build(ModelConfig, trial.config["model"], "model"),
            AttentionConfig.from_settings(trial.config["attention"]),
            tuned,
        )
        return there == architecture(config.model, config.attention, tuned)


def architecture(
    model: ModelConfig, attention: AttentionConfig, tuned: Collection[str]
) -> dict[str, Any]:
    """What two models must have in common to be of the same arm.

    Args:
        model: a size and timm's name of it are the same.
        attention: of the model.
        tuned: full names of settings that do not count.
    """
    of_model = asdict(model)
    of_model |= model.shape() if model.is_plain else {"host": model.name}
    of_attention = asdict(attention)
    del of_attention["basis_settings"], of_attention["mechanism_settings"]
    # With defaults, which the settings of a space may leave out.
    if attention.basis is not None:
        basis = attention.make_basis()
        of_attention |= {key: getattr(basis, key) for key in fields_of(type(basis))}
    if not attention.is_softmax:
        mechanism = attention.make_mechanism()
        of_attention |= {key: getattr(mechanism, key) for key in own_settings(type(mechanism))}
    found = {
        **{f"model.{key}": value for key, value in of_model.items() if key not in _NO_PART},
        **{f"attention.{key}": value for key, value in of_attention.items() if key not in _NO_PART},
    }
    return {key: value for key, value in found.items() if key not in tuned}


def _value(trial: Trial, metric: str) -> float:
    value = trial.of_kept_weights(metric)
    assert value is not None  # `_confirmed` has only these
    return value
