"""What a study starts from: every arm's weights, checked before anything is trained, and kept.

Where weights lie is no part of the question, but their fingerprint is. A study goes on with weights that were moved, with
a path that was changed in its space, and with its own copy where the originals are gone; it refuses others.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.errors import CheckpointError, InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL, WEIGHTS
from karat.journal.state import StudyState
from karat.models.config import OWN, SCRATCH
from karat.space.arms import trial_config
from karat.space.reader import space_of
from karat.space.space import Arm, Space
from karat.study.initial.same_arm import each_from_its_own
from karat.training.initial.chosen import Chosen

if TYPE_CHECKING:
    from karat.models.starting.taking import Taken
    from karat.training.initial.source import Source

_KEY, _ATTENTION = "model.init_from", "model.attention_from"
_DRAWN = {_KEY: SCRATCH, _ATTENTION: OWN}
_SHOWN = 12  # digits of a fingerprint


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights that some arms start from.

    Args:
        source: the weights.
        arms: label of each arm that starts from them to what it takes.
        attention: labels of the arms that have the attention of their model.
        chosen: why this trial, where `STUDY/same arm` has chosen it; None otherwise.
        note: where they are from, if not from where the space says; empty otherwise.
    """

    source: "Source"
    arms: Mapping[str, "Taken"]
    attention: tuple[str, ...] = ()
    chosen: Chosen | None = None
    note: str = ""

    def lines(self) -> list[str]:
        """One line for each way in which arms take the weights."""
        told: dict[str, list[str]] = {}
        for label, taken in self.arms.items():
            told.setdefault(str(taken), []).append(label)
        text, sha = self.source.text, self.source.fingerprint[:_SHOWN]
        why = f"{self.chosen}; " if self.chosen else ""
        found = [
            f"{', '.join(labels)} from {text} ({why}sha256 {sha}): {taken}"
            for taken, labels in told.items()
        ]
        if self.attention:
            found.append(
                f"{', '.join(self.attention)} with the attention of {text} (sha256 {sha}), frozen; values and "
                "everything else are trained"
            )
        return [*found, *([self.note] if self.note else [])]

    def plain(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {
            "init_from": self.source.text,
            "sha256": self.source.fingerprint,
            "arms": {
                label: {
                    "taken": taken.taken,
                    "resized": list(taken.resized),
                    "fresh": list(taken.fresh),
                    "left_out": list(taken.left_out),
                }
                for label, taken in self.arms.items()
            },
            **({"attention": list(self.attention)} if self.attention else {}),
            **({"chosen": self.chosen.plain()} if self.chosen else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Starts:
    """What all arms of a space start from; `space` is as the study knows it, if only places have changed."""

    space: Space
    found: tuple[Start, ...] = ()

    @property
    def fingerprints(self) -> dict[str, str]:
        """`model.init_from` to the sha256 of the weights."""
        return {each.source.text: each.source.fingerprint for each in self.found}

    def lines(self) -> list[str]:
        """What is said of it at a launch and in a plan."""
        return [line for each in self.found for line in each.lines()]

    def plain(self) -> list[dict[str, Any]]:
        """As the journal keeps it; empty where all weights are drawn."""
        return [each.plain() for each in self.found]

    def keep(self, study: Path) -> None:
        """Write the study's copies, as far as they are missing."""
        for each in self.found:
            each.source.keep(study / WEIGHTS)


def starts_of(space: Space, study: Path, storage: Path, *, fresh: bool = False) -> Starts:
    """Find and check the weights of all arms.

    Args:
        space: of the launch.
        study: folder of the study, which may have begun.
        storage: folder of all studies.
        fresh: whether a study that is there counts for nothing.

    Raises:
        InputError: weights are missing, of another architecture, or not those with which the study began.
    """
    if not list(_texts(space)):
        return Starts(space=space)
    state = StudyState()
    if not fresh and (study / JOURNAL).is_file():
        state = StudyState.of(read_events(study / JOURNAL))
    recorded = recorded_of(state)
    space, by_label = each_from_its_own(space, storage, _chosen_of(state))
    sources = {text: _found(text, study, storage, recorded) for text in _texts(space)}
    space, names = _as_recorded(space, sources, recorded)
    chosen = {each.text: each for each in by_label.values()}
    starts = []
    for text in _texts(space):
        source, note = sources[names.get(text, text)]
        source = replace(source, text=text)
        _refuse_others(source, recorded, study)
        starts.append(
            Start(
                source=source,
                arms=_taken(space, source),
                attention=_given(space, source),
                chosen=chosen.get(names.get(text, text)),
                note=note,
            )
        )
    return Starts(space=space, found=tuple(starts))


def recorded_of(state: StudyState) -> dict[str, str]:
    """`model.init_from` to the sha256 of the weights, from a study's journal."""
    return {each["init_from"]: each["sha256"] for each in state.created.get("weights", ())}


def _chosen_of(state: StudyState) -> dict[str, Chosen]:
    """Label of an arm to the trial that `STUDY/same arm` chose for it when the study began."""
    return {
        label: chosen
        for each in state.created.get("weights", ())
        if (chosen := Chosen.of(each)) is not None
        for label in each["arms"]
    }


def _texts(space: Space) -> Iterable[str]:
    """The weights that a space names, each once."""
    found: dict[str, None] = {}
    for arm in space.arms.values():
        for key, drawn in _DRAWN.items():
            found |= {text: None for text in _values(space, arm, key) if text != drawn}
    return found


def _values(space: Space, arm: Arm, key: str) -> list[str]:
    """What a setting of the model may be in an arm."""
    if key in arm.tuned:
        return [str(value) for value in space.tuned[key].values or ()]
    return [str(arm.sections["model"].get(key.partition(".")[2], _DRAWN[key]))]


def _found(
    text: str, study: Path, storage: Path, recorded: Mapping[str, str]
) -> "tuple[Source, str]":
    """The weights, or the study's copy of them; with a note in the second case."""
    from karat.study.initial.sources import MissingWeightsError, find
    from karat.training.initial.source import Source

    try:
        return find(text, storage), ""
    except MissingWeightsError as error:
        if text not in recorded:
            raise
        try:
            kept = Source.kept(study / WEIGHTS, text)
        except CheckpointError as damage:
            raise InputError(f"{error}; and of the study's copy: {damage}") from damage
        return kept, f"{error}: the study goes on with its own copy"


def _as_recorded(
    space: Space, sources: "Mapping[str, tuple[Source, str]]", recorded: Mapping[str, str]
) -> tuple[Space, dict[str, str]]:
    """The space with weights that were moved named as in the journal; and those names, to the new ones."""
    moved = {
        text: old
        for text, (source, _) in sources.items()
        if text not in recorded
        for old, sha in recorded.items()
        if sha == source.fingerprint
    }
    if not moved:
        return space, {}
    source = _renamed(space.source, moved)
    known = space_of(source, space.name, space.name, space.early_stopping)
    return replace(known, cluster=space.cluster), {old: new for new, old in moved.items()}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _refuse_others(source: "Source", recorded: Mapping[str, str], study: Path) -> None:
    was = recorded.get(source.text)
    if was is not None and was != source.fingerprint:
        raise InputError(
            f"{study}: the weights of model.init_from = {source.text} have changed since this study began "
            f"(sha256 recorded {was[:_SHOWN]}, found {source.fingerprint[:_SHOWN]}); choose another --name, "
            "or rename the older study with --fresh"
        )


def _taken(space: Space, source: "Source") -> "dict[str, Taken]":
    """What each arm that starts from these weights takes of them.

    Raises:
        InputError: they do not fit an arm's model.
    """
    from karat.models.build import build_model
    from karat.training.initial.start import start_from

    found: dict[str, Taken] = {}
    seen: dict[str, Taken] = {}
    for label, arm in space.arms.items():
        config = trial_config(space, arm)
        if source.text not in _values(space, arm, _KEY):
            continue
        shape = config.data_shape()
        key = json.dumps([arm.sections[name] for name in ("data", "model", "attention")])
        if key not in seen:
            model = build_model(config.model, config.attention, seed=0, **shape)
            try:
                seen[key] = start_from(model, source)
            except InputError as error:
                raise InputError(f"arm {label}: {error}") from error
        found[label] = seen[key]
    return found


def _given(space: Space, source: "Source") -> tuple[str, ...]:
    """The arms that have the attention of the model with these weights.

    Raises:
        InputError: it does not fit an arm's model.
    """
    from karat.models.build import build_model
    from karat.training.initial.start import give_from

    found = []
    for label, arm in space.arms.items():
        if source.text not in _values(space, arm, _ATTENTION):
            continue
        config = trial_config(space, arm)
        model = build_model(config.model, config.attention, seed=0, **config.data_shape())
        try:
            give_from(model, source)
        except InputError as error:
            raise InputError(f"arm {label}: {error}") from error
        found.append(label)
    return tuple(found)
