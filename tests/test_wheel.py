"""The distribution: built from a checkout, installed, and run outside of the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from karat import __version__
from tests.conftest import ROOT

# One wheel and one environment for all tests; on a busy machine they take minutes.
pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.timeout(400)]
NOT_OURS = (".venv/lib/module.py", "studies/small/journal.jsonl", "karat/__pycache__/old.pyc")


def call(command: list[str], folder: Path) -> str:
    """The output of a command in an environment without the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def without_bytecode(folder: Path) -> list[Path]:
    """Every file and folder but what Python itself writes."""
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a clone, and files that work in a checkout leaves behind."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():  # and not removed, or a link to a folder
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for name in NOT_OURS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], checkout)
    return next(out.glob(f"karat_attention-{__version__}-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; it finds dependencies in the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    making = [sys.executable, "-m", "virtualenv", "-q", "--no-periodic-update", str(folder)]
    call(making, folder.parent)
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "what_it_needs.pth").write_text("\n".join(others))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    call([*pip, str(wheel)], folder.parent)
    return folder


def test_wheel_contains_the_two_packages_with_their_data_and_nothing_else(
    checkout: Path, wheel: Path
) -> None:
    ours = {
        str(path.relative_to(checkout))
        for top in ("karat", "jobs")
        for path in (checkout / top).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert "karat/attention/kernels/native/attention.cpp" in ours
    assert "karat/attention/kernels/native/basis.h" in ours
    assert files_of(wheel) == ours


@pytest.mark.slow
def test_source_distribution_makes_the_same_wheel(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    call([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)], checkout)
    with tarfile.open(next(tmp_path.glob("karat_attention-*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"karat_attention-{__version__}"
    assert not any((source / name).exists() for name in NOT_OURS)
    assert (source / "search_spaces" / "fourier_grid.yaml").is_file()
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], source)
    assert files_of(next(tmp_path.glob("*.whl"))) == files_of(wheel)


def test_editable_install_is_a_link_to_the_checkout_and_needs_no_further_package(
    checkout: Path, tmp_path: Path
) -> None:
    code = "import sys, hatchling.build as build; print(build.build_editable(sys.argv[1]))"
    name = call([sys.executable, "-c", code, str(tmp_path)], checkout).split()[-1]
    with zipfile.ZipFile(tmp_path / name) as archive:
        [link] = files_of(tmp_path / name)
        assert link.endswith(".pth")
        assert archive.read(link).decode().strip() == str(checkout)


def test_installed_command_works_outside_the_checkout(
    installed: Path, tmp_path: Path, write_space: Callable[..., Path]
) -> None:
    before = without_bytecode(installed)
    karat, python = str(installed / "bin" / "karat"), str(installed / "bin" / "python")
    places = call(
        [python, "-c", "import karat, jobs; print(karat.__file__, jobs.__file__)"], tmp_path
    )
    assert all(Path(place).is_relative_to(installed) for place in places.split())
    assert call([karat, "--version"], tmp_path) == f"karat {__version__}\n"
    assert "fourier" in call(
        [karat, "costs", "vit_tiny_patch16_224", "--basis", "fourier", "--grid-size", "3"], tmp_path
    )
    plan = call([karat, "launch", "--space", str(write_space()), "--dry-run"], tmp_path)
    assert "fourier grid_size=2" in plan
    assert without_bytecode(installed) == before, "something was written into the environment"


@pytest.mark.slow
def test_study_is_submitted_from_an_installed_karat(
    installed: Path, tmp_path: Path, write_space: Callable[..., Path]
) -> None:
    karat, python = str(installed / "bin" / "karat"), str(installed / "bin" / "python")
    submit = [karat, "launch", "--space", str(write_space()), "--dry-run", "--submit"]
    script = call([*submit, "slurm"], tmp_path)
    job = re.search(rf"^exec \S+ ({installed}/\S+/jobs/slurm/job\.py)", script, re.M)
    assert job is not None
    assert "usage" in call([python, job[1], "--help"], tmp_path)
    assert " -m karat.cli.in_cluster --space " in script
    assert "usage" in call([python, "-m", "karat.cli.in_cluster", "--help"], tmp_path)
    sent = json.loads(call([*submit, "ray"], tmp_path))["runtime_env"]["working_dir"]
    assert sent.keys() == {"jobs", "karat", f"karat_attention-{__version__}.dist-info"}


def test_installed_code_knows_its_dependencies_and_needs_no_python_path(
    installed: Path, tmp_path: Path
) -> None:
    code = """
import os
from karat.execution.checks import versions
from karat.system.environment import describe_environment
from karat.system.paths import add_to_python_path
print(versions())
print(describe_environment()["git"]["commit"])
environment = {}
add_to_python_path(environment)
print(environment)
"""
    python = str(installed / "bin" / "python")
    needs, commit, path = call([python, "-c", code], tmp_path).splitlines()
    assert "torch 2." in needs
    assert commit == "not a git checkout"
    assert path == "{}"
