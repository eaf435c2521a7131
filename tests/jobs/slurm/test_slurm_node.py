"""What a node of a Slurm job ends, and when it gives its head up."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.slurm.node import answers, end_earlier_starts
from karat.execution.ray_internals import CURRENT_CLUSTER

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


def test_node_waits_for_the_address_where_the_file_is_made_before_it_is_written(
    tmp_path: Path,
) -> None:
    """As Ray does, between whose two steps a busy machine may leave a second."""
    (tmp_path / "r").mkdir()
    file = tmp_path / "r" / CURRENT_CLUSTER
    ray = f"sleep 0.3; : > {file}; sleep 0.5; echo 10.1.1.1:6379 > {file}; sleep 0.5"
    code = (
        "import pathlib, jobs.slurm.node as node; "
        f"node._serve('n1', pathlib.Path({str(tmp_path)!r}), ['sh', '-c', {ray!r}], None)"
    )
    # An open stdin, whose end would tell the node to end.
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read().splitlines()
    assert told[0] == "ready n1 10.1.1.1:6379"
    assert told[1].startswith("failed n1 Ray exited unexpectedly")
