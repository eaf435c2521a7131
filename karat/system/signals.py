"""A signal makes a launch leave off in good order, at whatever moment it comes."""

import os
import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


IGNORES_SIGTERM = "KARAT_IGNORES_SIGTERM"


def ignore_sigterm_if_set() -> None:
    """In a worker: leave SIGTERM to the driver where a scheduler sends it to every process of a job.

    Ray unblocks it in its workers, and would end them before they have written a checkpoint.
    """
    if os.environ.get(IGNORES_SIGTERM):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Interruption:
    """Turns the first signal into a stop in good order; a second one ends the process at once.

    `signal` is the name of the first, None before it; `stop`, where it is set, is then called.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.stop: Callable[[], None] | None = None

    def install(self) -> None:
        """Catch the signals."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = signal.Signals(number).name
        if self.stop is not None:
            self.stop()
