"""Required versions come from the checkout, or from the metadata of the installed package."""

import email
import importlib.metadata
from pathlib import Path

import pytest

from karat.errors import KaratError
from karat.system import dependencies
from karat.system.dependencies import declared

METADATA = """\
Name: karat-attention
Requires-Python: <3.14,>=3.11
Requires-Dist: torch==2.14.1
Requires-Dist: ray[default,tune]==2.60.0
Requires-Dist: scipy
Requires-Dist: pytest<9.2; extra == 'dev'
"""


@pytest.fixture
def no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dependencies, "PROJECT", tmp_path / "pyproject.toml")
    return tmp_path / "pyproject.toml"


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.metadata, "metadata", lambda _: email.message_from_string(METADATA)
    )


def test_checkout_declares_versions_in_pyproject() -> None:
    needs = declared()
    for python in ("3.11.0", "3.12.1", "3.13.9"):
        assert needs.python.contains(python)
    assert not needs.python.contains("3.14.0")
    assert "2.14.1+cpu" in needs.packages["torch"]
    assert "pytest" not in needs.packages


def test_installed_distribution_declares_versions_in_its_metadata(
    no_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    needs = declared()
    assert needs.python.contains("3.13.0")
    assert {name: str(each) for name, each in needs.packages.items()} == {
        "torch": "==2.14.1",
        "ray": "==2.60.0",
        "scipy": "",
    }


def test_pyproject_of_another_project_is_ignored(
    no_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    no_checkout.write_text("[project]\nname = 'theirs'\ndependencies = ['torch==1.0']\n")
    assert "2.14.1" in declared().packages["torch"]


def test_missing_declaration_is_an_error_with_a_remedy(
    no_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    with pytest.raises(KaratError, match="install karat-attention"):
        declared()
