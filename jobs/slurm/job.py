"""The batch process of a Slurm job, on its first node: starts Ray on every node, then the study.

It uses the standard library alone: where everything else runs in a container, this runs outside of it.

Slurm sends SIGUSR1 before the time limit, and SIGTERM for `scancel`, for preemption and when a node
is lost. After either the study shuts down gracefully. After SIGUSR1 alone the job is requeued, and
the study resumes; even if something hangs, that happens before the time limit, after which Slurm
would not requeue the job.
"""

import argparse
import math
import os
import queue
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

INTERRUPTED = 75
_CODE = Path(__file__).resolve().parents[2]  # the folder that holds the packages
_INSTALLED = ("site-packages", "dist-packages")
_EXPECTED = (0, 1, 2, INTERRUPTED)  # the study has printed what happened
_SHUT_DOWN = signal.SIGINT  # not SIGUSR1: while Tune runs it handles that, and ends trials at once
_POLL_S = 0.2
_PATIENCE_S = 30.0
_AGAIN_S, _AGAIN_FOR_S = 3.0, 60.0
_REQUEUE_S = 10.0  # of the notice, for `scontrol`
_TRIES, _ANSWER_S, _PAUSE_S = 3, 20.0, 1.0
_WITH_SETUP = ("bash", "-lc", 'eval "$KARAT_SETUP"; exec "$@"', "setup")


def main() -> int:
    """Returns the exit status of the study; 75 where it is to be resumed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpus", type=int, required=True, help="of each node")
    parser.add_argument("--gpus", type=int, required=True, help="of each node")
    parser.add_argument("--wait-minutes", type=float, required=True, help="for slow nodes")
    parser.add_argument("--storage", required=True, help="that every node must see")
    parser.add_argument("--runner", required=True, help="Python, perhaps in a container")
    parser.add_argument("--requeue", action="store_true", help="after the time limit's signal")
    parser.add_argument("--notice-s", type=float, default=300, help="from it to the time limit")
    parser.add_argument("launch", nargs="+", help="words that follow Python")
    options = parser.parse_args()
    job = Job(options)
    signal.signal(signal.SIGUSR1, job.on_notice)
    signal.signal(_SHUT_DOWN, signal.SIG_DFL)  # else inherited, where it is ignored
    # Blocked, so that srun and the driver inherit that; whether it has come is asked for (`cancelled`).
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        status = job.run()
        if status == INTERRUPTED and job.noticed and not cancelled() and options.requeue:
            requeue(
                os.environ["SLURM_JOB_ID"]
            )  # before Ray is ended, which may take longer than is left
    finally:
        job.end()
    return status


def say(text: str) -> None:
    """A line for the job's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} karat: {text}", flush=True)


def requeue(job: str) -> None:
    """Have the job queued again, and say whether Slurm does it."""
    for left in reversed(range(_TRIES)):
        wrong = _refused(["scontrol", "requeue", job])
        if wrong is None:
            say("the time limit is near: requeued, to be resumed")
            return
        say(f"scontrol requeue: {wrong}")
        if left:
            time.sleep(_PAUSE_S)
    say("not requeued: submit the study again, and it resumes")


def _refused(words: "list[str]") -> "str | None":
    """Why a command of Slurm fails; None if it does not."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {_ANSWER_S:g} s"
    if done.returncode == 0:
        return None
    return " ".join(done.stderr.split()) or f"exit status {done.returncode}"


def cancelled() -> bool:
    """Whether SIGTERM has come."""
    return signal.SIGTERM in signal.sigpending()


class Step:
    """An `srun` that runs Ray on some nodes; closing its input ends it.

    Args:
        nodes: their names.
        words: what runs on each.
    """

    def __init__(self, nodes: "list[str]", words: "list[str]", cpus: int) -> None:
        self.nodes = nodes
        self.ready: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        setup = _WITH_SETUP if os.environ.get("KARAT_SETUP") else ()
        self.process = subprocess.Popen(
            [
                *(
                    "srun",
                    "--overlap",
                    "--mem=0",
                    f"--cpus-per-task={cpus}",
                    "--kill-on-bad-exit=0",
                ),
                *(f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}", "--ntasks-per-node=1"),
                *(f"--nodelist={','.join(nodes)}", *setup, *words),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)

    def look(self) -> None:
        """Read what the nodes have printed."""
        while not self._lines.empty():
            kind, _, rest = self._lines.get().strip().partition(" ")
            name, _, said = rest.partition(" ")
            if kind == "ready":
                self.ready[name] = said
            else:
                self.failed[name] = said
                say(f"node {name}: {said or kind}")

    @property
    def waiting(self) -> "list[str]":
        """Nodes that have not answered yet."""
        self.look()
        return [name for name in self.nodes if name not in {*self.ready, *self.failed}]

    @property
    def ended(self) -> bool:
        """Whether the step is over on all nodes, and everything that they printed was read."""
        return self.process.poll() is not None and not self._reader.is_alive()

    def end(self) -> None:
        """Close the input, then wait; what still runs is killed by Slurm with the job."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reader.join(
            _PATIENCE_S
        )  # a thread that still reads could crash the interpreter at its exit


