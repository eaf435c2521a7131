"""The process is killed at every point of the program where it could matter, and run again.

After each case the audit and the replay find nothing, and trials, reports and the end are those of
a study that was never killed: training is deterministic, so even the numbers are the same.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.replay import replay
from karat.space.reader import load_space
from karat.study.audit import audit
from tests.faults.inline import launch
from tests.marks import further

SHORT = (
    ("epochs: 4", "epochs: 3"),
    ("trials: 6", "trials: 4"),
    ("batch_size: 128", "batch_size: 256"),
    # Two steps in an epoch, which can be interrupted between them: there are hundreds of epochs.
    ("data: {name: digits}", "data: {name: digits, test_share: 0.65}"),
)
EVENTS = {
    "study_created": 1, "launched": 1, "trial_asked": 3, "segment_started": 3, "reported": 4,
    "trial_ended": 2, "confirmation_planned": 1, "study_ended": 1,
}  # fmt: skip
CHECKPOINTS = ("write.before", "rename.before", "rename.after", "manifest.before", "manifest.after")
PLACES = [
    *(f"{kind}.{when}@{count}" for kind, count in EVENTS.items() for when in ("before", "written", "after")),
    *(f"checkpoint.{place}@5" for place in CHECKPOINTS),
    *(f"journal.torn@{count}" for count in (1, 2, 9)),
    "step.before@4",
]  # fmt: skip
# One of each kind; `make test-all` has the rest.
QUICK = ("trial_ended.written@", "rename.after", "journal.torn@2", "step.before")
WriteSpace = Callable[..., Path]


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    """Return the result of a study without times.

    Which seed is confirmed first depends on which level is decided first, so on the times: the runs of
    the confirmation are in the order of arms and seeds, without their numbers.
    """
    state = StudyState.of(read_events(folder / JOURNAL))
    trials = [
        (t.number if t.phase == "search" else -1, t.phase, t.arm, dict(t.tuned), t.seed, t.status,
         [(r.epoch, dict(r.metrics)) for r in t.reports])
        for t in sorted(
            state.trials.values(),
            key=lambda t: (0, t.number, "", 0) if t.phase == "search" else (1, 0, t.arm, t.seed_index),
        )
    ]  # fmt: skip
    return [*trials, (state.status,)]


def check(space: Path, folder: Path, whole: Sequence[Any]) -> None:
    assert audit(folder, tracking=False) == []
    assert list(replay(load_space(space), list(read_events(folder / JOURNAL)))) == []
    assert outcome(folder) == whole


@pytest.fixture
def space(write_space: WriteSpace) -> Path:
    return write_space(*SHORT)


@pytest.mark.parametrize(
    "place",
    [
        place
        if any(each in place for each in QUICK)
        else pytest.param(place, marks=pytest.mark.slow)
        for place in PLACES
    ],
)
def test_study_killed_at_a_point_gives_the_same_result(
    place: str, space: Path, tmp_path: Path, whole: list[Any]
) -> None:
    folder = tmp_path / "s"
    assert launch(space, folder, f"{place}=kill:{tmp_path / 'once'}") == -9
    assert launch(space, folder) == 0
    check(space, folder, whole)


@pytest.mark.parametrize("when", further(["written", "before", "after"]))
@pytest.mark.parametrize("kind", ["segment_ended", "interrupted"])
def test_study_killed_while_it_stops_gives_the_same_result(
    kind: str, when: str, space: Path, tmp_path: Path, whole: list[Any]
) -> None:
    folder = tmp_path / "s"
    assert launch(space, folder, f"{kind}.{when}@1=kill:{tmp_path / 'once'}", reports=4) == -9
    assert launch(space, folder) == 0
    check(space, folder, whole)


def test_study_that_stopped_within_an_epoch_gives_the_same_result(
    space: Path, tmp_path: Path, whole: list[Any]
) -> None:
    folder = tmp_path / "s"
    for reports in (1, 2, 4):
        assert launch(space, folder, reports=reports) == 75
        ends = [e.data for e in read_events(folder / JOURNAL) if e.kind == "segment_ended"]
        assert (ends[-1]["cause"], ends[-1]["details"]["step"]) == ("paused", 1)
    assert launch(space, folder) == 0
    check(space, folder, whole)


@pytest.mark.parametrize("extend", further(["trials=+2", "epochs=+1"]))
@pytest.mark.parametrize(
    "when",
    ["written", *(pytest.param(each, marks=pytest.mark.slow) for each in ("before", "after"))],
)
def test_study_killed_while_it_is_extended_gives_the_same_result(
    when: str, extend: str, space: Path, tmp_path: Path
) -> None:
    for name in ("whole", "killed"):
        assert launch(space, tmp_path / name, reports=5) == 75
    assert launch(space, tmp_path / "whole", extend=[extend]) == 0
    fault = f"study_extended.{when}@1=kill:{tmp_path / 'once'}"
    assert launch(space, tmp_path / "killed", fault, extend=[extend]) == -9
    assert launch(space, tmp_path / "killed", extend=[extend]) == 0
    check(space, tmp_path / "killed", outcome(tmp_path / "whole"))


def test_study_killed_again_and_again_never_goes_back(
    space: Path, tmp_path: Path, whole: list[Any]
) -> None:
    folder, draw, progress = tmp_path / "s", random.Random(0), 0
    for number in range(8):
        place = draw.choice(PLACES).partition("@")[0]
        fault = f"{place}@{draw.randint(1, 6)}=kill:{tmp_path / f'once{number}'}"
        if launch(space, folder, fault) == 0:
            break
        state = StudyState.of(read_events(folder / JOURNAL))
        ended = sum(trial.ended for trial in state.trials.values())
        assert ended >= progress
        progress = ended
    if StudyState.of(read_events(folder / JOURNAL)).status != "completed":
        assert launch(space, folder) == 0
    check(space, folder, whole)
