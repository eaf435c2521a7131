import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from karat.errors import CheckpointError
from karat.training.checkpoint import (
    drop_half_written,
    keep_newest,
    last_good,
    load_checkpoint,
    load_last_good,
    newest_first,
    save_series,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for epoch in (1, 2, 3):
        save_series(tmp_path, "epoch", epoch, {"weights": torch.full((3,), float(epoch))})
    return tmp_path


def test_newest_and_two_before_it_are_kept(folder: Path) -> None:
    save_series(folder, "epoch", 4, {"weights": torch.ones(3)})
    assert [p.stem for p in newest_first(folder, "epoch")] == [
        "epoch-00004",
        "epoch-00003",
        "epoch-00002",
    ]
    assert len(list(folder.glob("epoch-*.json"))) == 3
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("harm", ["cut", "flip", "no manifest"])
def test_damaged_checkpoint_falls_back_to_the_previous_one(folder: Path, harm: str) -> None:
    path = folder / "epoch-00003.pt"
    data = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(data[:-20])
    elif harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="epoch-00003"):
        load_checkpoint(path)
    found = load_last_good(folder, "epoch", at_most=3)
    assert found is not None
    assert found[0] == 2
    assert found[1]["weights"].tolist() == [2, 2, 2]


def test_checkpoints_ahead_of_the_journal_are_ignored(folder: Path) -> None:
    found = load_last_good(folder, "epoch", at_most=2)
    assert found is not None
    assert found[0] == 2
    assert load_last_good(folder, "epoch", at_most=0) is None


def test_worker_that_outlives_its_segment_deletes_nothing_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker writes while the first is about to rename its temporary file."""
    content = {"weights": torch.ones(3)}

    def meanwhile(place: str) -> None:
        if place == "checkpoint.rename.before":
            monkeypatch.setattr("karat.system.fault_injection.at", lambda _: None)
            with monkeypatch.context() as there:
                there.setattr("socket.gethostname", lambda: "another")
                save_series(tmp_path, "epoch", 1, content)
            assert len(list(tmp_path.glob(".epoch-00001.pt.*"))) == 1

    monkeypatch.setattr("karat.system.fault_injection.at", meanwhile)
    save_series(tmp_path, "epoch", 1, content)
    assert load_last_good(tmp_path, "epoch", at_most=1) is not None
    assert not list(tmp_path.glob(".*"))


def test_temporary_files_of_a_killed_process_are_deleted_on_request(folder: Path) -> None:
    left = [folder / ".epoch-00004.pt.host.1", folder / ".best-00003.json.host.1"]
    for path in left:
        path.touch()
    keep_newest(folder, epoch=1, best=0)
    assert all(path.exists() for path in left)
    drop_half_written(folder)
    assert [path.name for path in folder.glob("*.pt")] == ["epoch-00003.pt"]
    assert not list(folder.glob(".*"))


# -- hostile ones -----------------------------------------------------------------------------


class Bomb:
    """Unpickling it calls a function that creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def put_checkpoint(folder: Path, data: bytes) -> Path:
    """A checkpoint as an attacker with access to the folder would write it: with a valid manifest."""
    path = folder / "epoch-00009.pt"
    path.write_bytes(data)
    manifest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(manifest))
    return path


def bytes_of(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["saved by torch", "plain pickle", "among the weights"])
def test_checkpoint_with_code_is_refused_and_runs_nothing(folder: Path, kind: str) -> None:
    trace = folder / "ran"
    data = {
        "saved by torch": lambda: bytes_of(Bomb(trace)),
        "plain pickle": lambda: pickle.dumps({"weights": Bomb(trace)}),
        "among the weights": lambda: bytes_of({"weights": torch.ones(3), "more": [Bomb(trace)]}),
    }[kind]()
    path = put_checkpoint(folder, data)
    with pytest.raises(
        CheckpointError, match=r"epoch-00009\.pt: contains something else than tensors"
    ):
        load_checkpoint(path)
    found = load_last_good(folder, "epoch", at_most=9)
    assert found is not None
    assert found[0] == 3
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # shows that the bomb works
    assert trace.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02" + b"\0" * 100])
def test_file_in_another_format_is_refused(folder: Path, data: bytes) -> None:
    with pytest.raises(CheckpointError, match="none of its code was run"):
        load_checkpoint(put_checkpoint(folder, data))


def test_checkpoint_that_is_not_a_mapping_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="contains a list, not a checkpoint"):
        load_checkpoint(put_checkpoint(folder, bytes_of([1, 2])))


@pytest.mark.parametrize(
    "manifest",
    [
        *(
            b"[]",
            b"null",
            b'"sha256"',
            b"{}",
            b'{"sha256": null}',
            b'{"sha256": [1]}',
            b"\xff",
            b"",
        ),
        *(b"[" * 4000, b'{"sha256": 1' + b"0" * 4000 + b"}", b" " * 50_000_000),
    ],
    ids=lambda manifest: f"{manifest[:12]!r} {len(manifest)}",
)
def test_hostile_manifest_is_refused_with_a_short_message(folder: Path, manifest: bytes) -> None:
    path = folder / "epoch-00003.pt"
    path.with_suffix(".json").write_bytes(manifest)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="epoch-00003") as caught:
        load_checkpoint(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
    assert len(str(caught.value)) < 300 + len(str(path))


def test_pipe_or_device_in_place_of_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        save_series(tmp_path, "epoch", epoch, {"w": torch.ones(3)})
    (tmp_path / "epoch-00003.pt").unlink()
    os.mkfifo(tmp_path / "epoch-00003.pt")
    (tmp_path / "epoch-00002.pt").unlink()
    (tmp_path / "epoch-00002.pt").symlink_to("/dev/zero")
    passed_over: list[str] = []
    found = last_good(tmp_path, "epoch", 9, passed_over=passed_over)
    assert found == tmp_path / "epoch-00001.pt"
    assert [("a pipe or a device" in each) for each in passed_over] == [True, True]


def test_names_of_checkpoints_are_known_without_torch(folder: Path) -> None:
    """The MLflow view asks for no more as long as a study runs, and would take 400 MB more with torch."""
    code = (
        "import sys; from pathlib import Path; from karat.training.checkpoint import kept_weights; "
        "kept_weights(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(folder)]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "False\n"
