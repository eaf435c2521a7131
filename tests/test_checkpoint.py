from pathlib import Path

import pytest
import torch

from karat.checkpoint import load_checkpoint, load_last_good, newest_first, save_series
from karat.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for epoch in (1, 2, 3):
        save_series(tmp_path, "epoch", epoch, {"weights": torch.full((3,), float(epoch))})
    return tmp_path


def test_last_two_are_kept(folder: Path) -> None:
    assert [p.name for p in newest_first(folder, "epoch")] == ["epoch-00003.pt", "epoch-00002.pt"]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("harm", ["cut", "flip", "no manifest"])
def test_damaged_checkpoint_falls_back_to_the_one_before(folder: Path, harm: str) -> None:
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


def test_checkpoints_ahead_of_the_journal_are_passed_over(folder: Path) -> None:
    found = load_last_good(folder, "epoch", at_most=2)
    assert found is not None
    assert found[0] == 2
    assert load_last_good(folder, "epoch", at_most=1) is None
