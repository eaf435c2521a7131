"""What the documentation names exists: linked files, paths, modules and tests."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)[^)]*\)")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
FENCED_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?<![\w/.~-])((?:karat|jobs|tests|docs|benchmarks)/[\w./*-]*)(?:::(\w+))?")
MODULE = re.compile(r"python -m ([A-Za-z_][\w.]*)")
DOTTED = re.compile(r"`((?:karat|jobs|tests|benchmarks)(?:\.\w+)+)`")
TEST = re.compile(r"`(test_(?!share`)\w+)`")  # `test_share` is a setting
PLACEHOLDER = re.compile(r"NAME|N{4}")  # `karat/attention/bases/NAME.py` is a file to be written


def of_each_page(found: str) -> pytest.MarkDecorator:
    """Parametrize a test over the pages, by the argument `found`."""
    return pytest.mark.parametrize(found, PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])


@of_each_page("page")
def test_relative_links_lead_to_files(page: Path) -> None:
    missing = [each for each in LINK.findall(page.read_text()) if not (page.parent / each).exists()]
    assert not missing


@of_each_page("page")
def test_no_merge_was_left_unfinished(page: Path) -> None:
    marks = ("<<<<<<< ", ">>>>>>> ")
    assert not [line for line in page.read_text().splitlines() if line.startswith(marks)]


@of_each_page("page")
def test_paths_exist(page: Path) -> None:
    missing = [path for path, test in paths_of(page) if not found_at(path, test)]
    assert not missing


@of_each_page("page")
def test_modules_exist(page: Path) -> None:
    names = {name.rstrip(".") for name in MODULE.findall(page.read_text())}
    missing = [name for name in names if not is_module(name)]
    assert not missing


@of_each_page("page")
def test_dotted_names_exist(page: Path) -> None:
    names = {name for name in DOTTED.findall(page.read_text()) if not PLACEHOLDER.search(name)}
    missing = [name for name in names if not is_defined(name)]
    assert not missing


@of_each_page("page")
def test_named_tests_exist(page: Path) -> None:
    if page.name == "reference.md":  # names settings, such as test_images, and no tests
        return
    names = set(TEST.findall(page.read_text()))
    if names:
        sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
        missing = [name for name in names if f"def {name}(" not in sources]
        assert not missing


def test_a_page_that_names_what_does_not_exist_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`karat/no/such.py` and `tests/test_docs.py::test_none`, `docs/*.txt`")
    assert not any(found_at(path, test) for path, test in paths_of(page))
    assert len(list(paths_of(page))) == 3
    assert not is_module("karat.no.such")
    assert not is_module("karat.errors.such")
    assert not is_defined("karat.errors.such")


def paths_of(page: Path) -> Iterator[tuple[str, str]]:
    """Paths in inline code, each with the test that is named behind `::`, or an empty name."""
    for code in INLINE_CODE.findall(FENCED_BLOCK.sub("", page.read_text())):
        for path, test in PATH.findall(code):
            if not PLACEHOLDER.search(path):
                yield path.rstrip("."), test


def found_at(path: str, test: str) -> bool:
    """Whether a path, or a pattern of paths, exists, and has the test where one is named."""
    if "*" in path:
        return any(ROOT.glob(path))
    there = ROOT / path
    return there.exists() and (not test or f"def {test}(" in there.read_text())


def is_module(name: str) -> bool:
    """Whether `python -m NAME` finds something to run."""
    top = name.partition(".")[0]
    if not (ROOT / top).is_dir():
        return importlib.util.find_spec(top) is not None
    there = ROOT / name.replace(".", "/")
    return there.with_suffix(".py").is_file() or (there / "__main__.py").is_file()


def is_defined(name: str) -> bool:
    """Whether a dotted name is a module, a name in one, or an MLflow tag such as `karat.trial`."""
    there, rest = ROOT, name.split(".")
    while rest and ((there / rest[0]).is_dir() or (there / f"{rest[0]}.py").is_file()):
        there /= rest.pop(0)
    source = (
        there.with_suffix(".py") if there.with_suffix(".py").is_file() else there / "__init__.py"
    )
    if not rest:
        return True
    definition = rf"^\s*(?:def|class) {rest[0]}\b|^{rest[0]}\b|\"{rest[0]}\""
    if re.search(definition, source.read_text(), re.MULTILINE):
        return True
    return any(f'"{name}"' in path.read_text() for path in (ROOT / "karat").rglob("*.py"))
