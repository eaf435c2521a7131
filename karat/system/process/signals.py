"""Graceful shutdown of a launch on the signals that ask for one."""

import os
import signal
from collections.abc import Callable
from types import FrameType

# Slurm sends USR1 before a time limit; the terminal sends INT and QUIT for keys, HUP when it closes.
SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGQUIT, signal.SIGUSR1),
)
IGNORES_SIGTERM = "KARAT_IGNORES_SIGTERM"


def ignore_sigterm_if_set() -> None:
    """In a worker: ignore SIGTERM if `KARAT_IGNORES_SIGTERM` is set.

    Slurm sends SIGTERM to every process of a job. The driver handles it and requests a pause. A
    worker that handled it too would exit before it has written a checkpoint. To block the signal is
    not enough, since Ray unblocks it in its workers.
    """
    if os.environ.get(IGNORES_SIGTERM):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Interruption:
    """Turns the first signal into a graceful shutdown; a second one terminates the process.

    `signal` is the name of the first signal, or None. `stop`, if set, is called at that signal.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.stop: Callable[[], None] | None = None

    def install(self) -> None:
        """Install the handlers; call this after `ray.init`, which replaces SIGTERM's (Ray 2.60).

        SIGHUP stays ignored where it is: under `nohup` a study outlives its terminal.
        """
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = signal.Signals(number).name
        if self.stop is not None:
            self.stop()
