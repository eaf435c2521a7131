"""Small studies that are trained in this process, and changes of their journals with right checksums."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL
from karat.space.reader import load_space
from karat.study.study import Study
from tests.faults.inline import run

SHORT = (
    ("epochs: 4", "epochs: 3"),
    ("trials: 6", "trials: 4"),
    ("batch_size: 128", "batch_size: 256"),
    ("[1, 2]", "[2]"),
)


def trained(space: Path, folder: Path) -> Path:
    """Run the study of a space file to its end, with real training; returns its folder."""
    question = load_space(space)
    with Journal.open(folder) as journal:
        study = Study(question, journal, folder)
        run(study, question)
        assert study.state.status == "completed"
    return folder


def rewrite(folder: Path, change: Callable[[Event], dict[str, Any]]) -> None:
    """Change the data of a study's events; the checksum of every line is right again."""
    path = folder / JOURNAL
    events = list(read_events(path))
    path.unlink()
    times = iter([event.time for event in events])
    with Journal.open(folder, clock=lambda: next(times)) as journal:
        for event in events:
            journal.append(event.kind, **change(event))


def change_report(
    folder: Path, trial: int, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Change the data of the last report of a trial."""
    reports = [e for e in read_events(folder / JOURNAL) if e.kind == "reported"]
    last = max(each.seq for each in reports if each.data["trial"] == trial)
    rewrite(folder, lambda e: change(dict(e.data)) if e.seq == last else dict(e.data))
