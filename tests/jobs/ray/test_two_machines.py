"""A study on two machines, one of which is cut off for a while, and is lost later.

The machines are network namespaces of this one: each has its address, and the cable can be cut.
"""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from karat.cli.exit_status import INTERRUPTED
from karat.study.audit import audit
from tests.jobs.ray.namespaces import Machines, two_machines
from tests.launched import NO_MLFLOW, Launch, LaunchedStudy
from tests.waiting import wait_until

WriteSpace = Callable[..., Path]
CUT_S = 20.0
LONG = (
    ("epochs: 4", "epochs: 24"),
    ("trials: 6", "trials: 3"),
    ("seeds: 2", "seeds: 60"),  # more than are needed: it is interrupted
    NO_MLFLOW,
)
pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1800)]


def ended(study: LaunchedStudy) -> int:
    return study.count("trial_ended")


def reports(study: LaunchedStudy) -> int:
    return study.count("reported")


def wait_until_both_report(study: LaunchedStudy) -> None:
    """Until two trials report by turns, which they do on two machines, or the study has ended."""
    before = reports(study)
    wait_until(
        lambda: by_turns(study, before) or study.process.poll() is not None, "reports of both"
    )
    assert study.process.poll() is None, study.said()


def by_turns(study: LaunchedStudy, start: int) -> bool:
    """Whether, in the reports from `start` on, one of a trial is between two of another."""
    told = [e.data["trial"] for e in study.events if e.kind == "reported"][start:]
    first = {trial: told.index(trial) for trial in told}
    last = {trial: place for place, trial in enumerate(told)}
    return any(first[a] < first[b] < last[a] for a in first for b in first)


def started(machines: Machines, place: int) -> psutil.Popen:
    """Ray on one machine, once it runs."""
    node = machines.start_ray(place)
    log = machines.folder / f"ray-{place}.log"
    wait_until(
        lambda: "Ray runtime started" in log.read_text() or node.poll() is not None, "a node of Ray"
    )
    assert node.poll() is None, log.read_text()
    return node


def test_study_goes_on_when_a_machine_is_cut_off_and_when_it_is_lost(
    write_space: WriteSpace, launch: Launch, tmp_path: Path
) -> None:
    space = write_space(*LONG)
    with two_machines(tmp_path) as machines:
        head, other = started(machines, 0), started(machines, 1)

        def submit() -> LaunchedStudy:
            command = machines.inside(0, [sys.executable, "-m", "karat.cli.in_cluster"])
            return launch(space, tmp_path / "s", command=command, **machines.environment)

        study = submit()
        wait_until_both_report(study)
        machines.cut()
        time.sleep(CUT_S)
        machines.mend()
        wait_until_both_report(study)
        assert head.poll() is None

        machines.lose(other)
        enough = ended(study) + 3
        wait_until(
            lambda: ended(study) >= enough or study.process.poll() is not None, "three trials"
        )
        if study.process.poll() == INTERRUPTED:
            study = submit()
        study.wait_for("trial_ended", enough)
        study.interrupt(signal.SIGTERM)
    assert not any(trial.status == "failed" for trial in study.state.trials.values())
    assert audit(study.folder, tracking=False) == []
    study.check()
