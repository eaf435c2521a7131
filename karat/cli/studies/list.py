"""`karat list`: the studies of a storage folder, how each stands, and its answer in a line."""

import argparse
import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import STORAGE, activity_of, add_storage, study_names
from karat.cli.text.layout import columns, paragraph, say, width
from karat.cli.text.next_steps import next_lines
from karat.errors import InputError, JournalError
from karat.parameters import EACH_ARM

if TYPE_CHECKING:
    from karat.report.facts.confirmed import ConfirmedArm
    from karat.report.facts.standing import Standing

_PHASES = {"search": "search trials", "shortlist": "shortlist runs", "confirm": "confirmation runs"}
_MUCH = 20e6  # bytes of journals that one process reads in about a second
_BESIDE = 130  # columns from which the answer stands beside the rest, not below it


@dataclass(frozen=True, slots=True)
class Row:
    """One study: its folder, and how it stands, or why that cannot be told."""

    folder: Path
    activity: str
    standing: "Standing | None"
    problem: str = ""


def _add(parser: argparse.ArgumentParser) -> None:
    add_storage(parser)
    add_json(parser)


def _list(options: argparse.Namespace) -> int:
    storage: Path = options.storage
    if not storage.is_dir() and storage != STORAGE:
        raise InputError(f"{storage}: no such folder; --storage names the folder of all studies")
    rows = sorted(_rows([storage / name for name in study_names(storage)]), key=_age)
    if options.json:
        print_json("list", {"storage": str(storage), "studies": [_json(row) for row in rows]})
        return OK
    if not rows:
        say([f"{storage}: no studies yet; `karat launch --space FILE` runs one"])
        return OK
    say(_lines(rows))
    last = next((row.folder for row in reversed(rows) if row.standing), None)
    if last is not None:
        say(next_lines(last, "show {}"))
    return OK


def row_of(folder: Path) -> Row:
    """What is known of a study; a journal that cannot be read is a row too."""
    from karat.journal.journal import read_ends
    from karat.journal.layout import JOURNAL
    from karat.journal.state import StudyState
    from karat.report.facts.standing import standing_of

    try:
        standing = standing_of(StudyState.of(read_ends(folder / JOURNAL)))
        return Row(folder, activity_of(folder, standing.status), standing)
    except JournalError as error:
        return Row(folder, "unreadable", None, str(error))
    except OSError as error:  # another user's, or a disk that is away
        return Row(folder, "unreadable", None, f"{folder}: {error.strerror}")


def _rows(folders: Sequence[Path]) -> list[Row]:
    """The rows of studies; of many large ones in several processes."""
    from karat.journal.layout import JOURNAL

    processes = min(len(folders), os.cpu_count() or 1)
    if processes == 1 or sum((each / JOURNAL).stat().st_size for each in folders) < _MUCH:
        return [row_of(folder) for folder in folders]
    # Not a fork: a program that calls this may have threads, and a fork of such a process can hang.
    # States have no cycles of references; looking for them took a fifth of the time.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=gc.disable) as pool:
        return list(pool.map(row_of, folders))


def _age(row: Row) -> tuple[float, str]:
    """The oldest first, so that the newest is just above the prompt; what cannot be read before all."""
    return (row.standing.began_at if row.standing else 0.0, row.folder.name)


def _lines(rows: Sequence[Row]) -> Iterable[str]:
    cells = [("study", "state", "trials", "began (UTC)", "ended"), *map(_cells, rows)]
    table = columns(cells)
    yield table[0]
    beside = width() >= _BESIDE
    indent = " " * (max(map(len, table)) + 2) if beside else "    "
    for row, line in zip(rows, table[1:], strict=True):
        below = paragraph(_answer(row), indent)
        if beside:
            yield line.ljust(len(indent)) + below[0].lstrip()
            yield from below[1:]
        else:
            yield line
            yield from below


def _answer(row: Row) -> str:
    return row.problem if row.standing is None else brief_answer(row.standing)


