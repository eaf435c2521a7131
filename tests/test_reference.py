"""docs/reference.md is what the settings classes say, and has every key of every shipped space."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from karat.attention.names import place_of
from karat.reference import reference
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reference.md"
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def test_the_reference_is_what_the_code_gives() -> None:
    assert PAGE.read_text() == reference(), "python -m karat.reference docs/reference.md"


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_key_of_a_shipped_space_is_in_the_reference(path: Path) -> None:
    text = PAGE.read_text()
    space = yaml.safe_load(path.read_text())
    missing = {key for key in keys_of(space) if f"| `{key}` |" not in text}
    assert not missing


@pytest.mark.parametrize(
    "name", ["root", "grid_size", "window", "lambdas", "keep", "most", "notice_s"]
)
def test_the_settings_of_plug_ins_are_in_the_reference(name: str) -> None:
    assert f"| `{name}` |" in PAGE.read_text()


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |") or "None" in row]


def keys_of(space: dict[str, Any]) -> Iterator[str]:
    """Every key of a space, without the section in full names."""
    for section, values in space.items():
        yield section
        for key, value in values.items() if isinstance(values, dict) else ():
            if section == "cluster" and isinstance(value, dict):  # its own heading has the name
                yield from value
                continue
            yield place_of(key.rpartition(".")[2])[0]
            if section in ("factors", "tuned") and isinstance(value, dict):
                yield from value
