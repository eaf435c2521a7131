"""What `karat compare` compares: a study, an arm of one, or a trial, as the command line names it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.cli.studies.named import state_of, study_folder
from karat.cli.studies.show_trial import resolved, trial_in
from karat.errors import InputError, nearest
from karat.journal.outcomes import metric_of, rule_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.settings import flat

_NAMES = ("study", "question")  # of a space, which are no settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    Args:
        given: as the command line names it.
        folder, state: of its study.
        arm: its label; None for a study.
        trial: if it is one trial; else None.
    """

    given: str
    folder: Path
    state: StudyState
    arm: str | None = None
    trial: Trial | None = None

    @property
    def kind(self) -> str:
        """`study`, `arm` or `trial`."""
        if self.trial is not None:
            return "trial"
        return "study" if self.arm is None else "arm"

    @property
    def runs(self) -> list[Trial]:
        """Its completed confirmation runs of the longest training; a trial itself."""
        if self.trial is not None:
            return [self.trial]
        return [
            trial
            for trial in self.state.of_phase("confirm")
            if trial.arm == self.arm
            and trial.budget == self.state.longest
            and trial.status == "completed"
        ]

    @property
    def tunings(self) -> int:
        """Independent tunings of each arm of its study."""
        return rule_of(self.state.created).tunings

    def settings(self) -> dict[str, Any]:
        """Full name to value; of an arm those that all its cells share, of a study those of its space."""
        if self.trial is not None:
            return resolved(self.trial, self.state)
        if self.arm is None:
            space = {k: v for k, v in self.state.created["space"].items() if k not in _NAMES}
            return flat(space)
        found: dict[str, Any] | None = None
        for run in self.runs or self._searched():
            own = resolved(run, self.state)
            shared = own if found is None else found
            found = {key: shared[key] for key in shared if own.get(key) == shared[key]}
        return found or {}

    def _searched(self) -> list[Trial]:
        return [trial for trial in self.state.of_phase("search") if trial.arm == self.arm]


def side_of(given: str, storage: Path) -> Side:
    """The side that `STUDY`, `STUDY:54` or `STUDY:ARM` names.

    Raises:
        InputError: there is no such study, trial or arm; names the nearest.
    """
    try:
        folder, part = study_folder(given, storage), ""
    except InputError:
        name, colon, part = given.rpartition(":")
        if not colon:
            raise
        folder = study_folder(name, storage)
    state = state_of(folder)
    if not state.created:
        raise InputError(f"{folder}: the study has not begun")
    if not part:
        return Side(given=given, folder=folder, state=state)
    labels = [arm["label"] for arm in state.created["arms"]]
    if part in labels:
        return Side(given=given, folder=folder, state=state, arm=part)
    if part.isdecimal():
        trial = trial_in(state, int(part), folder)
        return Side(given=given, folder=folder, state=state, arm=trial.arm, trial=trial)
    raise InputError(
        f"{given}: {part!r} is neither a trial's number nor an arm. {nearest(part, labels)}"
    )


def labels_of(one: Side, other: Side) -> tuple[str, str]:
    """Short names of both, that differ where the sides do."""
    if one.folder.samefile(other.folder) and one.kind != "study":
        own = [
            f"trial {side.trial.number}" if side.trial is not None else str(side.arm)
            for side in (one, other)
        ]
        return own[0], own[1]
    parts = [side.given.rpartition(":")[2] if side.kind != "study" else "" for side in (one, other)]
    names = [side.folder.name for side in (one, other)]
    if names[0] == names[1]:
        return one.given, other.given
    told = [f"{name}:{part}" if part else name for name, part in zip(names, parts, strict=True)]
    return told[0], told[1]


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, with both values; None where a side does not have one."""
    names = dict.fromkeys([*one, *other])
    return {
        name: (one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name) or (name in one) != (name in other)
    }


def same_data(one: Side, other: Side) -> bool:
    """Whether both are of the same images and the same metric, so that values can be compared."""
    mine, theirs = one.state.created, other.state.created
    same_images = mine["data"]["fingerprint"] == theirs["data"]["fingerprint"]
    return same_images and metric_of(mine) == metric_of(theirs)
