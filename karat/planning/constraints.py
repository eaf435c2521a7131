"""Which reports of the search break a constraint, and the details of such a stop."""

from collections.abc import Mapping
from typing import Any

from karat.constraints import broken
from karat.space.space import Space


def violation(space: Space, epoch: int, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Details of `Stop.CONSTRAINT` if an epoch's metrics break a constraint; None if they do not.

    Args:
        space: of the study.
        epoch: epochs done.
        metrics: of the report.
    """
    found = broken(space.search.conditions, metrics)
    if found is None:
        return None
    constraint, value = found
    return {
        "epoch": epoch,
        "metric": constraint.metric,
        "value": value,
        "relation": constraint.relation,
        "limit": constraint.limit,
    }
