"""A small study that was trained, for the tests of verification."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.studies import small_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study of four confirmed runs; not to be changed."""
    torch.set_num_threads(1)
    return small_study(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(whole, tmp_path / "small")
    return tmp_path / "small"
