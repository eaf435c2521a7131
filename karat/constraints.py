"""Conditions on the metrics of an epoch that a trial of the search must meet: `health_entropy >= 0.05`."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

Relation = Literal["<=", ">="]
_FORM = re.compile(r"\s*([A-Za-z]\w*)\s*(<=|>=)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A metric and the least or the highest value that it may have.

    Args:
        metric: of an epoch's report.
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
