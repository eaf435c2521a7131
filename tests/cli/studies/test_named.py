"""A study is named by its name or its folder."""

from pathlib import Path

import pytest

from karat.cli.studies.named import study_folder
from karat.errors import InputError
from karat.journal.layout import JOURNAL


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("fourier-grid", "basis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / JOURNAL).touch()
    (tmp_path / "mlruns").mkdir()
    return tmp_path


def test_a_study_is_found_by_name_and_by_folder(storage: Path) -> None:
    assert study_folder("basis", storage) == storage / "basis"
    assert study_folder(f"{storage}/basis/", Path("elsewhere")) == storage / "basis"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fourier_grid", "did you mean 'fourier-grid'? Known: basis, fourier-grid"),
        ("", "Known: basis, fourier-grid"),
        ("mlruns", "no such study in"),
    ],
)
def test_an_unknown_name_offers_the_nearest(storage: Path, given: str, message: str) -> None:
    with pytest.raises(InputError, match="no such study") as caught:
        study_folder(given, storage)
    assert message in str(caught.value)


def test_a_folder_without_a_journal_is_not_a_study(storage: Path) -> None:
    with pytest.raises(
        InputError, match=r"mlruns: not a study \(there is no journal.jsonl in it\)"
    ):
        study_folder(str(storage / "mlruns"), storage)


def test_a_storage_without_studies_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds none\. --storage names the folder"):
        study_folder("basis", tmp_path)
