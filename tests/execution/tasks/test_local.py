"""Calls as tasks of a real Ray: one that fails or is killed does not end the others."""

import os
import signal
from typing import Any

import pytest

from karat.execution.tasks.local import Ended, run_tasks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def _work(argument: str) -> str:
    kind, _, value = argument.partition(" ")
    if kind == "fail":
        raise ValueError(value)
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def test_each_call_ends_once_with_its_value_or_why_it_failed() -> None:
    ended: list[Ended[str, str]] = []
    run_tasks(_work, ["say a", "fail no room", "die", "say b"], 2, ended.append)
    found: dict[str, Any] = {each.argument: (each.value, each.error) for each in ended}
    assert len(ended) == 4
    assert found["say a"] == ("a", "")
    assert found["say b"] == ("b", "")
    assert found["fail no room"] == (None, "ValueError: no room")
    value, error = found["die"]
    assert value is None
    assert "its process was lost" in error


def test_a_stop_ends_the_processes_and_leaves_nothing_behind() -> None:
    ended: list[Ended[str, str]] = []
    run_tasks(_work, ["say a", "say b"], 1, ended.append, should_stop=lambda: True)
    assert not ended