def _cells(row: Row) -> tuple[str, ...]:
    found = row.standing
    if found is None:
        return row.folder.name, row.activity, "", "", ""
    trials = f"{sum(found.ended.values())} of {sum(found.planned.values())}"
    moments = [_moment(each) for each in (found.began_at, found.ended_at)]
    return row.folder.name, row.activity, trials, *moments


def _moment(time: float | None) -> str:
    from karat.report.formatting import moment_text

    return "" if time is None else moment_text(time).removesuffix(" UTC")


def _json(row: Row) -> dict[str, Any]:
    from karat.report.document import moment

    found = row.standing
    arm = found.headline if found is not None else None
    compared = arm.comparison if arm is not None else None
    return {
        "study": row.folder.name,
        "folder": str(row.folder),
        "state": row.activity,
        "status": found.status if found else None,
        "trials": {
            phase: {"planned": planned, "ended": found.ended[phase]}
            for phase, planned in (found.planned if found else {}).items()
            if found
        },
        "began_at": moment(found.began_at) if found else None,
        "ended_at": moment(found.ended_at) if found else None,
        "is_final": found.is_final if found else False,
        "answer": _answer(row) if found else None,
        "headline": arm.label if arm is not None else None,
        "against": arm.against if arm is not None else None,
        "verdict": compared.verdict if compared and compared.difference is not None else None,
        "difference": compared.difference if compared else None,
        "low": compared.low if compared else None,
        "high": compared.high if compared else None,
        "problem": row.problem or None,
    }


def brief_answer(standing: "Standing") -> str:
    """The answer in a line: the verdict and the difference, and no more. It says what the first sentence of `karat.report.answer.answer` does, or less."""
    from karat.journal.wording import study_failure_text

    if standing.status == "failed":
        return f"no answer: {study_failure_text(standing.cause, standing.details)}"
    if not standing.is_final:
        return f"no answer yet: {progress_text(standing)}"
    if standing.is_matched:
        return _by_arm(standing) if standing.by == EACH_ARM else _by_level(standing)
    arm = standing.headline
    if arm is None:
        return "no answer: no arm but the reference has a result"
    return _about(arm, standing)


def progress_text(standing: "Standing") -> str:
    """How many trials of the phase that runs have ended: `7 of 20 search trials have ended`."""
    for phase, planned in standing.planned.items():
        if standing.ended[phase] < planned:
            return f"{standing.ended[phase]} of {planned} {_PHASES[phase]} have ended"
    return "all trials have ended"


def _about(arm: "ConfirmedArm", standing: "Standing") -> str:
    from karat.report.formatting import Units, interval_text

    units, found = Units(standing.metric), arm.comparison
    if found is None or found.difference is None:
        return f"{arm.label}: nothing to compare it with"
    what = "" if standing.metric.is_share else " in test loss"
    return (
        f"{arm.label} {found.verdict}: {interval_text(found, units)}{units.step}{what} "
        f"against {arm.against}"
    )


def _by_arm(standing: "Standing") -> str:
    """`2 better, 1 inconclusive, each against its own reference`."""
    counts = Counter(
        arm.comparison.verdict
        if arm.comparison is not None and arm.comparison.difference is not None
        else "not compared"
        for arm in standing.others
    )
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{told or 'nothing to compare'}, each against its own reference"


def _by_level(standing: "Standing") -> str:
    """`by embed_dim: better at 24 and 48; inconclusive at 96`."""
    from karat.report.formatting import listed, short, text_of

    at: dict[str, list[str]] = {}
    for arm in standing.others:
        found = arm.comparison
        known = found is not None and found.difference is not None
        word = found.verdict if found is not None and known else "not compared"
        at.setdefault(word, []).append(text_of(arm.level))
    told = "; ".join(f"{word} at {listed(levels)}" for word, levels in at.items())
    return f"by {short(standing.by)}: {told or 'nothing to compare'}"


LIST = Command(_add, _list)
