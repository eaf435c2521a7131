"""Which trials to run: the search, then the confirmation of its best cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.space.space import Arm

__all__ = ["Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed trial: an arm, its tuned parameters, the index of the seed, and the tuning (from 0)."""

    arm: Arm
    tuned: Mapping[str, Any]
    seed_index: int
    tuning: int = 0
