"""A study in one process: the real study, journal, trainer and checkpoints, without Ray and MLflow.

Made to be killed: it starts in a fraction of a second from a server that has imported it.
"""

import multiprocessing
import sys
import time
from pathlib import Path

from karat import faults
from karat.driver import description
from karat.journal import Journal
from karat.space import Space
from karat.spacefile import load_space
from karat.study import Study
from karat.worker import SegmentWorker

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.inline", "timm.optim", "timm.scheduler"])


def launch(path: Path, folder: Path, fault: str = "") -> int:
    """Run or resume the study of a space in a new process; returns its exit status."""
    process = _CONTEXT.Process(target=_main, args=(path, folder, fault))
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode is not None, "the study did not end"
    return process.exitcode


def _main(path: Path, folder: Path, fault: str) -> None:
    faults.use(fault)
    multiprocessing.set_start_method("fork", force=True)  # as in a worker of Ray's
    space = load_space(path)
    with Journal.open(folder) as journal:
        study = Study(space, journal, folder)
        run(study, space)
        sys.exit(0 if study.state.status == "completed" else 1)


def run(study: Study, space: Space) -> None:
    """Every segment to its end, one after the other."""
    if not study.state.created:
        study.record("study_created", **description(space, "fingerprint"))
    if not study.finished:
        study.record("launched", slots=1, environment={})
    while not study.finished:
        segment = study.next_segment()
        if segment is None:
            time.sleep(0.05)
            continue
        worker = SegmentWorker(segment)
        while not study.on_worker_report(segment.trial, worker.step()):
            pass
