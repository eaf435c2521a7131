"""Small studies that are trained in this process, and changes of their journals with right checksums."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.datasets.digits import Digits
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.space.reader import load_space
from karat.study.study import Study
from karat.training.checkpoint import kept_weights
from tests.conftest import SMALL
from tests.faults.inline import run

SHORT = (
    ("epochs: 4", "epochs: 3"),
    ("trials: 6", "trials: 4"),
    ("batch_size: 128", "batch_size: 256"),
    ("[1, 2]", "[2]"),
)
# The best epoch's weights are tested; at this learning rate most runs are best after the first.
BEST = (
    ("seeds: 2}", "seeds: 2, weights: best}"),
    ("low: 1e-3, high: 1e-2, log: true", "values: [1.0]"),
)


def trained(space: Path, folder: Path) -> Path:
    """Run the study of a space file to its end, with real training; returns its folder."""
    question = load_space(space)
    with Journal.open(folder) as journal:
        study = Study(question, journal, folder)
        run(study, question)
        assert study.state.status == "completed"
    return folder


def small_study(folder: Path, *exchanges: tuple[str, str]) -> Path:
    """A complete small study with four confirmed runs and the true fingerprint of its data."""
    text = SMALL
    for old, new in (*SHORT, *exchanges):
        assert old in text, old
        text = text.replace(old, new)
    (folder / "space.yaml").write_text(text)
    study = trained(folder / "space.yaml", folder / "small")
    data = {"fingerprint": Digits().check(), "classes": list("0123456789")}
    rewrite(
        study, lambda e: {**e.data, "data": data} if e.kind == "study_created" else dict(e.data)
    )
    return study


def state_of(folder: Path) -> StudyState:
    """The state of a study, from its journal."""
    return StudyState.of(read_events(folder / JOURNAL))


def confirmed(folder: Path) -> list[Trial]:
    """The confirmation runs of a small study."""
    found = state_of(folder).of_phase("confirm")
    assert len(found) == 4
    return found


def weights_of(folder: Path, trial: Trial) -> Path:
    """The checkpoint of the weights that a trial keeps."""
    path = kept_weights(trial_folder(folder, trial.number))
    assert path is not None
    return path


def tolerate_more(folder: Path) -> str:
    """Double the smallest difference in the journal; returns what an audit says of it."""

    def tolerant(event: Event) -> dict[str, Any]:
        data = dict(event.data)
        if event.kind == "study_created":
            data["confirm"] = {**data["confirm"], "smallest_difference": 0.01}
        return data

    rewrite(folder, tolerant)
    rule = "confirm.smallest_difference recorded 0.01, but its space says 0.005"
    return f"event 0 (study_created): {rule}"


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


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that a command has printed, before what to look at next."""
    return capsys.readouterr().out.partition("\n\nnext:")[0].splitlines()
