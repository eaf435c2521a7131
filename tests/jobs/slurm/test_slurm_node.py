"""What a node of a Slurm job ends, and when it gives its head up."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from jobs.slurm.node import answers, end_earlier_starts

CLUSTER = f"test{secrets.token_hex(4)}"  # a real job on this machine is none of ours
JOB = {"SLURM_CLUSTER_NAME": CLUSTER, "SLURM_JOB_ID": "12", "SLURMD_NODENAME": "n2"}
Sleeper = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """Starts a process that does nothing, as part of the job but for what is given."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**given: str) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(["sleep", "60"], env={**os.environ, **JOB, **given}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_node_ends_what_an_earlier_start_of_its_job_has_left_there(sleeper: Sleeper) -> None:
    first, second = sleeper(), sleeper(SLURM_RESTART_COUNT="1")
    kept = [
        sleeper(SLURM_RESTART_COUNT="2"),
        sleeper(SLURM_JOB_ID="13"),
        sleeper(SLURMD_NODENAME="n1"),
        sleeper(SLURM_CLUSTER_NAME="other"),
    ]
    end_earlier_starts({**JOB, "SLURM_RESTART_COUNT": "2"})
    assert first.wait(10) == second.wait(10) == -9
    assert [process.poll() for process in kept] == [None] * 4


def test_nothing_is_ended_outside_of_a_job(sleeper: Sleeper) -> None:
    process = sleeper()
    end_earlier_starts({"SLURM_RESTART_COUNT": "1"})
    assert process.poll() is None


def test_head_that_is_gone_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)


def test_node_loads_neither_torch_nor_the_study() -> None:
    """On shared storage that would take a node minutes and half a gigabyte, to start Ray."""
    code = "import sys, jobs.slurm.node; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "optuna", "mlflow", "karat.study.study"} & set(done.stdout.split())
