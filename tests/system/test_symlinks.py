"""Nothing is written through a symbolic link."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli.launch import launch
from karat.cli.main import main
from karat.errors import InputError
from karat.study.folder import refuse_symlinks
from tests.journals import study, write

WriteSpace = Callable[..., Path]
Snapshot = dict[str, tuple[int, bytes]]
PLACES = [
    *("small", "small/journal.jsonl", "small/lock", "small/trials", "small/trials/0000"),
    *("small/trials/0000/epoch-00001.pt", "small/report.html", "small/report", "small/sync.log"),
    *("small/sync.lock", "mlflow.db", "mlflow.db-journal", "mlruns", "mlruns/small"),
]


def snapshot(folder: Path) -> Snapshot:
    """Every path below a folder, with its modification time and content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "folder" / "deeper").mkdir(parents=True)
    (folder / "file").write_bytes(b"not yours")
    return folder


def put_link(path: Path, outside: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside / ("file" if "." in path.name or "lock" in path.name else "folder"))


@pytest.mark.parametrize("place", PLACES)
def test_launch_refuses_a_link_and_writes_nothing(
    write_space: WriteSpace,
    tmp_path: Path,
    outside: Path,
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = tmp_path / "studies"
    put_link(storage / place, outside)
    before, inside = snapshot(outside), snapshot(storage)
    arguments = ["--space", str(write_space()), "--storage", str(storage)]
    for more in ([], ["--fresh"]):
        assert launch([*arguments, *more]) == 2
        error = capsys.readouterr().err
        assert f"{storage / place}: is a symbolic link to {outside}" in error
        assert "Remove it, or replace it by its target" in error
    assert snapshot(outside) == before
    assert snapshot(storage) == inside


@pytest.mark.parametrize("command", ["report", "sync"])
@pytest.mark.parametrize("place", ["report", "report.html", "sync.lock", "../mlflow.db", "trials"])
def test_commands_that_write_into_a_study_refuse_a_link(
    tmp_path: Path, outside: Path, place: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "studies" / "small"
    write(folder, study())
    put_link(folder / place, outside)
    before, inside = snapshot(outside), snapshot(folder.parent)
    assert main([command, str(folder)]) == 2
    assert "is a symbolic link to" in capsys.readouterr().err
    assert snapshot(outside) == before
    assert snapshot(folder.parent) == inside


def test_dangling_link_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "small").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"small: is a symbolic link to .*gone"):
        refuse_symlinks(tmp_path / "studies" / "small")
    assert not (tmp_path / "gone").exists()


def test_storage_itself_may_be_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    write(real / "small", study())
    (tmp_path / "studies").symlink_to(real)
    assert main(["report", str(tmp_path / "studies" / "small")]) == 0
    assert (real / "small" / "report.html").stat().st_size > 1000


def test_link_is_found_from_inside_the_study_folder(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "studies" / "small", study())
    put_link(tmp_path / "studies" / "mlflow.db", outside)
    monkeypatch.chdir(tmp_path / "studies" / "small")
    with pytest.raises(InputError, match=r"mlflow\.db: is a symbolic link"):
        refuse_symlinks(Path(os.curdir))
