"""The weights at the start, in the middle and at the end of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from karat.analyses.geometry.trained import Trained
from karat.analyses.subject import Snapshot, Subject
from karat.attention.carried import weights_of
from karat.errors import AnalysisError, CheckpointError


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Weights at one moment.

    Args:
        name: `start`, `middle` or `end`.
        epoch: epochs done; -1 where it is not known.
        state: of the model.
    """

    name: str
    epoch: int
    state: Mapping[str, Tensor]


def moments_of(subject: Subject) -> list[Moment]:
    """The start if the path begins there, the kept weights nearest to the middle, and those of the model.

    Raises:
        AnalysisError: weights cannot be read, or are of another model.
    """
    path, last = subject.path, -1
    found = []
    if path:
        last = path[-1].epoch
        if len(path) > 1 and path[0].epoch == 0:
            found.append(_read(subject, "start", path[0]))
        if between := path[1:-1]:
            nearest = min(between, key=lambda each: abs(2 * each.epoch - last))
            found.append(_read(subject, "middle", nearest))
    now = weights_of(subject.model.state_dict())
    state = {name: value.detach() for name, value in now.items()}
    return [*found, Moment(name="end", epoch=last, state=state)]


def _read(subject: Subject, name: str, snapshot: Snapshot) -> Moment:
    try:
        state = snapshot.read()
    except CheckpointError as error:
        raise AnalysisError(f"weights of epoch {snapshot.epoch}: {error}") from error
    state, own = weights_of(state), weights_of(subject.model.state_dict())
    if state.keys() != own.keys():
        raise AnalysisError(
            f"weights of epoch {snapshot.epoch} are of another model: {sorted(state.keys() ^ own.keys())[0]}"
        )
    Trained(subject.model).joined(state)  # refuses other shapes
    return Moment(name=name, epoch=snapshot.epoch, state=state)
