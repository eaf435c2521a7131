"""A web server as a child process on 127.0.0.1: started, awaited, and ended with all its own children."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from karat.errors import InputError, StudyError
from karat.system.redact import without_secrets

HOST = "127.0.0.1"
_TRIED = 20  # ports from the usual one
_START_S, _END_S, _LOOK_S = 180.0, 10.0, 0.2
_TAIL = 2000  # characters of a server's output in a message


def free_port(usual: int, given: int | None) -> int:
    """A port that nobody listens on.

    Args:
        usual: where to begin if none is given.
        given: the only one that is asked for; None for any.

    Raises:
        InputError: it is taken, or all that were tried are.
    """
    if given is not None:
        if not 0 < given < 65536:
            raise InputError(f"--port {given}: must be from 1 to 65535")
        if not _is_free(given):
            raise InputError(
                f"--port {given}: is taken; name another one, or leave --port out for the next free one"
            )
        return given
    ports = range(usual, usual + _TRIED)
    found = next((port for port in ports if _is_free(port)), None)
    if found is None:
        raise InputError(f"ports {ports[0]} to {ports[-1]} are all taken; name one with --port")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], page: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in the block, which begins when a page answers; at its end no process is left.

    SIGTERM and SIGHUP end the block like Ctrl-C, by KeyboardInterrupt.

    Args:
        command, environment: of the server, which listens on `HOST`.
        page: address that answers when the server has started.

    Raises:
        StudyError: it ended, or did not answer in time; with the end of its output.
    """
    before = {each: signal.signal(each, _interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryFile() as output:
            # In a group of its own, so that Ctrl-C reaches this process alone and all its children are ended.
            server = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                _await(server, page, output)
                yield server
            finally:
                _end(server)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _await(server: "subprocess.Popen[bytes]", page: str, output: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise StudyError(
                f"the server ended with status {server.returncode}: {_tail(output) or 'it said nothing'}"
            )
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(page, timeout=5),
        ):
            return
        time.sleep(_LOOK_S)
    raise StudyError(f"the server did not answer within {_START_S:g} s: {_tail(output)}")


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return without_secrets(output.read().decode(errors="replace"))[-_TAIL:].strip()


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server's whole process group: first gently."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_END_S)
        if not _group_lives(server.pid):
            return


def _group_lives(group: int) -> bool:
    deadline = time.monotonic() + _END_S / 4
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(_LOOK_S)
    return True
