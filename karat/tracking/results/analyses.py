"""What `karat analyze` found, as MLflow shows it: numbers of each trial, pictures and tables of the study."""

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from karat.journal.layout import ANALYSES, CHAPTER
from karat.report.parts.why import read_chapter
from karat.tracking.artifacts import drop_others

_SHOWN = (".svg", ".png", ".csv")
log = logging.getLogger(__name__)


def log_analyses(client: Any, study_run: str, folder: Path, runs: Mapping[int, str]) -> None:
    """Log the numbers as metrics `ANALYSIS/NAME` of the trials' runs, and the files as artifacts of the study's.

    Nothing where there are none. May be repeated: the same numbers stay one point, and files of an earlier chapter
    that this one lacks are deleted.

    Args:
        client: an `MlflowClient`.
        study_run: id of the study's run.
        folder: of the study.
        runs: number of a trial to the id of its run.
    """
    try:
        chapter = read_chapter(folder)
    except ValueError as error:
        log.warning("the analyses of %s cannot be read: %s", folder, error)
        return
    if chapter is None:
        return
    from mlflow.entities import Metric

    below = folder / ANALYSES
    time_ms = int(1000 * (below / CHAPTER).stat().st_mtime)
    for trial, numbers in _numbers(chapter).items():
        if trial in runs:
            metrics = [Metric(name, value, time_ms, 0) for name, value in numbers.items()]
            client.log_batch(runs[trial], metrics)
    client.log_artifact(study_run, str(below / CHAPTER), ANALYSES)
    shown = {f"{ANALYSES}/{CHAPTER}"}
    for part in chapter["parts"]:
        name = str(part["analysis"])
        for file in sorted((below / name).iterdir()):
            if file.suffix in _SHOWN:
                client.log_artifact(study_run, str(file), f"{ANALYSES}/{name}")
                shown.add(f"{ANALYSES}/{name}/{file.name}")
    drop_others(client, study_run, ANALYSES, shown)


def _numbers(chapter: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    """Number of a trial to the names and values of its metrics."""
    found: dict[int, dict[str, float]] = {}
    for analysis, row in _rows(chapter):
        values = {
            f"{analysis}/{name}": float(value)
            for name, value in row.items()
            if name not in ("arm", "trial") and value is not None and math.isfinite(value)
        }
        found.setdefault(int(row["trial"]), {}).update(values)
    return found


def _rows(chapter: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in chapter["parts"]:
        for row in part["numbers"]:
            yield str(part["analysis"]), row
