"""Conditions that a trial of the search must meet: on metrics of an epoch (`health_entropy >= 0.05`), and on what is known before
it is trained (`parameters <= 6.3e6`).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

Relation = Literal["<=", ">="]
_FORM = re.compile(r"\s*([A-Za-z]\w*)\s*(<=|>=)\s*(\S+)\s*")


# What is known before training: parameters and multiply-adds of one image's forward pass, and the forecast of a process's
# memory in units of 2^20 bytes.
PARAMETERS, MACS, MEMORY = "parameters", "macs", "memory_mb"
KNOWN_BEFORE = (PARAMETERS, MACS, MEMORY)
OF_CONFIGURATION = (PARAMETERS, MACS)
EPOCH_S = "epoch_s"  # mean seconds of an epoch, which can be a goal (`karat.goals`)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A metric and the least or the highest value that it may have.

    Args:
        metric: of an epoch's report, or one of `KNOWN_BEFORE`.
        relation: of the metric's value to the limit.
        limit: finite.
    """

    metric: str
    relation: Relation
    limit: float

    @classmethod
    def of(cls, text: str) -> Self:
        """From `METRIC <= NUMBER` or `METRIC >= NUMBER`.

        Raises:
            ValueError: it is neither; the message is a rule.
        """
        found = _FORM.fullmatch(text)
        try:
            limit = float(found[3]) if found else math.nan
        except ValueError:
            limit = math.nan
        if found is None or not math.isfinite(limit):
            raise ValueError(
                "must be METRIC <= NUMBER or METRIC >= NUMBER, as in health_entropy >= 0.05"
            )
        return cls(found[1], "<=" if found[2] == "<=" else ">=", limit)

    def holds(self, value: float) -> bool:
        """Whether a value of the metric is allowed."""
        return value <= self.limit if self.relation == "<=" else value >= self.limit

    @property
    def is_known_before(self) -> bool:
        """Whether training is not needed to know it."""
        return self.metric in KNOWN_BEFORE

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.limit:g}"


def contradiction(constraints: Iterable[Constraint]) -> tuple[Constraint, Constraint] | None:
    """Two constraints of one metric of which the second adds nothing, or that no value meets; None if there are none."""
    seen: list[Constraint] = []
    for each in constraints:
        for other in seen:
            if other.metric == each.metric and (
                other.relation == each.relation or not other.holds(each.limit)
            ):
                return other, each
        seen.append(each)
    return None


def broken(
    constraints: Iterable[Constraint], metrics: Mapping[str, float]
) -> tuple[Constraint, float] | None:
    """The first constraint that an epoch's metrics do not meet, and the value; None if they meet all.

    A metric that was not reported, such as an entropy of weights that are all zero, is not looked at.
    """
    for each in constraints:
        value = metrics.get(each.metric)
        if value is not None and not each.holds(value):
            return each, value
    return None
