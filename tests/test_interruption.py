"""A signal before, at and after the start of the run; each in a process of its own, with real Ray."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal import FILE_NAME, read_events
from tests.conftest import ROOT


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("wait_for", "name"),
    [("study_created", "SIGUSR1"), ("launched", "SIGUSR1"), ("segment_started", "SIGTERM")],
)
def test_signal_at_any_moment_is_an_interruption(
    write_space: Callable[..., Path], tmp_path: Path, wait_for: str, name: str
) -> None:
    words = [sys.executable, "launch.py", "--space", str(write_space()), "--storage", str(tmp_path)]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    journal = tmp_path / "small" / FILE_NAME
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and any(e.kind == wait_for for e in read_events(journal)):
            break
        time.sleep(0.02)
    if wait_for == "study_created":
        time.sleep(0.5)  # until the handlers are in place, long before Ray is up
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 75, output
    assert [e.kind for e in read_events(journal)][-1] == "interrupted"
