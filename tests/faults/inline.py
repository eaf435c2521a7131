"""A study in one process: the real study, journal, trainer and checkpoints, without Ray and MLflow.

Tests kill it often, so it starts in a fraction of a second, from a fork server that has imported it.
"""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from karat.cli import driver
from karat.journal import lock
from karat.journal.journal import Journal
from karat.journal.layout import PAUSE_FILE
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.study import Study
from karat.system import fault_injection
from karat.training import pause
from karat.training.worker import SegmentWorker
from tests.forkserver import CONTEXT
from tests.waiting import PATIENCE_S


def launch(
    path: Path,
    folder: Path,
    fault: str = "",
    *,
    extend: Sequence[str] = (),
    reports: int | None = None,
) -> int:
    """Run or resume the study of a space in a new process; returns its exit status.

    Args:
        path: file of the search space.
        folder: folder of the study.
        fault: value of `KARAT_FAULT`.
        extend: values of `--extend`.
        reports: the number of reports after which the study is stopped and its worker pauses.
    """
    process = CONTEXT.Process(target=_main, args=(path, folder, fault, extend, reports))
    process.start()
    process.join(PATIENCE_S)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode is not None, "the study did not end"
    return process.exitcode


def _main(path: Path, folder: Path, fault: str, extend: Sequence[str], reports: int | None) -> None:
    fault_injection.use(fault)
    lock.SETTLE_S = 0.0  # as in every test: no rival takes the lock
    multiprocessing.set_start_method("fork", force=True)  # as in a worker process of Ray
    space = load_space(path)
    with Journal.open(folder) as journal:
        study = Study(space, journal, folder)
        if study.state.created:
            driver._take_changes(study, space, extend, Console(quiet=True))
        run(study, space, reports)
    sys.exit({"completed": 0, "interrupted": 75}.get(study.state.status, 1))


def run(study: Study, space: Space, reports: int | None = None) -> None:
    """Run the segments one after the other; with `reports` only until that number of reports."""
    if not study.state.created:
        study.record("study_created", **driver.description(space, "fingerprint"))
    if not study.finished:
        study.record("launched", slots=1, environment={})
    pause.write(study.folder / PAUSE_FILE, pause.GO)
    left = reports or 10**9
    while not study.finished:
        segment = study.next_segment()
        if study.full_disk() is not None:
            study.on_interrupted(None)
            return
        if segment is None:
            time.sleep(0.05)
            continue
        worker = SegmentWorker(segment)
        while not study.on_worker_report(segment.trial, worker.step()):
            left -= 1
            if left == 0:
                pause.write(study.folder / PAUSE_FILE, pause.PAUSE)
                time.sleep(pause.LOOK_EVERY_S)
        if left <= 0:
            study.on_interrupted("SIGTERM")
            return
