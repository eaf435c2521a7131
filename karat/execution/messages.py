"""What the driver and the worker of a slot tell each other.

Ray Tune sees each as strings of JSON: it finds no metrics in them to flatten, count or average.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from karat.training.segment import Segment

BUNDLES, REPORT = "bundles", "karat_report"
# Of a worker that waits for a segment.
IDLE: Mapping[str, Any] = {REPORT: ""}


def config_of(bundles: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The configuration with which Tune starts a slot: the resources of each process."""
    return {BUNDLES: json.dumps(bundles)}


def bundles_of(config: Mapping[str, Any]) -> list[dict[str, float]]:
    """The resources in the configuration of a slot."""
    found: list[dict[str, float]] = json.loads(config[BUNDLES])
    return found


def assignment_of(segment: Segment | None) -> str:
    """What a worker is to run next; None lets it wait."""
    return "" if segment is None else json.dumps(dataclasses.asdict(segment))


def segment_of(assignment: str) -> Segment | None:
    """The segment that a worker is to run next."""
    return Segment(**json.loads(assignment)) if assignment else None


def result_of(trial: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """The result that a worker returns to Tune.

    Args:
        trial: number of the trial.
        report: as in `karat.training.worker`.
    """
    return {REPORT: json.dumps({"trial": trial, **report})}


def report_of(result: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """The number of the trial and the report in a result; None if the worker waits."""
    if not result[REPORT]:
        return None
    report = json.loads(result[REPORT])
    return report.pop("trial"), report
