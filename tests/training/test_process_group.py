"""One trial in two processes, over gloo on the CPU, against the same trial in one."""

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from karat.journal.layout import HANG_TRACE, PAUSE_FILE, trial_folder
from karat.system import fault_injection
from karat.training import distributed_worker, pause
from karat.training.distributed_worker import DistributedWorker, RankHandle, RankLostError
from karat.training.process_group import LOOPBACK
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker
from tests.spawned_rank import SpawnedRank
from tests.training.test_trainer import SECTIONS

pytestmark = pytest.mark.timeout(180)


def segment(folder: Path, **changes: Any) -> Segment:
    values: dict[str, Any] = {
        "trial": 0,
        "config": {**SECTIONS, "training": {"epochs": 2, "batch_size": 127}},
        "seed": 1,
        "folder": str(trial_folder(folder, 0)),
        "owner": "me",
        "pause_file": str(folder / PAUSE_FILE),
        "hang_trace": str(trial_folder(folder, 0) / HANG_TRACE),
        "from_epoch": 0,
        "test_at_end": True,
        "metric": "val_accuracy",
        "mode": "max",
        "threads": 1,
        "processes": 2,
        "gpus": 0,
        "micro_batches": 1,
        "limit_s": 120,
        "disk_folder": str(folder),
        "disk_gb": None,
    }
    return Segment(**{**values, **changes})


class Groups:
    """Makes groups, remembers their peers, and ends them."""

    def __init__(self) -> None:
        self.peers: list[SpawnedRank] = []
        self.made: list[DistributedWorker] = []

    def __call__(self, segment: Segment) -> DistributedWorker:
        self.made.append(DistributedWorker(segment, self.start, LOOPBACK))
        return self.made[-1]

    def start(self, rank: int) -> RankHandle:
        self.peers.append(SpawnedRank(rank))
        return self.peers[-1]


@pytest.fixture
def groups() -> Iterator[Groups]:
    groups = Groups()
    yield groups
    for each in groups.made:
        each.end()
    assert not any(psutil.pid_exists(peer.pid) for peer in groups.peers)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The metrics of two epochs in one process."""
    torch.set_num_threads(1)
    worker = SegmentWorker(segment(tmp_path_factory.mktemp("alone"), processes=1))
    return [worker.step()["metrics"] for _ in range(2)]


def same(report: dict[str, Any], metrics: dict[str, float]) -> bool:
    assert "metrics" in report, report
    return report["metrics"] == pytest.approx(metrics, rel=1e-4)  # type: ignore[no-any-return]


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_two_processes_give_the_numbers_of_one(
    groups: Groups, alone: list[dict[str, float]], tmp_path: Path, micro_batches: int
) -> None:
    group = groups(segment(tmp_path, micro_batches=micro_batches))
    reports = [group.step() for _ in range(2)]
    assert all(same(*each) for each in zip(reports, alone, strict=True))
    assert reports[0]["kernels"] == ("recompute",)


def test_nothing_listens_to_other_machines(groups: Groups, tmp_path: Path) -> None:
    group = groups(segment(tmp_path))
    assert group.step()["epoch"] == 1
    processes = [psutil.Process(), psutil.Process(groups.peers[0].pid)]
    found = [c for each in processes for c in each.net_connections() if c.status == "LISTEN"]
    assert found
    assert {each.laddr.ip for each in found} == {LOOPBACK}


def test_trial_goes_on_in_another_number_of_processes(
    groups: Groups, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    first = groups(segment(tmp_path))
    assert same(first.step(), alone[0])
    first.end()
    again = groups(segment(tmp_path, from_epoch=1))
    assert same(again.step(), alone[1])
    again.end()
    by_one = SegmentWorker(segment(tmp_path, from_epoch=1, processes=1))
    assert same(by_one.step(), alone[1])


def test_all_processes_pause_within_an_epoch_and_go_on(
    groups: Groups, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    first = groups(segment(tmp_path))
    first.step()
    pause.write(tmp_path / PAUSE_FILE, pause.PAUSE)
    time.sleep(pause.LOOK_EVERY_S)
    assert first.step() == {"paused": {"epoch": 1, "step": 1}}
    pause.write(tmp_path / PAUSE_FILE, pause.GO)
    again = groups(segment(tmp_path, from_epoch=1))
    assert same(again.step(), alone[1])


def test_group_that_is_told_to_pause_before_it_begins_does_not_wait(
    groups: Groups, tmp_path: Path
) -> None:
    pause.write(tmp_path / PAUSE_FILE, pause.PAUSE)
    assert groups(segment(tmp_path)).step() == {"paused": {"epoch": 0, "step": 0}}


@pytest.mark.parametrize(
    ("fault", "cause", "reason"),
    [
        ("rank1.batch@3=kill", "lost", "process 1"),
        ("rank1.batch@3=memory", "memory", "process 1: out of memory"),
    ],
)
def test_what_ends_one_process_ends_all_and_is_named(
    groups: Groups,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    cause: str,
    reason: str,
) -> None:
    monkeypatch.setattr(distributed_worker, "GRACE_S", 10)  # for the reason of the other process
    monkeypatch.setenv("KARAT_FAULT", f"{fault}:{tmp_path / 'once'}")
    report = groups(segment(tmp_path)).step()
    assert report["cause"] == cause
    assert report["failed"].startswith(reason)


@pytest.mark.parametrize("cause", ["lost", "memory"])
def test_peer_that_is_gone_says_of_what(tmp_path: Path, cause: str) -> None:
    class Gone:
        def call(self, method: str, *arguments: Any) -> Any:
            raise RankLostError("process 1 is gone", cause)

        def end(self) -> None:
            pass

    group = DistributedWorker(segment(tmp_path), lambda _: Gone(), LOOPBACK)
    assert group.step() == {"failed": "process 1 is gone", "cause": cause}


def test_failure_of_the_lead_ends_the_others(groups: Groups, tmp_path: Path) -> None:
    fault_injection.use(f"rank0.batch@3=memory:{tmp_path / 'once'}")
    try:
        report = groups(segment(tmp_path)).step()
    finally:
        fault_injection.use("")
    assert report["cause"] == "memory"
    assert not psutil.pid_exists(groups.peers[0].pid)


def test_batch_smaller_than_the_group_is_refused(groups: Groups, tmp_path: Path) -> None:
    config = {**SECTIONS, "training": {"epochs": 2, "batch_size": 1}}
    report = groups(segment(tmp_path, config=config)).step()
    assert "training.batch_size = 1" in report["failed"]
    assert "processes, 2" in report["failed"]


def _lead(folder: Path, pids: Any) -> None:
    groups = Groups()
    group = groups(dataclasses.replace(segment(folder)))
    group.step()
    pids.send(groups.peers[0].pid)
    time.sleep(600)


def test_peers_end_with_a_killed_lead(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    lead = context.Process(target=_lead, args=(tmp_path, theirs))
    lead.start()
    peer = psutil.Process(ours.recv())
    assert lead.pid is not None
    os.kill(lead.pid, signal.SIGKILL)
    lead.join()
    psutil.wait_procs([peer], timeout=10)
    assert not peer.is_running()
