"""What is written of a study's analyses: pictures, tables, and the chapter that the report shows.

In the study's folder `analyses`: NAME/NAME.csv and NAME/PICTURE.svg and .png for each analysis, and
`chapter.json`, whose schema docs/formats.md describes.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.analyses.kinds import ANALYSES, Analysis
from karat.analyses.pictures import Picture, png_of, svg_of
from karat.analyses.running.chosen import ChosenArm
from karat.analyses.running.tasks import Task
from karat.journal.layout import ANALYSES as FOLDER
from karat.journal.layout import CHAPTER
from karat.system.files import replace_file

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """The results of one analysis.

    Args:
        analysis: its name.
        arms: label to results, the representative's first.
        trials: label to the trials that these are of.
    """

    analysis: str
    arms: Mapping[str, Sequence[Analysis]]
    trials: Mapping[str, Sequence[int]]


def found_of(analysis: str, arms: Sequence[ChosenArm], tasks: Sequence[Task]) -> Found | None:
    """The results that are there; None without any.

    Raises:
        AnalysisError: a result is damaged.
    """
    of_trial = {task.trial: task for task in tasks if task.analysis == analysis and task.is_done}
    results: dict[str, list[Analysis]] = {}
    trials: dict[str, list[int]] = {}
    for arm in arms:
        there = [of_trial[trial.number] for trial in arm.trials if trial.number in of_trial]
        if there:
            results[arm.label] = [task.result() for task in there]
            trials[arm.label] = [task.trial for task in there]
    return Found(analysis=analysis, arms=results, trials=trials) if results else None


def write_chapter(
    folder: Path,
    arms: Sequence[ChosenArm],
    found: Sequence[Found],
    left_out: Sequence[str],
    images: int,
) -> dict[str, Any]:
    """Write pictures, tables and `chapter.json`; returns what is in the latter.

    Args:
        folder: of the study.
        arms: what was looked at.
        found: of each analysis.
        left_out: one line for each analysis that was not possible.
        images: the most validation images.

    Raises:
        OSError: a file cannot be written.
    """
    looked_at = {number for each in found for numbers in each.trials.values() for number in numbers}
    chapter = {
        "schema": SCHEMA,
        "images": images,
        "arms": [each for arm in arms if (each := _arm(arm, looked_at))["trials"]],
        "left_out": list(left_out),
        "parts": [_part(folder / FOLDER, each) for each in found],
    }
    text = json.dumps(chapter, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / FOLDER / CHAPTER, text.encode())
    return chapter


def _arm(arm: ChosenArm, looked_at: Collection[int]) -> dict[str, Any]:
    trials = [
        {"number": trial.number, "seed": trial.seed_index, "fingerprint": trial.fingerprint}
        for trial in arm.trials
        if trial.number in looked_at
    ]
    return {"label": arm.label, "is_confirmed": arm.is_confirmed, "trials": trials}


def _part(folder: Path, found: Found) -> dict[str, Any]:
    kind, own = ANALYSES[found.analysis], folder / found.analysis
    own.mkdir(parents=True, exist_ok=True)
    replace_file(own / f"{found.analysis}.csv", _csv(found).encode())
    chapter = kind.chapter(found.arms)
    pictures = [_drawn(folder, found.analysis, each) for each in kind.figures(found.arms)]
    kept = {Path(each["file"]).stem for each in pictures}
    for older in (*own.glob("*.svg"), *own.glob("*.png")):
        if older.stem not in kept:
            older.unlink(missing_ok=True)
    return {
        "analysis": found.analysis,
        "title": kind.title,
        "paragraphs": list(chapter.paragraphs),
        "tables": [dataclasses.asdict(table) for table in chapter.tables],
        "figures": pictures,
        "numbers": [
            {"arm": label, "trial": trial, **_finite(result.numbers())}
            for label, results in found.arms.items()
            for trial, result in zip(found.trials[label], results, strict=True)
        ],
    }


def _drawn(folder: Path, analysis: str, picture: Picture) -> dict[str, Any]:
    figure = picture.draw()
    files = {"svg": svg_of(figure), "png": png_of(figure)}
    for kind, content in files.items():
        replace_file(folder / analysis / f"{picture.name}.{kind}", content)
    shown = min(files, key=lambda kind: len(files[kind]))  # in the page, which has the content
    return {
        "file": f"{analysis}/{picture.name}.{shown}",
        "title": picture.title,
        "caption": picture.caption,
    }


def _csv(found: Found) -> str:
    buffer = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in _rows(found):
        if writer is None:
            writer = csv.DictWriter(buffer, fieldnames=list(row))
            writer.writeheader()
        writer.writerow(row)
    return buffer.getvalue()


def _rows(found: Found) -> Iterator[dict[str, Any]]:
    for label, results in found.arms.items():
        for trial, result in zip(found.trials[label], results, strict=True):
            for row in result.rows():
                yield {"arm": label, "trial": trial, **row}


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON has it, where there is no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
