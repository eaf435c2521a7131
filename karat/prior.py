"""Results of an older study with which the search of a study begins (`search.warm_start`), as its journal has them.

They stand in `study_created`, so that a study that goes on needs the older one no more. They are told to the sampler, and
are neither trials of the study nor candidates for its confirmation.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorTrial:
    """A completed search trial of the older study.

    Args:
        trial: its number there.
        arm: label, the same in both studies.
        tuned: full name to value.
        value: of the metric, at full length.
    """

    trial: int
    arm: str
    tuned: Mapping[str, Any]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What a search begins with.

    Args:
        study: name of the older study.
        uid: of it, in its journal.
        trials: of it that are told.
        left_out: number of its completed search trials that are not told: of other arms, outside a range, or not
            allowed by a constraint.
    """

    study: str
    uid: str
    trials: tuple[PriorTrial, ...]
    left_out: int

    @classmethod
    def of(cls, created: Mapping[str, Any]) -> Self | None:
        """From the data of `study_created`; None for a study that began with nothing."""
        found = created.get("warm_start")
        if found is None:
            return None
        trials = tuple(PriorTrial(**each) for each in found["trials"])
        return cls(
            study=found["study"], uid=found["uid"], trials=trials, left_out=found["left_out"]
        )

    def plain(self) -> dict[str, Any]:
        """As the journal keeps it."""
        trials = [
            {"trial": t.trial, "arm": t.arm, "tuned": dict(t.tuned), "value": t.value}
            for t in self.trials
        ]
        return {
            "study": self.study,
            "uid": self.uid,
            "trials": trials,
            "left_out": self.left_out,
        }

    @property
    def by_arm(self) -> Counter[str]:
        """Label of an arm to the number of its results that are told."""
        return Counter(each.arm for each in self.trials)
