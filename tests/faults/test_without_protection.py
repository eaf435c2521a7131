"""The same faults with one protection switched off: the audit finds the damage.

This shows that the audit detects errors, and that each protection is needed.
"""

import fcntl
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.errors import CheckpointError, JournalError
from karat.journal import journal, lock
from karat.journal.journal import Journal
from karat.journal.layout import JOURNAL
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.audit import audit
from karat.study.description import description
from karat.study.listeners import Listener
from karat.study.study import Study
from karat.tracking import view
from karat.tracking.sync import TrackingError, sync
from karat.training import checkpoint, trainer
from karat.training.worker import SegmentWorker
from tests.faults.inline import run
from tests.faults.test_checkpoints import flip, swap
from tests.faults.test_kills import SHORT

WriteSpace = Callable[..., Path]


class Killed(BaseException):
    """Simulates the death of a process: an exception that no code catches."""


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(*SHORT))


def launch(space: Space, folder: Path, *, reports: float = math.inf) -> None:
    """Run or resume the study in this process; it is killed after that number of reports."""
    opened = Journal.open(folder)
    try:
        own = Study(space, opened, folder)
        if reports < math.inf:
            own.listeners.append(_killer(reports))
        run(own, space)
    except Killed:
        pass
    finally:
        opened.close()


def _killer(reports: float) -> Listener:
    left = [reports]

    def listen(event: Any, _: Any) -> None:
        left[0] -= event.kind == "reported"
        if left[0] <= 0:
            raise Killed

    return listen


def found(folder: Path) -> str:
    return "\n".join(audit(folder, tracking=False))


def test_with_all_protections_the_audit_finds_nothing(space: Space, tmp_path: Path) -> None:
    launch(space, tmp_path / "s", reports=5)
    launch(space, tmp_path / "s")
    assert found(tmp_path / "s") == ""


def test_without_recovery_a_trial_that_ran_is_never_ended(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(space, tmp_path / "s", reports=5)
    monkeypatch.setattr(Study, "_recover", lambda _: None)
    opened = Journal.open(tmp_path / "s")
    own = Study(space, opened, tmp_path / "s")
    trial = own.state.trials[1]
    assert trial.status == "running"
    trial.status = "waiting"  # as if the next launch simply began it again
    own.state.waiting.add(trial.number)
    assert own.next_segment() is not None
    opened.close()
    assert "started while another one ran" in found(tmp_path / "s")


def test_without_resuming_at_the_absolute_epoch_epochs_repeat(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(space, tmp_path / "s", reports=5)
    step = SegmentWorker.step

    def counted_from_one(self: SegmentWorker) -> dict[str, Any]:
        report = step(self)
        if "epoch" in report and self.segment.from_epoch:
            report["epoch"] -= self.segment.from_epoch
        return report

    monkeypatch.setattr(SegmentWorker, "step", counted_from_one)
    launch(space, tmp_path / "s", reports=2)
    assert "epoch 1 after epoch 2" in found(tmp_path / "s")


def test_without_waiting_for_the_journal_training_runs_ahead_of_it(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(space, tmp_path / "s", reports=4)
    lines = (tmp_path / "s" / JOURNAL).read_bytes().splitlines(keepends=True)
    launch(space, tmp_path / "s", reports=2)
    # Lines that had taken effect but were not on disk at a power failure.
    (tmp_path / "s" / JOURNAL).write_bytes(b"".join(lines[:-1]))
    assert "a checkpoint after epoch 3, but reports only up to epoch 0" in found(tmp_path / "s")


def test_without_cutting_a_torn_line_the_journal_is_refused(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(space, tmp_path / "s", reports=2)
    path = tmp_path / "s" / JOURNAL
    path.write_bytes(path.read_bytes()[:-30])
    monkeypatch.setattr(journal, "_cut_torn_tail", lambda _: None)
    with pytest.raises(JournalError, match="this line is damaged"):
        launch(space, tmp_path / "s", reports=2)


def test_without_the_lock_two_writers_number_their_lines_alike(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(lock, "_owner", lambda _: None)
    with Journal.open(tmp_path / "s") as first, Journal.open(tmp_path / "s") as second:
        Study(space, first, tmp_path / "s").record("study_created", **description(space, "f"))
        Study(space, second, tmp_path / "s").record("study_created", **description(space, "f"))
    with pytest.raises(JournalError, match="missing or doubled"):
        audit(tmp_path / "s", tracking=False)


@pytest.mark.parametrize("harm", [flip, swap])
def test_without_verification_a_damaged_checkpoint_is_resumed_from(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    folder = tmp_path / "s"
    launch(space, folder, reports=5)
    harm(folder)
    kept = audit(folder, tracking=False)
    assert any("trials/0001/epoch-00002.pt" in line for line in kept)
    with monkeypatch.context() as off:
        off.setattr(checkpoint, "_verified", lambda path, _: path.read_bytes())
        assert checkpoint.last_good(folder / "trials/0001", "epoch", 9) is not None
    assert checkpoint.last_good(folder / "trials/0001", "epoch", 9, "?") is None


def test_without_a_manifest_written_last_a_half_written_checkpoint_would_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"w": trainer.torch.ones(1000)}
    path = checkpoint.save_series(tmp_path, "epoch", 1, content)
    path.write_bytes(path.read_bytes()[:-1000])
    assert checkpoint.last_good(tmp_path, "epoch", 1) is None
    monkeypatch.setattr(checkpoint, "_verified", lambda path, _: path.read_bytes())
    with pytest.raises(CheckpointError, match="contains something else"):
        checkpoint.load_checkpoint(path)


def test_without_the_rule_for_non_finite_numbers_the_journal_refuses_them(
    space: Space, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "s") as opened:
        own = Study(space, opened, tmp_path / "s")
        own.record("study_created", **description(space, "f"))
        own.next_segment()
        with pytest.raises(ValueError, match="JSON"):
            own.record(
                "reported", trial=0, segment=0, epoch=1, seconds=1.0, metrics={"x": math.nan}
            )


def test_without_looking_for_its_runs_the_view_creates_them_twice(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "small"
    launch(space, folder, reports=5)
    sync(folder)
    assert audit(folder) == []
    with monkeypatch.context() as off:
        off.setattr(view.View, "_find_runs", lambda *_: {})
        # The view itself looks again at the end, and says so.
        with pytest.raises(TrackingError, match="does not show what was written"):
            sync(folder, give_up_s=0)
    lines = "\n".join(audit(folder))
    assert "MLflow has 2 runs of trial 0" in lines
    assert "MLflow has 2 runs of the study" in lines


def test_without_closing_what_a_dead_driver_left_runs_stay_running(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "small"
    launch(space, folder, reports=5)
    update = view.View.update

    def never_over(self: Any, record: Any, *, alive: bool) -> None:
        update(self, record, alive=True)

    monkeypatch.setattr(view.View, "update", never_over)
    sync(folder)
    assert "MLflow shows trial 1 as RUNNING, but no driver is running" in "\n".join(audit(folder))


def test_changed_lines_of_the_journal_are_found(space: Space, tmp_path: Path) -> None:
    launch(space, tmp_path / "s", reports=3)
    path = tmp_path / "s" / JOURNAL
    lines = path.read_text().splitlines()
    body = json.loads(lines[4])
    body["data"]["epoch"] = 7
    lines[4] = json.dumps(body, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalError, match=":5: this line is damaged"):
        audit(tmp_path / "s", tracking=False)
