"""docs/environment.md lists all KARAT_ variables of the code, and no others."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

NAME = re.compile(r"\bKARAT_[A-Z][A-Z_]*\b")
PAGE = (ROOT / "docs" / "environment.md").read_text()
FOLDERS = ("karat", "jobs", "docker", "tests", "benchmarks", ".ci")
FILES = ("launch.py", "Makefile", "Dockerfile", "docker-compose.yml", ".env.example")


def code() -> Iterator[Path]:
    yield from (ROOT / name for name in FILES)
    for folder in FOLDERS:
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
        yield from (path for path in files if path.suffix != ".pyc")


def used() -> dict[str, list[str]]:
    """Every variable, with the files that contain its name."""
    found: dict[str, list[str]] = {}
    for path in code():
        for name in sorted(set(NAME.findall(path.read_text(errors="replace")))):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


USED = used()
ROWS = {row.split("`")[1]: row for row in PAGE.splitlines() if row.startswith("| `KARAT_")}


def test_page_lists_the_variables_of_the_code() -> None:
    assert ROWS.keys() == USED.keys()
    assert set(NAME.findall(PAGE)) == USED.keys()


@pytest.mark.parametrize("name", ROWS)
def test_page_names_the_files_that_use_a_variable(name: str) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", ROWS[name]))
    assert named, "the row must name the files that set and read the variable"
    assert named <= {path for path in USED[name] if not path.startswith("tests/test_")} | _indirect(
        name
    )


def _indirect(name: str) -> set[str]:
    """Files that use the variable through a constant."""
    constants = {
        constant
        for path in USED[name]
        for constant in re.findall(rf'^([A-Z_]+) = "{name}"', (ROOT / path).read_text(), re.M)
    }
    return {
        str(path.relative_to(ROOT))
        for path in code()
        for constant in constants
        if path.suffix == ".py" and re.search(rf"import .*\b{constant}\b", path.read_text())
    }
