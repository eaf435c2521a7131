"""`make` finds a suitable Python, and skips commands that only look like one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HERE = "{}.{}".format(*sys.version_info)
# Acts as a Python of a given version: prints its path unless the version is among the arguments.
FAKE = """\
#!/bin/sh
shift 2
for version in "$@"; do [ "$version" = {version} ] && exit 0; done
echo /made/up/python{version}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The only folder of the PATH."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def found(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "find-python"), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": str(folder), "PYENV_ROOT": str(folder.parent), "HOME": str(folder.parent)},
    )
    return done.stdout.strip()


def test_first_version_is_taken(folder: Path) -> None:
    for version in ("3.13", "3.12"):
        put(folder, f"python{version}", FAKE.format(version=version))
    assert found(folder) == "/made/up/python3.12"


def test_command_that_fails_is_skipped(folder: Path) -> None:
    put(folder, "python3.11", "#!/bin/sh\necho 'command not found' >&2; exit 127\n")
    put(folder, "python3.13", FAKE.format(version="3.13"))
    assert found(folder) == "/made/up/python3.13"


def test_versions_of_pyenv_are_found(folder: Path) -> None:
    of_pyenv = folder.parent / "versions" / "3.12.7" / "bin"
    of_pyenv.mkdir(parents=True)
    put(of_pyenv, "python", FAKE.format(version="3.12"))
    assert found(folder) == "/made/up/python3.12"


def test_other_version_is_the_newest_other(folder: Path) -> None:
    for version in ("3.11", "3.12", "3.13"):
        put(folder, f"python{version}", FAKE.format(version=version))
    assert found(folder, "3.11") == "/made/up/python3.13"
    assert found(folder, "3.13") == "/made/up/python3.12"


def test_python3_is_used_if_its_version_is_supported(folder: Path) -> None:
    os.symlink(sys.executable, folder / "python3")
    assert found(folder, HERE) == ""
    assert Path(found(folder)).samefile(sys.executable)


def test_output_is_empty_without_a_suitable_python(folder: Path) -> None:
    assert found(folder) == ""
