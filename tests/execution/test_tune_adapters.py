"""The callbacks of Ray Tune: what they pass on, and which behaviour of Tune they prevent."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError
from ray.tune.search import Searcher

from karat.execution.messages import result_of, segment_of
from karat.execution.tune_adapters import Placed, StudyScheduler, StudySearcher
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.wording import failure_text
from karat.space.space import Space
from tests.study.test_study import open_study


@dataclass(eq=False)
class StandInTrial:
    status: str

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")


def test_study_is_told_when_a_segment_that_may_have_waited_has_its_worker(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        study.record("launched", slots=1, environment={})
        switch = SimpleNamespace(stopped=False, stop=lambda: None, begun=lambda: None)
        searcher = StudySearcher(study, switch)
        assert "segment" in searcher.suggest("a1")
        callback = Placed(searcher)
        callback.on_trial_start(iteration=1, trials=[], trial=SimpleNamespace(trial_id="a1"))
    started, placed = list(read_events(tmp_path / "s" / JOURNAL))[-2:]
    assert (started.kind, started.data["placed"]) == ("segment_started", False)
    assert (placed.kind, placed.data) == ("segment_placed", {"trial": 0, "segment": 0})


def actor_manager() -> RayActorManager:
    """Return Tune's actor manager without a resource manager, which would start Ray."""
    resources: Any = SimpleNamespace(free_resources=lambda acquired_resource: None)
    return RayActorManager(resources)


def test_ended_trials_are_removed_from_tune() -> None:
    done, failed, runs = map(StandInTrial, ("TERMINATED", "ERROR", "RUNNING"))
    trials = [done, runs, failed]
    groups = {
        "_stopped_trials": {done},
        "_failed_trials": {failed},
        "_trials_to_cache": {done, failed, runs},
    }
    controller = SimpleNamespace(
        get_trials=lambda: trials,
        _actor_manager=actor_manager(),
        **groups,
    )
    scheduler = StudyScheduler(None)  # type: ignore[arg-type]
    assert scheduler.choose_trial_to_run(controller) is None
    assert trials == [runs]
    assert list(groups.values()) == [set(), set(), {runs}]


class StandInSwitch:
    stopped = False

    def stop(self) -> None:
        self.stopped = True

    def begun(self) -> None:
        pass


def test_run_is_stopped_when_no_checkpoint_can_be_written(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        switch = StandInSwitch()
        searcher = StudySearcher(study, switch)
        for number in range(2):
            assert not switch.stopped
            segment = segment_of(searcher.suggest(f"tune-{number}"))
            failure = {"failed": "checkpoint", "details": {"message": "no room"}}
            assert searcher.on_result(result_of(segment.trial, failure))
        assert switch.stopped
        assert searcher.suggest("tune-2") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("error", "cause"),
    [(OutOfMemoryError("top 10 memory users: ..."), "memory"), (ActorDiedError(), "lost")],
)
def test_only_a_worker_killed_by_rays_memory_monitor_is_out_of_memory(
    small_space: Space, tmp_path: Path, error: Exception, cause: str
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        searcher = StudySearcher(study, StandInSwitch())
        scheduler = StudyScheduler(searcher)
        searcher.suggest("tune-0")
        manager = actor_manager()
        controller: Any = SimpleNamespace(
            get_trials=list, _actor_manager=manager, _stopped_trials=set(), _failed_trials=set()
        )
        scheduler.choose_trial_to_run(controller)

        def failed(_: TrackedActor, found: Exception) -> None:
            """As Tune's controller does it."""
            assert isinstance(found, RayActorError)
            scheduler.on_trial_error(controller, SimpleNamespace(trial_id="tune-0"))
            searcher.on_trial_complete("tune-0", error=True)

        actor = TrackedActor(1, on_error=failed)
        resources: Any = SimpleNamespace(resource_request=None)
        manager._live_actors_to_ray_actors_resources[actor] = (None, resources)
        manager._actor_task_failed(TrackedActorTask(actor), error)
        trial = study.state.trials[0]
        assert (trial.status, trial.lost_segments) == ("waiting", int(cause == "lost"))
        assert trial.micro_batches == (2 if cause == "memory" else 1)
    last = list(read_events(tmp_path / "s" / JOURNAL))[-1]
    assert last.data["cause"] == cause
    if cause == "memory":
        assert "Ray's memory monitor killed the process" in failure_text(
            cause, last.data["details"]
        )
