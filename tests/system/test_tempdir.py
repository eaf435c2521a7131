"""A launch deletes the temporary folders of killed launches, and no others."""

import dataclasses
import json
from pathlib import Path

import pytest

from karat.system import tempdir
from karat.system.process.identity import ProcessIdentity
from tests.journal.test_lock import dead_process


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempdir, "_parent", lambda: str(tmp_path))
    return tmp_path


def leave(folder: Path, owner: ProcessIdentity | None) -> Path:
    folder.mkdir()
    if owner is not None:
        (folder / "owner").write_text(json.dumps(dataclasses.asdict(owner)))
    return folder


def test_folder_of_a_killed_launch_is_deleted_and_others_stay(temporary: Path) -> None:
    dead = leave(temporary / "karat-dead", dead_process())
    living = leave(temporary / "karat-living", ProcessIdentity.own())
    elsewhere = leave(temporary / "karat-node7", ProcessIdentity("node7", 1, "x"))
    unknown = leave(temporary / "karat-unknown", None)
    link = temporary / "karat-link"
    link.symlink_to(leave(temporary / "other", dead_process()))
    made = tempdir.make_tempdir()
    assert not dead.exists()
    for folder in (living, elsewhere, unknown, link, temporary / "other", made):
        assert folder.exists()
    assert made.stat().st_mode & 0o777 == 0o700


def test_path_too_long_for_sockets_is_replaced_by_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempdir.tempfile, "gettempdir", lambda: "/tmp/" + "x" * 60)
    assert tempdir._parent() == "/tmp"
