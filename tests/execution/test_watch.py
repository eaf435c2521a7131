"""Ray that ends or hangs under a study is noticed within a stated time."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from karat.execution import watch
from karat.execution.watch import Watch


class Told:
    """Remembers the trouble that a watch has told."""

    def __init__(self) -> None:
        self.details: dict[str, object] = {}
        self._event = threading.Event()

    def __call__(self, details: dict[str, object]) -> None:
        self.details = details
        self._event.set()

    def within(self, seconds: float) -> dict[str, object]:
        self._event.wait(seconds)
        return self.details


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(watch, "SILENT_S", 0.1)
    monkeypatch.setattr(watch, "UNREACHABLE_S", 0.05)


@pytest.fixture
def raylet(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A child of this process that counts as Ray's."""
    name = psutil.Process().name()
    monkeypatch.setattr(watch, "_PROCESSES", (name, "sleep"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_process_of_ray_that_ended_is_named(raylet: subprocess.Popen[bytes]) -> None:
    told = Told()
    with Watch(told):
        assert not told.within(0.1)
        raylet.kill()
        assert told.within(60)["what"] == "process"


def test_loop_that_makes_no_step_is_silent() -> None:
    told = Told()
    with Watch(told) as own:
        assert not told.within(0.2)  # it has not begun
        own.on_step()
        assert told.within(60) == {"what": "silent", "seconds": 0.1}


def test_head_that_accepts_no_connection_is_unreachable() -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        address = "127.0.0.1:" + str(head.getsockname()[1])
        told = Told()
        with Watch(told, address):
            assert not told.within(0.2)
            head.close()
            assert told.within(60) == {"what": "unreachable", "address": address}


def test_nothing_is_told_after_the_run(raylet: subprocess.Popen[bytes]) -> None:
    told = Told()
    with Watch(told):
        pass
    raylet.kill()
    assert not told.within(0.2)
