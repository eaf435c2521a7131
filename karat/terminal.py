"""What karat prints: never markup from a user's text, and never the end of a study.

A terminal may be closed, a pipe's reader gone (`| head`), a log's disk full, and a stream closed from
the start (`>&-`). What cannot be written is dropped; `lost_output` tells which stream, and why.
"""

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CLOSED = "closed from the start"
_RETRIED = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EINTR)


class Output:
    """A text stream that drops what it cannot write, instead of raising.

    Args:
        stream: the stream to write to.
        name: for messages.
        lost: why nothing can be written; empty if it can.
    """

    def __init__(self, stream: TextIO, name: str, lost: str = "") -> None:
        self._stream, self.name, self.lost = stream, name, lost

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: OSError | ValueError) -> None:
        """Note why text is lost; a stream that never comes back leads to the null device from now on."""
        self.lost = (
            self.lost or (error.strerror if isinstance(error, OSError) else str(error)) or "?"
        )
        if isinstance(error, OSError) and error.errno in _RETRIED:
            return
        # Otherwise Python flushes its buffer at exit, fails again, and exits with status 120.
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_output() -> None:
    """Make stdout and stderr of this process streams that never raise; call it once, first.

    Standard streams that are closed are opened on the null device: otherwise the next file that
    is opened, maybe the journal, gets their number, and what other code prints goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            assert os.open(os.devnull, os.O_RDWR) == number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Output):
            continue
        lost = _CLOSED if stream is None else ""
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it stays open
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII only
        setattr(sys, name, Output(stream, name, lost))


def lost_output() -> dict[str, str]:
    """Each standard stream that has lost text, and why."""
    streams = (sys.stdout, sys.stderr)
    return {each.name: each.lost for each in streams if isinstance(each, Output) and each.lost}


def make_console(**settings: Any) -> "Console":
    """A console that takes text as it is: brackets in it are no markup, numbers are not coloured.

    Args:
        settings: further arguments of `rich.console.Console`.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **settings)
