"""A lazy package is loaded at first use, and checking a search space does not load torch."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.system.lazy_import import call_after_import, import_lazily, load
from tests.conftest import ROOT


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that creates a file when its code runs."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    mark = tmp_path / "loaded"
    (folder / "__init__.py").write_text(f"open({str(mark)!r}, 'x').close()\nanswer = 42\n")
    (folder / "part.py").write_text("import slow_package\nhalf = slow_package.answer // 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    for name in [name for name in sys.modules if name.startswith("slow_package")]:
        del sys.modules[name]


def test_package_is_loaded_once_at_first_use(package: Path) -> None:
    import_lazily("slow_package")
    import slow_package  # type: ignore[import-not-found]
    import slow_package as again

    assert not package.exists()
    assert slow_package.answer == again.answer == 42
    assert package.exists()
    import_lazily("slow_package")
    assert sys.modules["slow_package"] is slow_package


def test_import_of_a_submodule_loads_the_package(package: Path) -> None:
    import_lazily("slow_package")
    from slow_package.part import half  # type: ignore[import-not-found]

    assert half == 21
    assert package.exists()


def test_import_of_a_submodule_that_the_package_loads_executes_it_once(package: Path) -> None:
    part = package.with_name("slow_package") / "counted.py"
    part.write_text(f"open({str(package) + '-part'!r}, 'x').close()\n")
    with (package.with_name("slow_package") / "__init__.py").open("a") as file:
        file.write("from slow_package import counted\n")
    import_lazily("slow_package")
    import slow_package.counted as counted

    assert counted is sys.modules["slow_package"].counted
    assert counted.__spec__.origin == str(part)


def test_two_hooks_for_one_package_both_run_after_its_import_and_a_later_one_at_once(
    package: Path,
) -> None:
    called: list[tuple[int, int]] = []
    before = len(sys.meta_path)
    for number in (1, 2):
        call_after_import(
            "slow_package", lambda module, n=number: called.append((n, module.answer))
        )  # type: ignore[misc]
    assert not called
    import slow_package  # noqa: F401

    assert called == [(1, 42), (2, 42)]
    call_after_import("slow_package", lambda module: called.append((3, module.answer)))
    assert called[-1] == (3, 42)
    del sys.meta_path[: len(sys.meta_path) - before]


def test_package_can_be_loaded_early(package: Path) -> None:
    import_lazily("slow_package")
    load("slow_package")
    assert package.exists()


def test_package_that_fails_to_load_leaves_sys_modules(package: Path) -> None:
    package.touch()
    import_lazily("slow_package")
    with pytest.raises(FileExistsError):
        load("slow_package")
    assert "slow_package" not in sys.modules


def test_missing_package_raises_when_it_is_imported() -> None:
    import_lazily("no_such_package")
    with pytest.raises(ModuleNotFoundError):
        load("no_such_package")


def test_checking_a_space_loads_no_torch(write_space: Callable[..., Path]) -> None:
    code = f"""
import sys
from karat.system.lazy_import import import_lazily
import_lazily("torch")
from karat.space.reader import load_space
import karat.cli.dry_run, karat.execution.engine
load_space(__import__("pathlib").Path({str(write_space())!r}))
print("torch._C" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
