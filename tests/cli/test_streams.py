"""A refusal is one line and status 2, and a plan is complete, whatever stdin, stdout and stderr are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

WriteSpace = Callable[..., Path]
REDIRECTIONS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"]
TERMINALS: list[dict[str, str]] = [
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    {"PYTHONIOENCODING": "latin-1"},
    {"TMPDIR": "/does/not/exist"},
]


def launched(words: str, redirection: str = "", **environment: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of `launch.py WORDS REDIRECTION` in a shell."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} launch.py {words} {redirection}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_wrong_input_is_status_2_whatever_the_streams_are(redirection: str) -> None:
    status, output, error = launched("--space no\u00b7such.yaml", redirection)
    assert status == 2
    assert output == ""
    assert error.count("\n") == (0 if "2>" in redirection else 1)
    assert "Traceback" not in error


@pytest.mark.parametrize("environment", TERMINALS, ids=lambda each: next(iter(each)))
def test_wrong_input_is_one_line_on_any_terminal(environment: dict[str, str]) -> None:
    status, output, error = launched("--space no\u00b7such.yaml", **environment)
    assert (status, output) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("redirection", [*REDIRECTIONS, "| head -1"])
def test_help_is_status_0_whatever_the_streams_are(redirection: str) -> None:
    status, _, error = launched("--help", f"{redirection}; exit ${{PIPESTATUS[0]}}")
    assert status == 0
    assert "Traceback" not in error
    assert "Exception ignored" not in error


@pytest.mark.parametrize("environment", TERMINALS, ids=lambda each: next(iter(each)))
def test_trial_that_fits_nowhere_is_refused_in_one_line_on_any_terminal(
    write_space: WriteSpace, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = f"--space {write_space()} --storage {tmp_path / 's'} --set resources.cpus=4096"
    status, output, error = launched(words, **environment)
    assert (status, output) == (2, "")
    assert "resources.cpus = 4096: this machine has" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()
