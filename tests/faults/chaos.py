"""`make chaos`: kills random processes of a real study, again and again.

    python -m tests.faults.chaos --kills 20 --seed 0

The driver, a worker, all workers, the view, the raylet or the GCS gets SIGKILL; the driver or its whole
process group a signal that asks it to end; the driver is stopped for half a minute; or its output is
closed. Then, unless the launch goes on by itself, the same command resumes. After each kill the journal must be intact and nothing that had ended may have
changed; at the end audit and replay must find nothing, and no process may be left. A study that
finishes too early is extended.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import psutil

from karat.cli.main import main
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from tests.conftest import ROOT, SMALL

EXCHANGES = (
    ("epochs: 4", "epochs: 40"),
    ("depth: 1", "depth: 4"),
    ("trials: 6", "trials: 12"),
)
VICTIMS = {
    "driver": 3, "worker": 2, "workers": 1, "view": 2, "raylet": 2, "gcs": 2, "signal": 3, "group": 2,
    "stop": 1, "output": 2,
}  # fmt: skip
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
LONGEST_WAIT_S = 30.0
ENDS_WITHIN_S = 60.0  # or goes on, on a machine of our own; here it is busy
STOPPED_S = 30.0


class Broken(Exception):
    """A guarantee was violated."""


class Chaos:
    """One study under attack.

    Args:
        folder: for space and studies.
        seed: of what is killed when.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.space, self.study = folder / "space.yaml", folder / "studies" / "small"
        text = SMALL
        for old, new in EXCHANGES:
            text = text.replace(old, new)
        self.space.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None
        self.launched_before = 0  # launches before `process` that started Ray
        self.ended: dict[int, tuple[str, list[float]]] = {}

    def start(self) -> subprocess.Popen[bytes]:
        """Start the same command again; with `--extend` once the study is finished."""
        self.launched_before = self.launched()
        words = [sys.executable, "launch.py", "--space", str(self.space)]
        words += ["--storage", str(self.study.parent)]
        if self.state().status == "completed":
            words += ["--extend", "trials=+6"]
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "OF_TEST": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # whose process group gets signals
        )
        threading.Thread(target=self._copy, args=(process.stdout,), daemon=True).start()
        return process

    def _copy(self, stream: BinaryIO) -> None:
        """Write what a launch prints into a file, until the reader closes the pipe."""
        with (self.folder / "output").open("ab", buffering=0) as output:
            try:
                while text := os.read(stream.fileno(), 4096):
                    output.write(text)
            except (OSError, ValueError):  # closed
                return

    def state(self) -> StudyState:
        path = self.study / JOURNAL
        return StudyState.of(read_events(path)) if path.exists() else StudyState()

    def launched(self) -> int:
        """Return the number of launches that got as far as starting Ray."""
        path = self.study / JOURNAL
        events = read_events(path) if path.exists() else iter(())
        return sum(event.kind == "launched" for event in events)

    def attack(self) -> str:
        """Wait for a while, then kill one of the processes; return which."""
        if self.process is None or self.process.poll() is not None:
            self.process = self.start()
        deadline = time.monotonic() + self.draw.uniform(0.5, LONGEST_WAIT_S)
        while time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.1)
        (victim,) = self.draw.choices(list(VICTIMS), list(VICTIMS.values()))
        if victim in ("signal", "group"):
            return self._signal(self.process, self.draw.choice(SIGNALS), victim == "group")
        if victim == "stop":
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            self.process.send_signal(signal.SIGCONT)
            return f"SIGSTOP to the driver for {STOPPED_S:g} s"
        if victim == "output":
            assert self.process.stdout is not None
            self.process.stdout.close()
            return "the output is closed"
        if victim == "driver":
            self.process.kill()
            return f"SIGKILL to the driver: status {self.process.wait(60)}"
        found = [process for process in self.ours() if _is(process, victim)]
        if not found:
            return f"no {victim} to kill"
        launched = self.launched()
        for target in found if victim == "workers" else [self.draw.choice(found)]:
            target.kill()
        if victim in ("raylet", "gcs"):
            return f"SIGKILL to the {victim}: {self._wait_for_driver(launched)}"
        return f"SIGKILL to {'all workers' if victim == 'workers' else f'a {victim}'}"

    def _signal(
        self, driver: subprocess.Popen[bytes], number: signal.Signals, to_group: bool
    ) -> str:
        """Interrupted is status 75; success only where the study was done.

        While Ray's C++ part starts, half a second long, SIGTERM is Ray's alone, and aborts.
        """
        while driver.poll() is None and not _catches_signals(driver.pid):
            time.sleep(0.05)
        if to_group and driver.poll() is None:
            os.killpg(driver.pid, number)
        else:
            driver.send_signal(number)
        status = driver.wait(120)
        allowed = {75}
        if self.state().status == "completed":
            allowed.add(0)
        if number == signal.SIGTERM and self.launched() == self.launched_before:
            allowed.add(-signal.SIGABRT)
        if status not in allowed:
            raise Broken(f"{number.name} to the driver: status {status}, not 75")
        return f"{number.name} to the driver{' and its group' if to_group else ''}: status {status}"

    def check(self) -> str:
        """The journal is whole, and what had ended is as it was; says how far the study is."""
        state = self.state()
        for number, before in self.ended.items():
            if _outcome(state, number) != before:
                raise Broken(f"trial {number} had ended, and has changed")
        self.ended = {n: _outcome(state, n) for n, trial in state.trials.items() if trial.ended}
        return f"{len(self.ended)} of {len(state.trials)} trials have ended, {state.status}"

    def finish(self) -> None:
        """Run the study to its end, which must be a success."""
        if self.process is None or self.process.poll() is not None:
            self.process = self.start()
        if (status := self.process.wait(1200)) not in (0, 75):
            raise Broken(f"the driver ended with status {status}; see {self.folder / 'output'}")
        while self.state().status != "completed":
            self.process = self.start()
            if (status := self.process.wait(1200)) != 0:
                raise Broken(f"the study ended with status {status}; see {self.folder / 'output'}")
        for command in ("audit", "replay", "verify"):
            if main([command, str(self.study)]):
                raise Broken(f"karat {command} found something")
        deadline = time.monotonic() + 60
        while (left := list(self.ours())) and time.monotonic() < deadline:
            time.sleep(0.5)
        if left:
            raise Broken(f"processes are left: {left}")

    def ours(self) -> Iterator[psutil.Process]:
        """Return all processes that this study started, directly or indirectly."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("OF_TEST") == str(self.folder):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue

    def _wait_for_driver(self, launched: int) -> str:
        """Wait until the launch has ended as interrupted, or has started anew by itself."""
        assert self.process is not None
        started = time.monotonic()
        while time.monotonic() < started + 3 * ENDS_WITHIN_S:
            took = f"after {time.monotonic() - started:.0f} s"
            if (status := self.process.poll()) is not None:
                if status != 75 and self.state().status != "completed":
                    raise Broken(f"status {status} {took}, not 75")
                return f"status {status} {took}"
            if self.launched() > launched:
                return f"started anew {took}"
            time.sleep(0.2)
        raise Broken("the driver hangs, three minutes after a process of Ray was killed")


def _catches_signals(pid: int) -> bool:
    """Whether a driver has installed its handlers; before that a signal kills it, without loss."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def _is(process: psutil.Process, victim: str) -> bool:
    try:
        words = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    signs = {
        "worker": "ray::", "workers": "ray::", "view": "karat sync", "raylet": "raylet/raylet",
        "gcs": "gcs/gcs_server",
    }  # fmt: skip
    is_python = "python" in words.partition(" ")[0]
    return signs[victim] in words and not (victim in ("raylet", "gcs") and is_python)


def _outcome(state: StudyState, number: int) -> tuple[str, list[float]]:
    trial = state.trials[number]
    return trial.status, [report.metrics["val_loss"] for report in trial.reports]


def run(kills: int, seed: int) -> int:
    """Run the study with kills; return 0 if every guarantee held."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        chaos = Chaos(Path(name), seed)
        try:
            done = 0
            while done < kills:
                what = chaos.attack()
                done += "no " not in what
                print(f"{done:3d}  {what}; {chaos.check()}", flush=True)
            chaos.finish()
            print(f"{kills} kills; {chaos.check()}; nothing was lost")
            return 0
        except Broken as error:
            print(f"broken: {error}")
            print((Path(name) / "output").read_text()[-3000:])
            return 1
        finally:
            for process in list(chaos.ours()):
                process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(run(options.kills, options.seed))
