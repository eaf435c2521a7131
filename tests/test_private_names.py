"""Private names of Ray are used in one file, and none of Optuna. Why: decision 0020."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

RAY_INTERNALS = ROOT / "karat" / "execution" / "ray_internals.py"
FILES = sorted(
    file for top in ("karat", "jobs", "benchmarks") for file in (ROOT / top).rglob("*.py")
)


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def is_foreign(name: str) -> bool:
    return name.partition(".")[0] in ("ray", "optuna")


def modules(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported, and strings with the form of such a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] * (" " not in node.value and "." in node.value)


def attributes(tree: ast.AST) -> Iterator[str]:
    """Attributes and keyword arguments that are not defined in the same file."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own = {node.attr for node in nodes if ast.unparse(node.value) in ("self", "cls")}
    yield from (node.attr for node in nodes if node.attr not in own)
    yield from (node.arg or "" for node in ast.walk(tree) if isinstance(node, ast.keyword))


def private_names(code: str) -> set[str]:
    """Private names of Ray and Optuna that a file uses."""
    tree = ast.parse(code)
    foreign = {name for name in modules(tree) if is_foreign(name)}
    found = set(filter(is_private, foreign))
    return found | set(filter(is_private, attributes(tree))) if foreign else found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_private_names_of_ray_and_optuna_are_in_one_file(file: Path) -> None:
    found = private_names(file.read_text())
    assert bool(found) == (file == RAY_INTERNALS), f"private names: {found}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import ray._private.utils", {"ray._private.utils"}),
        ("def f():\n    from ray.air import _internal", {"ray.air._internal"}),
        ("import ray\nray.init(_temp_dir='x')", {"_temp_dir"}),
        ("from optuna import Trial\nTrial._suggest", {"_suggest"}),
        ("name = 'ray._private.services'", {"ray._private.services"}),
        ("import ray\nclass A:\n    def f(self, other):\n        self._b = other._b", set()),
        ("import torch\ntorch._C", set()),
    ],
)
def test_private_names_are_found_however_they_are_used(code: str, found: set[str]) -> None:
    assert private_names(code) == found
