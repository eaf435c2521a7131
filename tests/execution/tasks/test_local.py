"""Calls as tasks of a real Ray: one that fails or is killed does not end the others."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def _ended(*calls: str) -> dict[str, tuple[Any, str]]:
    """How each call ended: its value, and why it failed."""
    command = [sys.executable, "-m", "tests.execution.tasks.calls", *calls]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len({argument for argument, _, _ in found}) == len(found)
    return {argument: (value, error) for argument, value, error in found}


def test_each_call_ends_once_with_its_value_or_why_it_failed() -> None:
    found = _ended("say a", "fail no room", "die", "say b")
    assert found["say a"] == ("a", "")
    assert found["say b"] == ("b", "")
    assert found["fail no room"] == (None, "ValueError: no room")
    value, error = found["die"]
    assert value is None
    assert "its process was lost" in error


def test_a_stop_ends_the_processes_and_leaves_calls_undone() -> None:
    assert _ended("stop", "say a") == {}
