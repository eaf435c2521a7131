"""A real Ray cluster of two nodes, both on this machine, loses one, or gets the second one late."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.causes import SegmentEnd
from karat.cli.main import main
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.study.audit import audit
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow
WriteSpace = Callable[..., Path]
SLOWER = (("epochs: 4", "epochs: 8"), ("depth: 1", "depth: 4"), ("trials: 6", "trials: 3"))


def _study_on_two_nodes(path: Path, folder: Path, comes_late: bool) -> None:
    """Run in a separate process: a cluster of two nodes, of which one is killed while trials run.

    Or the second node joins only then; the study expects it and is stopped once it has used both.
    """
    os.setsid()  # so that Ctrl-C in a terminal does not reach this process
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from karat.execution.local_ray import close_environment

    close_environment()
    from ray.cluster_utils import Cluster

    from karat.execution.engine import Engine
    from karat.execution.trainable import Slot
    from karat.journal.journal import Journal
    from karat.space.reader import load_space
    from karat.study.description import description
    from karat.study.study import Study

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    other = None if comes_late else cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    most = 2 if comes_late else 0
    space = load_space(path)
    with Journal.open(folder) as journal:
        study = Study(space, journal, folder)
        study.record("study_created", **description(space, "fingerprint"))
        with Engine(space.resources, address=cluster.address, most_slots=most) as engine:
            study.record("launched", slots=engine.slots, environment={})

            def both_train() -> bool:
                trials = list(study.state.trials.values())
                return sum(bool(each.reports) and not each.ended for each in trials) == 2

            def lose() -> None:
                while not both_train():
                    time.sleep(0.05)
                cluster.remove_node(other, allow_graceful=False)

            def grow(event: Event, state: StudyState) -> None:
                """Called in the main thread, since starting a node installs signal handlers."""
                if event.kind == "reported" and len(cluster.list_all_nodes()) == 1:
                    cluster.add_node(num_cpus=1)
                elif state.launches and state.launches[-1].slots == 2:
                    engine.stop()

            if comes_late:
                study.listeners.append(grow)
            else:
                threading.Thread(target=lose, daemon=True).start()
            engine.run(study, Slot)
        if not study.finished:
            study.on_interrupted("SIGTERM")
    cluster.shutdown()


def run_on_two_nodes(space: Path, folder: Path, *, comes_late: bool) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_study_on_two_nodes, args=(space, folder, comes_late))
    process.start()
    try:
        process.join(2 * PATIENCE_S)
        assert process.exitcode == 0
    finally:
        process.kill()


def test_waiting_trial_runs_on_a_node_that_joins_late(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder, longer = tmp_path / "small", ("epochs: 8", "epochs: 300")  # than a process starts
    run_on_two_nodes(write_space(*SLOWER, longer), folder, comes_late=True)
    events = list(read_events(folder / JOURNAL))
    assert next(e for e in events if e.kind == "launched").data["slots"] == 1
    assert sum(event.kind == "segment_started" for event in events) == 2
    assert StudyState.of(events).launches[-1].slots == 2
    causes = {event.data["cause"] for event in events if event.kind == "segment_ended"}
    assert causes
    assert causes <= {
        SegmentEnd.PAUSED,
        SegmentEnd.INTERRUPTED,
    }  # stopped by this test: a waiting trial counts neither as lost nor as hanging
    assert audit(folder, tracking=False) == []


def test_lost_node_costs_a_segment_and_the_study_continues_on_the_other(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    run_on_two_nodes(write_space(*SLOWER), folder, comes_late=False)
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    assert state.status == "completed"
    assert next(e for e in events if e.kind == "launched").data["slots"] == 2
    lost = [e.data for e in events if e.kind == "segment_ended"]
    assert [each["cause"] for each in lost] == ["lost"]
    again = state.trials[lost[0]["trial"]]
    assert again.segments == 2
    assert again.status in ("completed", "stopped")
    assert not any(trial.status == "failed" for trial in state.trials.values())
    assert audit(folder, tracking=False) == []
    assert main(["replay", str(folder)]) == 0
