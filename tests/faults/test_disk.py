"""Disks that are full, read-only, or limited by `resources.disk_gb`."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import failure_text, study_text
from karat.planning.replay import replay
from karat.report.formatting import interrupted_text, way_on
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.audit import audit
from tests.faults.inline import launch
from tests.faults.test_kills import SHORT, check
from tests.marks import further
from tests.study.test_study import open_study, run

WriteSpace = Callable[..., Path]


def state_of(folder: Path) -> StudyState:
    return StudyState.of(read_events(folder / JOURNAL))


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user cannot mount: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of a quarter of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_that_fills_up_interrupts_the_study_with_the_reason_and_costs_no_trial(
    write_space: WriteSpace, small_disk: Path, whole: list[Any], tmp_path: Path
) -> None:
    space, folder = write_space(*SHORT), small_disk / "s"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 150_000)
    launch(space, folder)
    state = state_of(folder)
    assert not any(trial.status == "failed" for trial in state.trials.values())
    assert state.status in ("interrupted", "running")  # running: the journal itself did not fit
    if state.status == "interrupted":
        assert "No space left on device" in study_text(state)
    assert audit(folder, tracking=False) == []
    ballast.unlink()
    mount("-o", "remount,size=4m", str(small_disk))
    assert launch(space, folder) == 0
    assert audit(folder, tracking=False) == []
    assert not any(t.status == "failed" for t in state_of(folder).trials.values())


def test_study_resumes_when_a_read_only_disk_is_writable_again(
    write_space: WriteSpace, small_disk: Path, whole: list[Any], tmp_path: Path
) -> None:
    space, folder = write_space(*SHORT), small_disk / "s"
    mount("-o", "remount,size=4m", str(small_disk))
    assert launch(space, folder, f"trial1.step@2=kill:{tmp_path / 'once'}") == -9
    before = (folder / JOURNAL).read_bytes()
    mount("-o", "remount,ro", str(small_disk))
    assert launch(space, folder) == 1
    assert (folder / JOURNAL).read_bytes() == before
    mount("-o", "remount,rw", str(small_disk))
    assert launch(space, folder) == 0
    check(space, folder, whole)


@pytest.mark.parametrize("action", further(["full", "readonly"]))
@pytest.mark.parametrize("place", further(["rename.before", "write.before", "manifest.before"]))
def test_checkpoint_that_cannot_be_written_costs_a_segment_alone(
    write_space: WriteSpace, tmp_path: Path, place: str, action: str
) -> None:
    folder = tmp_path / "s"
    fault = f"checkpoint.{place}@4={action}:{tmp_path / 'once'}"
    assert launch(write_space(*SHORT), folder, fault) == 0
    ends = [e.data for e in read_events(folder / JOURNAL) if e.kind == "segment_ended"]
    (cut,) = [end for end in ends if end["cause"] == "checkpoint"]
    words = {"full": "No space left on device", "readonly": "Read-only file system"}
    assert words[action] in failure_text("checkpoint", cut["details"])
    assert not any(t.status == "failed" for t in state_of(folder).trials.values())
    assert audit(folder, tracking=False) == []


@pytest.mark.slow
def test_budget_drops_weights_that_cannot_be_confirmed(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    text = "confirm: {by: attention.grid_size, seeds: 2}"
    # The weights of this model take about 18 kB, its whole training state 45.
    space = write_space(
        (text, f"{text}\nresources: {{disk_gb: 4.5e-4}}"),
        ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none"),
        ("trials: 6", "trials: 18"),
        ("epochs: 4", "epochs: 2"),
    )
    assert launch(space, folder) == 0
    state = state_of(folder)
    assert state.status == "completed"
    assert any(trial.weights_dropped for trial in state.trials.values())
    assert not any(trial.status == "failed" for trial in state.trials.values())
    for arm in {trial.arm for trial in state.of_phase("search")}:
        kept = [t for t in state.of_phase("search") if t.arm == arm and not t.weights_dropped]
        assert any(t.status == "completed" for t in kept)
    assert audit(folder, tracking=False) == []


def test_study_whose_disk_budget_is_too_small_for_a_trial_says_so_and_fails_none(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    text = "confirm: {by: attention.grid_size, seeds: 2}"
    assert launch(write_space((text, f"{text}\nresources: {{disk_gb: 2.0e-5}}")), folder) == 75
    state = state_of(folder)
    assert "resources.disk_gb = 2e-05 is used up" in study_text(state)
    assert {trial.status for trial in state.trials.values()} == {"waiting"}
    assert audit(folder, tracking=False) == []


def test_study_with_a_full_disk_stops_and_resumes_when_there_is_space(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder, text = tmp_path / "s", "confirm: {by: attention.grid_size, seeds: 2}"
    exchanges = [*SHORT, ("trials: 4", "trials: 6")]
    full = write_space(*exchanges, (text, f"{text}\nresources: {{disk_gb: 2.0e-5}}"))
    assert launch(full, folder) == 75
    state = state_of(folder)
    assert {t.status for t in state.trials.values()} == {"waiting"}
    reason = study_text(state)
    assert reason.startswith("checkpoints could not be written 2 times in a row, the last time: ")
    assert "resources.disk_gb = 2e-05 is used up" in reason
    assert interrupted_text(state.cause, state.details) == f"interrupted: {reason}"
    assert "larger resources.disk_gb" in way_on(state.cause, state.details)
    assert launch(write_space(*exchanges), folder) == 0
    assert not any(t.status == "failed" for t in state_of(folder).trials.values())
    assert audit(folder, tracking=False) == []
    assert list(replay(load_space(full), list(read_events(folder / JOURNAL)))) == []


def test_trials_running_beside_failing_ones_resume_when_there_is_space(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        numbers = [segment.trial for _ in range(4) if (segment := study.next_segment())]
        for number in numbers:
            study.on_failed(number, "checkpoint", {"message": "no room"})
        assert study.next_segment() is None
        study.on_interrupted(None)
        statuses = [study.state.trials[number].status for number in numbers]
        assert statuses == ["waiting"] * 4
    again, journal = open_study(small_space, tmp_path / "s")
    with journal:
        assert again.full_disk() is None
        for trial in again.state.trials.values():
            trial.ready_at = 0.0  # as if the wait after the last time were over
        run(again)
        assert again.state.status == "completed"


def test_occasional_failures_do_not_stop_the_study(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
        for _ in range(3):
            unwritten, other = (study.next_segment() for _ in range(2))
            assert unwritten is not None
            assert other is not None
            study.on_failed(unwritten.trial, "checkpoint", {"message": "no room"})
            study.on_report(other.trial, other.from_epoch + 1, metrics, 1.0)
            study.on_failed(other.trial, "error", {"message": "wrong", "type": "E", "place": "a:1"})
        assert study.full_disk() is None


def test_trial_that_can_never_be_written_fails_alone(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
        for _ in range(4):
            for trial in study.state.trials.values():
                trial.ready_at = 0.0  # as if the wait after the last time were over
            segment, other = study.next_segment(), study.next_segment()
            assert segment is not None
            assert other is not None
            assert segment.trial == 0
            study.on_failed(0, "checkpoint", {"message": "larger than resources.disk_gb"})
            study.on_report(other.trial, other.from_epoch + 1, metrics, 1.0)
            study.on_failed(other.trial, "error", {"message": "wrong", "type": "E", "place": "a:1"})
        trial = study.state.trials[0]
        assert (trial.status, trial.cause) == ("failed", "checkpoint")