class Job:
    """Nodes first, then the study; `noticed` once the time limit is near."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.noticed = options, False
        self._last_moment = math.inf  # after which the driver is killed
        self._late = False
        self._steps: list[Step] = []
        self._driver: subprocess.Popen[bytes] | None = None
        self._told = False

    def on_notice(self, number: int, frame: "FrameType | None") -> None:
        """Slurm's signal before the time limit."""
        if not self.noticed and self.options.requeue:
            self._last_moment = time.monotonic() + self.options.notice_s - _REQUEUE_S
        self.noticed = True

    def run(self) -> int:
        """Start Ray on all nodes, then the study; returns its exit status."""
        nodes = _nodes()
        # Drawn anew for every start; it reaches the nodes in the environment of Slurm's steps.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
        # As `karat.system.paths` does: an environment into which karat is installed needs nothing.
        if _CODE.name not in _INSTALLED:
            paths = [str(_CODE), *filter(None, [os.getenv("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        deadline = time.monotonic() + 60 * self.options.wait_minutes
        head = self._start(nodes[:1], "--head", *(["--alone"] if len(nodes) == 1 else []))
        self._wait(head, deadline)
        if not head.ready:
            return INTERRUPTED if self._to_end else _no_head(nodes[0], head)
        (address,) = head.ready.values()
        if nodes[1:]:
            self._wait_for_others(nodes[1:], f"--address={address}", deadline)
        if self._to_end:
            return INTERRUPTED
        return self._drive(address, head)

    @property
    def _python(self) -> "list[str]":
        """`-P`: the job starts in the user's folder, from which no code is to be taken."""
        return [*shlex.split(self.options.runner), "-P"]

    @property
    def _to_end(self) -> bool:
        return self.noticed or cancelled()

    def _start(self, nodes: "list[str]", *words: str) -> Step:
        options = self.options
        command = [*self._python, "-m", "jobs.slurm.node", *words]
        command += [f"--cpus={options.cpus}", f"--gpus={options.gpus}"]
        step = Step(nodes, [*command, f"--storage={options.storage}"], options.cpus)
        self._steps.append(step)
        return step

    def _wait(self, step: Step, deadline: float) -> None:
        while step.waiting and time.monotonic() < deadline and not step.ended and not self._to_end:
            time.sleep(_POLL_S)
        step.look()  # what one that has ended has printed last

    def _wait_for_others(self, nodes: "list[str]", address: str, deadline: float) -> None:
        others = self._start(nodes, address)
        self._wait(others, deadline)
        # Slurm refuses a step where it has not yet ended one of this job's earlier start.
        last_try = min(deadline, time.monotonic() + _AGAIN_FOR_S)
        while others.ended and others.waiting and not self._to_end:
            time.sleep(_AGAIN_S)
            if time.monotonic() > last_try:
                break
            others = self._start(others.waiting, address)
            self._wait(others, deadline)
        late = others.waiting
        if late and not self._to_end:
            why = f"not there after {self.options.wait_minutes:g} minutes"
            if others.ended:
                why = "Slurm starts nothing there"
            say(f"{why}: {', '.join(late)}; continuing without")

    def _drive(self, address: str, head: Step) -> int:
        say(f"Ray is at {address}, on {', '.join(n for s in self._steps for n in s.ready)}")
        self._driver = subprocess.Popen(
            [*self._python, *self.options.launch],
            env={**os.environ, "RAY_ADDRESS": address},
            stdin=subprocess.DEVNULL,
        )
        lost: float | None = None
        while self._driver.poll() is None:
            time.sleep(_POLL_S)
            self._pass_on()
            for step in self._steps:
                step.look()
            if head.ended and lost is None:
                lost = time.monotonic()
                say("Ray's head is lost; the study cannot go on in this job")
                self._driver.send_signal(_SHUT_DOWN)
            if lost is not None and time.monotonic() > lost + 2 * _PATIENCE_S:
                self._driver.kill()
            self._end_if_late()
        status = self._driver.returncode
        if self._told and status == -_SHUT_DOWN:  # its handler was not installed yet
            return INTERRUPTED
        if self._late and status == -signal.SIGKILL:
            return INTERRUPTED
        if status not in _EXPECTED:
            say(f"the study's process ended with status {status}")
        return status

    def _pass_on(self) -> None:
        """Tell the driver once. It never sees Slurm's SIGTERM: a second signal would end it at once."""
        if self._to_end and not self._told and self._driver is not None:
            self._told = True
            say(
                "cancelled: shutting down"
                if cancelled()
                else "the time limit is near: shutting down"
            )
            self._driver.send_signal(_SHUT_DOWN)

    def _end_if_late(self) -> None:
        """Checkpoints have been written by then, or never will be; MLflow can be brought up to date later."""
        late = time.monotonic() > self._last_moment and not cancelled()
        if late and not self._late and self._driver is not None:
            self._late = True
            say("the time limit is here and the study still runs: killed, to be requeued")
            self._driver.kill()

    def end(self) -> None:
        """End what was started on all nodes."""
        if self._driver is not None and self._driver.poll() is None:
            self._driver.kill()
        for step in reversed(self._steps):
            step.end()


def _nodes() -> "list[str]":
    given = os.environ["SLURM_JOB_NODELIST"]
    done = subprocess.run(
        ["scontrol", "show", "hostnames", given], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.split()


def _no_head(node: str, head: Step) -> int:
    if not head.failed:
        say(f"node {node}: Ray did not start there in time")
    return 1


if __name__ == "__main__":
    sys.exit(main())
