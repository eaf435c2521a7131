"""A trial on two ranks, over gloo on the CPU, compared with the same trial in one process."""

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

from karat.causes import Failure
from karat.journal.layout import PAUSE_FILE
from karat.journal.wording import failure_text
from karat.system import fault_injection
from karat.training import distributed_worker, pause
from karat.training.distributed_worker import DistributedWorker, RankHandle, RankLostError
from karat.training.process_group import LOOPBACK
from karat.training.segment import Segment
from karat.training.watching.config import HEALTH_METRICS
from karat.training.worker import SegmentWorker
from tests.segments import segment
from tests.spawned_rank import SpawnedRank
from tests.training.test_trainer import SECTIONS
from tests.waiting import PATIENCE_S


class Workers:
    """Makes distributed workers, and remembers the ranks that they start."""

    def __init__(self) -> None:
        self.ranks: list[SpawnedRank] = []  # other than 0
        self.made: list[DistributedWorker] = []

    def __call__(self, segment: Segment) -> DistributedWorker:
        self.made.append(DistributedWorker(segment, self.start, LOOPBACK))
        return self.made[-1]

    def start(self, rank: int) -> RankHandle:
        self.ranks.append(SpawnedRank(rank))
        return self.ranks[-1]


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    for each in workers.made:
        each.close()
    assert not any(psutil.pid_exists(rank.pid) for rank in workers.ranks)


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
def test_two_ranks_give_the_numbers_of_one_process(
    workers: Workers, alone: list[dict[str, float]], tmp_path: Path, micro_batches: int
) -> None:
    worker = workers(segment(tmp_path, micro_batches=micro_batches))
    reports = [worker.step() for _ in range(2)]
    assert all(same(*each) for each in zip(reports, alone, strict=True))
    assert reports[0]["kernels"] == ("recompute",)


def test_rank_zero_looks_at_attention_and_the_numbers_stay(
    workers: Workers, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    watched = {"epochs": 2, "batch_size": 127, "health": True, "keep_checkpoints": 2}
    worker = workers(segment(tmp_path, config={**SECTIONS, "training": watched}))
    reports = [worker.step() for _ in range(2)]
    for report, metrics in zip(reports, alone, strict=True):
        seen = {name: report["metrics"].pop(name) for name in HEALTH_METRICS}
        assert 0 < seen["health_entropy"] < 1
        assert same(report, metrics)
    assert reports[1]["snapshots"] == [1, 2]


def test_nothing_listens_to_other_machines(workers: Workers, tmp_path: Path) -> None:
    worker = workers(segment(tmp_path))
    assert worker.step()["epoch"] == 1
    processes = [psutil.Process(), psutil.Process(workers.ranks[0].pid)]
    found = [c for each in processes for c in each.net_connections() if c.status == "LISTEN"]
    assert found
    assert {each.laddr.ip for each in found} == {LOOPBACK}


def test_trial_resumes_with_another_world_size(
    workers: Workers, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    first = workers(segment(tmp_path))
    assert same(first.step(), alone[0])
    first.close()
    again = workers(segment(tmp_path, from_epoch=1))
    assert same(again.step(), alone[1])
    again.close()
    by_one = SegmentWorker(segment(tmp_path, from_epoch=1, processes=1))
    assert same(by_one.step(), alone[1])


def test_all_ranks_pause_within_an_epoch_and_resume(
    workers: Workers, alone: list[dict[str, float]], tmp_path: Path
) -> None:
    first = workers(segment(tmp_path))
    first.step()
    pause.write(tmp_path / PAUSE_FILE, pause.PAUSE)
    time.sleep(pause.LOOK_EVERY_S)
    assert first.step() == {"paused": {"epoch": 1, "step": 1}}
    pause.write(tmp_path / PAUSE_FILE, pause.GO)
    again = workers(segment(tmp_path, from_epoch=1))
    assert same(again.step(), alone[1])


def test_pause_request_before_the_first_epoch_needs_no_other_rank(
    workers: Workers, tmp_path: Path
) -> None:
    pause.write(tmp_path / PAUSE_FILE, pause.PAUSE)
    assert workers(segment(tmp_path)).step() == {"paused": {"epoch": 0, "step": 0}}


@pytest.mark.parametrize(
    ("fault", "cause", "reason"),
    [
        ("rank1.batch@3=kill", "lost", "rank 1"),
        ("rank1.batch@3=memory", "memory", "rank 1: out of memory"),
    ],
)
def test_failure_of_one_rank_kills_all_and_is_named(
    workers: Workers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    cause: str,
    reason: str,
) -> None:
    monkeypatch.setattr(distributed_worker, "GRACE_S", PATIENCE_S)  # a slow machine reports later
    monkeypatch.setenv("KARAT_FAULT", f"{fault}:{tmp_path / 'once'}")
    report = workers(segment(tmp_path)).step()
    assert report["failed"] == cause
    assert failure_text(cause, report["details"]).startswith(reason)


@pytest.mark.parametrize("cause", ["lost", "memory"])
def test_lost_rank_is_reported_with_its_cause(tmp_path: Path, cause: str) -> None:
    class Gone:
        def call(self, method: str, *arguments: Any) -> Any:
            raise RankLostError(Failure(cause), rank=1)

        def kill(self) -> None:
            pass

    worker = DistributedWorker(segment(tmp_path), lambda _: Gone(), LOOPBACK)
    assert worker.step() == {"failed": cause, "details": {"rank": 1}}


def test_failure_of_rank_0_kills_the_other_ranks(workers: Workers, tmp_path: Path) -> None:
    fault_injection.use(f"rank0.batch@3=memory:{tmp_path / 'once'}")
    try:
        report = workers(segment(tmp_path)).step()
    finally:
        fault_injection.use("")
    assert report["failed"] == "memory"
    assert not psutil.pid_exists(workers.ranks[0].pid)


def test_batch_smaller_than_the_world_size_is_refused(workers: Workers, tmp_path: Path) -> None:
    config = {**SECTIONS, "training": {"epochs": 2, "batch_size": 1}}
    report = workers(segment(tmp_path, config=config)).step()
    assert "training.batch_size = 1" in report["details"]["message"]
    assert "processes, 2" in report["details"]["message"]


def _rank_zero(folder: Path, pids: Any) -> None:
    workers = Workers()
    worker = workers(dataclasses.replace(segment(folder)))
    worker.step()
    pids.send(workers.ranks[0].pid)
    time.sleep(2 * PATIENCE_S)


@pytest.mark.slow
def test_other_ranks_exit_when_rank_0_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    rank_zero = context.Process(target=_rank_zero, args=(tmp_path, theirs))
    rank_zero.start()
    other = psutil.Process(ours.recv())
    assert rank_zero.pid is not None
    os.kill(rank_zero.pid, signal.SIGKILL)
    rank_zero.join()
    psutil.wait_procs([other], timeout=PATIENCE_S)
    assert not other.is_running()
