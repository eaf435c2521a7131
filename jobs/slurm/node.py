"""Ray on one node of a Slurm job, for as long as standard input is open.

    srun ... python -m jobs.slurm.node --cpus 8 --gpus 2 --head

Prints `ready NODE ADDRESS` when Ray runs, or `failed NODE WHY`. At its end it kills what it started,
by process id; if it is killed itself, Ray dies with it. SIGTERM, which `scancel` sends to every
process of a job, reaches neither this program nor Ray: workers need a while to write checkpoints.
"""

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from jobs.slurm import ray_hook
from karat.execution.environment import prepare_environment
from karat.execution.local_ray import LOOPBACK, no_api_server
from karat.execution.ray_internals import CURRENT_CLUSTER, RAY_PROGRAM
from karat.system.process.signals import IGNORES_SIGTERM
from karat.system.tempdir import make_tempdir

_OBJECT_STORE_BYTES = 200_000_000  # of shared memory: nothing large goes through Ray
_START_S = 120.0
_KEPT_FROM_RAY = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1
_SAME_JOB = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURMD_NODENAME")
_LOOK_S, _HEAD_LOST_S = 2.0, 20.0  # Ray itself waits for a minute, and trials go on meanwhile


def main() -> int:
    """Returns 0 when standard input was closed, 1 when Ray did not start or exited unexpectedly."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpus", type=int, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--storage", type=Path, required=True)
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument("--head", action="store_true")
    part.add_argument("--address", help="of the head")
    parser.add_argument("--alone", action="store_true", help="no other node joins")
    options = parser.parse_args()
    for number in _KEPT_FROM_RAY:
        signal.signal(number, signal.SIG_IGN)
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    if not os.access(options.storage, os.W_OK):
        print(f"failed {name} it cannot write the storage {options.storage}", flush=True)
        return 1
    end_earlier_starts(os.environ)
    address = LOOPBACK if options.alone else own_address()
    prepare_environment(address)
    os.environ[ray_hook.VARIABLE] = ray_hook.NAME
    os.environ[IGNORES_SIGTERM] = "1"  # for workers: Ray unblocks it in them
    folder = make_tempdir()
    try:
        return _serve(name, folder, ray_command(options, address, folder), options.address)
    finally:
        _end_children()
        shutil.rmtree(folder, ignore_errors=True)


def end_earlier_starts(own: Mapping[str, str]) -> None:
    """Kill what an earlier start of this job has left running on this node.

    Slurm does not always do it: it leaves the steps of a node alone that it believes to be down, and
    once the node is back and the job is started there again, they have the same job's number.
    """
    if "SLURM_JOB_ID" not in own:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            given = process.environ()
            if all(given.get(key) == own.get(key) for key in _SAME_JOB) and _start(given) < _start(
                own
            ):
                process.kill()


def _start(environment: Mapping[str, str]) -> int:
    return int(environment.get("SLURM_RESTART_COUNT", "0"))


def own_address() -> str:
    """This machine's address as seen from the machine on which `srun` was called."""
    launcher = os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or socket.gethostname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((launcher, 9))  # sends nothing
        return str(probe.getsockname()[0])


def ray_command(options: argparse.Namespace, address: str, folder: Path) -> list[str]:
    """The words of `ray start`."""
    words = [sys.executable, "-c", RAY_PROGRAM, "start"]
    if address != LOOPBACK:  # Ray takes it by itself, and replaces it where it is given
        words.append(f"--node-ip-address={address}")
    if options.head:
        words += ["--head", "--port=0", "--include-dashboard=false"]
    else:
        words.append(f"--address={options.address}")
    return [
        *words,
        f"--num-cpus={options.cpus}",
        f"--num-gpus={options.gpus}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={folder / 'r'}",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
        "--block",
    ]


def _serve(name: str, folder: Path, command: Sequence[str], head: str | None) -> int:
    log, known = folder / "ray.log", folder / "r" / CURRENT_CLUSTER
    with log.open("wb") as output, no_api_server() as port:
        extra = [f"--dashboard-port={port}"] if "--head" in command else []
        ray = subprocess.Popen(
            [*command, *extra],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_become_dependent,
        )
        deadline = time.monotonic() + _START_S
        while not _written(known) and ray.poll() is None and time.monotonic() < deadline:
            if _told_to_end(0.1):
                return 0
    if not _written(known):
        said = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
        print(f"failed {name} Ray did not start: {said}", flush=True)
        return 1
    print(f"ready {name} {_written(known)}", flush=True)
    seen = time.monotonic()
    while ray.poll() is None:
        if _told_to_end(_LOOK_S):
            return 0
        if head is None or answers(head):
            seen = time.monotonic()
        elif time.monotonic() > seen + _HEAD_LOST_S:
            print(f"failed {name} Ray's head at {head} does not answer any more", flush=True)
            return 1
    print(f"failed {name} Ray exited unexpectedly, with status {ray.returncode}", flush=True)
    return 1


def _written(known: Path) -> str:
    """The address of the head, from Ray's file; empty where there is none yet, and where Ray has just made the file."""
    try:
        return known.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _become_dependent() -> None:
    """Called in Ray's first process: block the signals in all of Ray, and have it die with this process.

    Blocked and not ignored: Ray installs handlers of its own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_FROM_RAY)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _told_to_end(wait_s: float) -> bool:
    """Whether standard input has been closed; waits for it at most so long."""
    readable, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1000)


def _end_children() -> None:
    """Kill them all at once: they do not react to other signals, and have nothing left to write."""
    started = psutil.Process().children(recursive=True)
    for process in started:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(started, timeout=10)


if __name__ == "__main__":
    sys.exit(main())
