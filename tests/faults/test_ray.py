"""Real Ray, real MLflow: a worker is killed, or the driver with all processes that it started."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.journal.wording import trial_text
from tests.conftest import SMALL
from tests.launched import NO_MLFLOW, Launch, LaunchedStudy
from tests.waiting import wait_until

WriteSpace = Callable[..., Path]
FEW = (("epochs: 4", "epochs: 3"), ("trials: 6", "trials: 4"))
SLOWER = (("epochs: 4", "epochs: 8"), ("depth: 1", "depth: 4"))


@pytest.fixture(autouse=True)
def no_shared_memory_left() -> Iterator[None]:
    before = set(os.listdir("/dev/shm"))
    yield
    ours = {path for path in set(os.listdir("/dev/shm")) - before if "plasma" in path}
    assert not ours


def assert_nothing_left(study: LaunchedStudy) -> None:
    wait_until(lambda: not study.left(), f"the end of {study.left()}")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStudy]:
    """A study of which trial 1 loses every worker, trial 2 hangs, and another loses one worker."""
    folder = tmp_path_factory.mktemp("faulty")
    text = SMALL
    for old, new in (*FEW, NO_MLFLOW):
        text = text.replace(old, new)
    (folder / "space.yaml").write_text(text)
    faults = (
        f"trial1.step@1=kill:{folder / 'killed'}*4",
        f"trial2.step@1=hang:{folder / 'hung'}",
        f"checkpoint.rename.before@3=kill:{folder / 'once'}",
    )
    study = LaunchedStudy(
        folder / "space.yaml",
        folder / "studies",
        *("--set", "resources.minutes_per_epoch=1"),
        fault=" ".join(faults),
        MLFLOW_TRACKING_URI="",
    )
    try:
        study.end()
        yield study
    finally:
        study.kill()


def of_faulty(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that looks at that one study."""
    return pytest.mark.slow(pytest.mark.xdist_group("faulty")(test))


@of_faulty
def test_faults_of_trials_do_not_keep_a_study_from_its_end(faulty: LaunchedStudy) -> None:
    assert faulty.state.status == "completed"
    assert [t.number for t in faulty.state.trials.values() if t.status == "failed"] == [1, 2]
    faulty.check()
    assert_nothing_left(faulty)


@of_faulty
def test_killed_worker_costs_a_segment_and_nothing_else(faulty: LaunchedStudy) -> None:
    others = [trial for trial in faulty.state.trials.values() if trial.number not in (1, 2)]
    assert sum(trial.lost_segments for trial in others) == 1
    assert {trial.status for trial in others} <= {"completed", "stopped"}


@of_faulty
def test_trial_whose_worker_is_killed_too_often_fails_alone(faulty: LaunchedStudy) -> None:
    trial = faulty.state.trials[1]
    assert (trial.cause, trial_text(trial)) == ("lost", "its worker was lost 4 times")
    starts = [
        event.time
        for event in faulty.events
        if event.kind == "segment_started" and event.data["trial"] == 1
    ]
    assert len(starts) == 4
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert all(waited > least for waited, least in zip(waits, (1, 5, 25), strict=True))


@of_faulty
def test_hanging_trial_is_killed_and_reports_where_it_hung(faulty: LaunchedStudy) -> None:
    failed = faulty.state.trials[2]
    assert failed.cause == "hung"
    assert "reported nothing for 1 minutes; where it hung: " in trial_text(failed)
    trace = Path(trial_text(failed).partition("where it hung: ")[2]).read_text()
    assert "in trigger" in trace


@pytest.mark.slow
def test_killed_driver_leaves_nothing_behind_and_the_same_command_resumes(
    launch: Launch, write_space: WriteSpace, tmp_path: Path
) -> None:
    storage, space = tmp_path / "studies", write_space(*SLOWER, ("trials: 6", "trials: 3"))
    first = launch(space, storage)
    first.wait_for("reported", 4)
    assert "this study is already running" in launch(space, storage).end(1)
    first.kill()
    before = first.state
    assert_nothing_left(first)
    again = launch(space, storage)
    again.end()
    assert again.state.status == "completed"
    for number, trial in before.trials.items():
        if trial.ended:
            assert again.state.trials[number].reports == trial.reports
    again.check()
