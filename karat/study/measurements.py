"""Whether the metrics of an epoch can be used."""

import math
from collections.abc import Mapping

from karat.causes import Details, Failure


def fault_of(
    metrics: Mapping[str, float], metric: str, epoch: int
) -> tuple[Failure, Details] | None:
    """Why a trial fails with these metrics: one is missing or not finite; None if it does not.

    Args:
        metrics: of the epoch.
        metric: that the study searches by.
        epoch: epochs done.
    """
    if metric not in metrics:
        return Failure.ERROR, {"missing": metric, "epoch": epoch}
    for name, value in metrics.items():
        if not math.isfinite(value):
            return Failure.NON_FINITE, {"name": name, "value": str(value), "epoch": epoch}
    return None
