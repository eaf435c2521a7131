"""Checkpoints or the journal are damaged between a kill and the next launch; the study recovers."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from karat.errors import JournalError
from karat.journal.journal import read_events, repair
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import failure_text
from karat.study.audit import audit
from tests.faults.inline import launch
from tests.faults.test_kills import SHORT, check
from tests.marks import further

WriteSpace = Callable[..., Path]
Harm = Callable[[Path], None]


def newest(trial: Path) -> Path:
    return max(trial.glob("epoch-*.pt"))


def cut(folder: Path) -> None:
    path = newest(folder / "trials/0001")
    path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    damage(newest(folder / "trials/0001"))


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose(folder: Path) -> None:
    newest(folder / "trials/0001").unlink()


def lose_manifest(folder: Path) -> None:
    newest(folder / "trials/0001").with_suffix(".json").unlink()


def swap(folder: Path) -> None:
    """Replace a trial's files by those of another trial, manifest included."""
    mine, other = newest(folder / "trials/0001"), folder / "trials/0000"
    source = max(other.glob("best-*.pt"))
    for suffix in (".pt", ".json"):
        text = source.with_suffix(suffix).read_bytes()
        mine.with_suffix(suffix).write_bytes(text.replace(source.stem.encode(), mine.stem.encode()))


def swap_epochs(folder: Path) -> None:
    first, second = sorted((folder / "trials/0001").glob("epoch-*.pt"))
    for suffix in (".pt", ".json"):
        aside = folder / f"aside{suffix}"
        first.with_suffix(suffix).rename(aside)
        second.with_suffix(suffix).rename(first.with_suffix(suffix))
        aside.rename(second.with_suffix(suffix))


def lose_all(folder: Path) -> None:
    shutil.rmtree(folder / "trials/0001")


# The damage, the epoch resumed from, and why not a later one.
HARMS: Sequence[tuple[Harm, int, list[str]]] = (
    (cut, 1, ["damaged"]),
    (flip, 1, ["damaged"]),
    (lose, 1, ["is missing"]),
    (lose_manifest, 1, ["not a complete checkpoint"]),
    (swap, 1, ["is a checkpoint of another trial"]),
    (swap_epochs, 0, ["is another checkpoint", "is another checkpoint"]),
    (lose_all, 0, ["is missing", "is missing"]),
)


@pytest.mark.parametrize(
    ("harm", "from_epoch", "why"), further(HARMS, keep=3), ids=[h.__name__ for h, *_ in HARMS]
)
def test_damaged_checkpoint_costs_at_most_its_epochs(
    harm: Harm,
    from_epoch: int,
    why: list[str],
    write_space: WriteSpace,
    tmp_path: Path,
    whole: list[Any],
) -> None:
    space, folder = write_space(*SHORT), tmp_path / "s"
    # Trial 1 has reported two of its three epochs, and is killed in the third.
    assert launch(space, folder, f"trial1.step@3=kill:{tmp_path / 'once'}") == -9
    harm(folder)
    assert audit(folder, tracking=False) != [] or harm in (lose, lose_all, lose_manifest)
    assert launch(space, folder) == 0
    segments = [
        event.data
        for event in read_events(folder / JOURNAL)
        if event.kind == "segment_started" and event.data["trial"] == 1
    ]
    assert [segment["from_epoch"] for segment in segments] == [0, from_epoch]
    assert "passed_over" not in segments[0]
    passed_over = zip(segments[1]["passed_over"], why, strict=True)
    for epoch, (text, reason) in zip((2, 1), passed_over, strict=False):
        assert f"epoch-{epoch:05d}.pt: {reason}" in text
    check(space, folder, whole)


def test_damage_after_a_kill_between_checkpoint_and_report_costs_one_epoch(
    write_space: WriteSpace, tmp_path: Path, whole: list[Any]
) -> None:
    space, folder = write_space(*SHORT), tmp_path / "s"
    # Trial 0 has reported its three epochs, trial 1 two; the checkpoint of its third is written.
    assert launch(space, folder, f"reported.before@6=kill:{tmp_path / 'once'}") == -9
    own = folder / "trials/0001"
    assert newest(own).stem == "epoch-00003"
    damage(own / "epoch-00002.pt")
    assert launch(space, folder) == 0
    segments = [
        event.data
        for event in read_events(folder / JOURNAL)
        if event.kind == "segment_started" and event.data["trial"] == 1
    ]
    assert [segment["from_epoch"] for segment in segments] == [0, 1]
    check(space, folder, whole)


def test_checkpoint_that_verifies_and_cannot_be_read_costs_one_epoch(
    write_space: WriteSpace, tmp_path: Path, whole: list[Any]
) -> None:
    space, folder = write_space(*SHORT), tmp_path / "s"
    assert launch(space, folder, f"trial1.step@3=kill:{tmp_path / 'once'}") == -9
    path = newest(folder / "trials/0001")
    manifest = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(b"no tensors")
    manifest["sha256"] = hashlib.sha256(b"no tensors").hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))
    assert launch(space, folder) == 0
    events = list(read_events(folder / JOURNAL))
    own = [event for event in events if event.data.get("trial") == 1]
    assert [e.data["from_epoch"] for e in own if e.kind == "segment_started"] == [0, 2, 1]
    (lost,) = [e.data for e in own if e.kind == "segment_ended" and e.data["cause"] == "lost"]
    text = failure_text("lost", lost["details"])
    assert "the checkpoint after epoch 2 is missing or damaged" in text
    check(space, folder, whole)


@pytest.mark.parametrize("line", further([12, 3, 30]))
def test_study_with_a_repaired_journal_gives_the_same_result(
    line: int, write_space: WriteSpace, tmp_path: Path, whole: list[Any]
) -> None:
    space, folder = write_space(*SHORT), tmp_path / "s"
    assert launch(space, folder) == 0
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"seq"', b'"sEq"')
    (folder / JOURNAL).write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match="python -m karat repair"):
        audit(folder, tracking=False)
    done = repair(folder)
    assert done is not None
    assert done[0] == line
    assert StudyState.of(read_events(folder / JOURNAL)).status == "running"
    assert launch(space, folder) == 0
    check(space, folder, whole)
