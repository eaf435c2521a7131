"""Names of a study's files are defined in one module."""

import re
from pathlib import Path

import pytest

from karat.journal import layout
from karat.space.overrides import why_no_name
from tests.test_architecture import FILES

NAMES = {value for name, value in vars(layout).items() if name.isupper()}


@pytest.mark.parametrize("module", [name for name in FILES if name != layout.__name__])
def test_no_other_file_spells_a_path_of_a_study(module: str) -> None:
    text = FILES[module].read_text()
    spelled = re.findall(r'/ f?["\']([^"\']+)["\']', text)
    assert not NAMES & {*spelled}, "use karat.journal.layout"


def test_trials_are_numbered_with_four_digits() -> None:
    assert layout.trial_folder(Path("s"), 7) == Path("s/trials/0007")
    assert layout.trial_folder(Path("s"), 12345) == Path("s/trials/12345")


def test_no_study_has_the_name_of_mlflows_folder() -> None:
    assert why_no_name(layout.MLFLOW_FILES) is not None
