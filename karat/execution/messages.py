"""What Ray Tune passes between the driver and a worker: a segment to it, reports from it.

Each is one string of JSON, so that Tune finds no metrics in it to flatten, count or average.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from karat.training.segment import Segment

SEGMENT, REPORT = "segment", "karat_report"


def config_of(segment: Segment) -> dict[str, Any]:
    """The configuration with which Tune starts a trial that runs the segment."""
    return {SEGMENT: json.dumps(dataclasses.asdict(segment))}


def segment_of(config: Mapping[str, Any]) -> Segment:
    """The segment in a configuration."""
    return Segment(**json.loads(config[SEGMENT]))


def result_of(trial: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """The result that a worker returns to Tune.

    Args:
        trial: number of the trial.
        report: as in `karat.training.worker`.
    """
    return {REPORT: json.dumps({"trial": trial, **report})}


def report_of(result: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The number of the trial and the report in a result."""
    report = json.loads(result[REPORT])
    return report.pop("trial"), report
