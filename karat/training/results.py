"""What training for an epoch, or for a part of one, ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from karat.tested import Tested


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """The result of one epoch: epochs done (from 1), metrics, and its duration in seconds.

    `tested` holds the test evaluation, image by image, where there was one, `scores` what else it found
    (`karat.training.testing.scores`), and `shifted` the same of corrupted test images, where they are asked for.
    `health` holds what attention does, by block and head (`karat.training.watching.health`), where it is asked for,
    `snapshots` the epochs whose weights are kept, in the last epoch of a run that keeps any.
    """

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    tested: Tested | None = None
    scores: Mapping[str, Any] | None = None
    shifted: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None
    snapshots: Sequence[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Training paused within an epoch, with a checkpoint: epochs done, and steps of the next one."""

    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Within:
    """The state within an epoch: steps done, the sum of their losses, seconds used so far.

    `random` holds the states of the random generators of each rank.
    """

    step: int
    loss: Tensor
    seconds: float
    random: list[list[Tensor]]
