"""A study on real Ray that trains each trial in two processes, one of which is killed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.training.worker import SegmentWorker
from tests.launched import NO_MLFLOW, ROOT
from tests.training.test_process_group import segment
from tests.waiting import PATIENCE_S

SHORTER = [
    ("epochs: 4", "epochs: 2"),
    ("trials: 6", "trials: 2"),
    ("values: [1, 2]", "values: [2]"),
    NO_MLFLOW,
]
ONE_TRIAL = [*SHORTER, ("confirm:", "resources: {processes: 2}\nconfirm:")]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.cluster
def test_study_of_trials_in_two_processes_survives_the_loss_of_one(
    write_space: Callable[..., Path], tmp_path: Path
) -> None:
    storage = tmp_path / "studies"
    words = ["--space", str(write_space(*ONE_TRIAL)), "--storage", str(storage)]
    done = subprocess.run(
        [sys.executable, "launch.py", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        env={**os.environ, "KARAT_FAULT": f"rank1.batch@12=kill:{tmp_path / 'once'}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    state = StudyState.of(read_events(storage / "small" / JOURNAL))
    assert state.status == "completed"
    assert [trial.lost_segments for trial in state.trials.values()].count(1) == 1
    assert all(trial.status != "failed" for trial in state.trials.values())
    trial = state.of_phase("confirm")[-1]
    alone = SegmentWorker(segment(tmp_path, config=trial.config, seed=trial.seed, processes=1))
    for report in trial.reports:
        assert alone.step()["metrics"] == pytest.approx(dict(report.metrics), rel=1e-3)
