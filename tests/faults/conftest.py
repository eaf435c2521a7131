"""The result of a study of the small space without any fault."""

from typing import Any

import pytest

from tests.conftest import SMALL
from tests.faults.inline import launch
from tests.faults.test_kills import SHORT, outcome


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """All trials, reports and the end of a study of the shortened small space."""
    folder = tmp_path_factory.mktemp("whole")
    text = SMALL
    for old, new in SHORT:
        text = text.replace(old, new)
    (folder / "space.yaml").write_text(text)
    assert launch(folder / "space.yaml", folder / "s") == 0
    found = outcome(folder / "s")
    assert found[-1] == ("completed",)
    return found
