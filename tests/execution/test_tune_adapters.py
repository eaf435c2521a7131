"""The callbacks of Ray Tune: what they pass on, and which behaviour of Tune they prevent."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError
from ray.tune.search import Searcher

from karat.execution.messages import IDLE, bundles_of, result_of, segment_of
from karat.execution.tune_adapters import (
    MOST_FAILED_STARTS,
    OVERDUE_S,
    SAY_EVERY_S,
    FirstAssignment,
    StudyScheduler,
    StudySearcher,
)
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.trial import Trial
from karat.journal.wording import failure_text
from karat.space.space import Space
from karat.study.study import Study
from karat.system.process.memory import MemoryKills
from karat.training.segment import Estimate
from tests.study.test_study import open_study


@dataclass(eq=False)
class StandInTrial:
    status: str
    trial_id: str = "a"

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")


def actor_manager() -> RayActorManager:
    """Return Tune's actor manager without a resource manager, which would start Ray."""
    resources: Any = SimpleNamespace(free_resources=lambda acquired_resource: None)
    return RayActorManager(resources)


def test_ended_slots_are_removed_from_tune() -> None:
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
    searcher: Any = SimpleNamespace(
        is_over=False, on_step=lambda: None, say_if_none_starts=lambda: None,
        is_overdue=lambda _: False,
    )  # fmt: skip
    scheduler = StudyScheduler(searcher)
    assert scheduler.choose_trial_to_run(controller) is None
    assert trials == [runs]
    assert list(groups.values()) == [set(), set(), {runs}]


class StandInSwitch:
    stopped = False

    def stop(self) -> None:
        self.stopped = True

    def on_tune_started(self) -> None:
        pass


class Slots:
    """A study's searcher and scheduler with slots whose workers are lists of assignments.

    Args:
        study: with a journal that is open.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.switch = study, StandInSwitch()
        self.now = 0.0
        self.kills = 0
        self.searcher = StudySearcher(
            study,
            self.switch,
            lambda: None,
            lambda: self.now,
            lambda: MemoryKills(None, self.kills),
        )
        self.scheduler = StudyScheduler(self.searcher)
        self._first = FirstAssignment(self.searcher)
        self._trials: dict[str, SimpleNamespace] = {}
        self.given: dict[str, list[str]] = {}

    def request(self, name: str) -> Any:
        return self.searcher.suggest(name)

    def up(self, name: str) -> None:
        """The worker of a slot has started."""
        given: list[str] = []
        actor = SimpleNamespace(assign=SimpleNamespace(remote=given.append))
        trial = SimpleNamespace(
            trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor), status="RUNNING"
        )
        self._trials[name], self.given[name] = trial, given
        self._first.on_trial_start(iteration=1, trials=[], trial=trial)

    def runs(self, name: str) -> int | None:
        """The trial that was last assigned to a slot; None if it waits."""
        segment = segment_of(self.given[name][-1])
        return None if segment is None else segment.trial

    def returns(self, name: str, result: Any) -> str:
        """A worker returns a result; what Tune is to do."""
        return self.scheduler.on_trial_result(None, self._trials[name], dict(result))

    def reports(self, name: str, epochs: int) -> str:
        """A worker reports so many epochs of its trial."""
        number = self.runs(name)
        assert number is not None
        for epoch in range(1, epochs + 1):
            metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
            report = {"epoch": epoch, "metrics": metrics, "seconds": 1.0}
            decision = self.returns(name, result_of(number, report))
        return decision


@pytest.fixture
def slots(small_space: Space, tmp_path: Path) -> Iterator[Slots]:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        study.record("launched", slots=2, environment={})
        yield Slots(study)


def test_segment_is_started_when_its_worker_is_up(slots: Slots) -> None:
    assert bundles_of(slots.request("a")) == [{"CPU": 1.0}]
    trial = slots.study.state.trials[0]
    assert (trial.status, trial.segments) == ("waiting", 0)
    slots.up("a")
    assert (slots.runs("a"), trial.status, trial.segments) == (0, "running", 1)


def test_worker_runs_one_trial_after_the_other(slots: Slots) -> None:
    slots.request("a")
    slots.up("a")
    for number in range(3):
        assert slots.runs("a") == number
        assert slots.reports("a", epochs=4) == "CONTINUE"
    assert len(slots.given["a"]) == 4


def test_free_worker_takes_the_trial_for_which_another_one_still_starts(slots: Slots) -> None:
    for name in "ab":
        slots.request(name)
    slots.up("a")
    slots.reports("a", epochs=4)
    assert slots.runs("a") == 1
    slots.up("b")
    assert slots.runs("b") == 2


def test_free_worker_confirms_what_is_decided_while_another_arm_is_searched(slots: Slots) -> None:
    for name in "ab":
        slots.request(name)
        slots.up(name)
    searched = slots.study.state.trials[1].arm  # by the other worker
    for _ in range(5):  # of the six trials of the search
        slots.reports("a", epochs=4)
    for _ in range(4):  # two seeds of the two arms whose search has ended
        number = slots.runs("a")
        assert number is not None
        trial = slots.study.state.trials[number]
        assert trial.phase == "confirm"
        assert trial.arm != searched
        slots.reports("a", epochs=4)
    assert slots.runs("a") is None  # nothing is left but the third arm, which is still searched
    assert slots.returns("a", IDLE) == "CONTINUE"
    slots.reports("b", epochs=4)
    for name in "ab":
        assert slots.returns(name, IDLE) == "CONTINUE"
        number = slots.runs(name)
        assert number is not None
        assert slots.study.state.trials[number].arm == searched


def test_worker_with_other_resources_than_the_next_trial_makes_room(slots: Slots) -> None:
    def estimate(trial: Trial) -> Estimate:
        return Estimate(memory_bytes=1, epoch_s=None, gpus=0.5 if trial.number < 2 else 0.25)

    slots.study.estimate = estimate
    slots.request("a")
    slots.up("a")
    assert slots.reports("a", epochs=4) == "CONTINUE"
    assert slots.reports("a", epochs=4) == "STOP"
    slots.searcher.on_trial_complete("a")
    assert bundles_of(slots.request("b")) == [{"CPU": 1.0, "GPU": 0.25}]
    slots.up("b")
    assert slots.runs("b") == 2


def test_workers_end_with_the_run(slots: Slots) -> None:
    slots.request("a")
    slots.up("a")
    slots.switch.stop()
    assert slots.returns("a", result_of(0, {"paused": {"epoch": 0, "step": 0}})) == "STOP"
    assert slots.request("b") == Searcher.FINISHED


def test_slot_that_still_waits_for_resources_is_taken_back_at_the_end(slots: Slots) -> None:
    slots.request("a")
    slots.switch.stop()
    stopped: list[Any] = []
    waiting = StandInTrial("PENDING")
    controller: Any = SimpleNamespace(
        get_trials=lambda: [waiting], stop_trial=stopped.append, _actor_manager=actor_manager(),
        _stopped_trials=set(), _failed_trials=set(), _trials_to_cache=set(),
    )  # fmt: skip
    slots.scheduler.choose_trial_to_run(controller)
    assert stopped == [waiting]


def test_workers_that_die_while_they_start_end_the_run(slots: Slots) -> None:
    for number in range(MOST_FAILED_STARTS):
        assert slots.searcher.error is None
        slots.request(f"slot-{number}")
        slots.searcher.on_trial_complete(f"slot-{number}", error=True)
    assert "ended while they started" in str(slots.searcher.error)
    assert slots.switch.stopped
    assert slots.study.state.trials[0].lost_segments == 0


def test_worker_that_dies_while_it_waits_is_no_failed_start(slots: Slots) -> None:
    for name in "ab":
        slots.request(name)
        slots.up(name)
    for _ in range(9):  # five trials of the search, and what can be confirmed of two arms
        slots.reports("a", epochs=4)
    assert slots.runs("a") is None
    slots.searcher.on_trial_complete("a", error=True)
    slots.reports("b", epochs=4)  # now there are trials to confirm
    for number in range(MOST_FAILED_STARTS - 1):
        slots.request(f"slot-{number}")
        slots.searcher.on_trial_complete(f"slot-{number}", error=True)
    assert slots.searcher.error is None
    assert not slots.switch.stopped


def test_worker_that_returns_nothing_for_longer_than_an_epoch_may_take_is_overdue(
    slots: Slots,
) -> None:
    limit_s = 60 * slots.study.space.resources.minutes_per_epoch + OVERDUE_S
    slots.request("a")
    slots.now += 10 * limit_s
    assert not slots.searcher.is_overdue("a")  # it waits for resources
    slots.up("a")
    slots.now += limit_s - 1
    assert not slots.searcher.is_overdue("a")
    slots.reports("a", epochs=1)
    slots.now += limit_s + 1
    assert slots.searcher.is_overdue("a")
    assert not slots.searcher.is_overdue("a")


def test_user_is_told_that_no_worker_starts(slots: Slots, caplog: pytest.LogCaptureFixture) -> None:
    slots.request("a")
    for _ in range(25):
        slots.now += SAY_EVERY_S / 10
        slots.searcher.say_if_none_starts()
    assert caplog.text.count("no worker has started for") == 2
    assert "has no room for a trial ([{'CPU': 1.0}])" in caplog.text
    slots.up("a")
    slots.now += 10 * SAY_EVERY_S
    slots.searcher.say_if_none_starts()
    assert caplog.text.count("no worker has started for") == 2


def test_run_is_stopped_when_no_checkpoint_can_be_written(slots: Slots) -> None:
    slots.request("a")
    slots.up("a")
    failure = {"failed": "checkpoint", "details": {"message": "no room"}}
    assert slots.returns("a", result_of(0, failure)) == "CONTINUE"
    assert slots.returns("a", result_of(1, failure)) == "STOP"
    assert slots.switch.stopped
    assert slots.request("b") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("error", "cause"),
    [(OutOfMemoryError("top 10 memory users: ..."), "memory"), (ActorDiedError(), "lost")],
)
def test_only_a_worker_killed_by_rays_memory_monitor_is_out_of_memory(
    small_space: Space, tmp_path: Path, error: Exception, cause: str
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        slots = Slots(study)
        slots.request("tune-0")
        slots.up("tune-0")
        searcher, scheduler = slots.searcher, slots.scheduler
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


@pytest.mark.parametrize(
    ("kills", "text"), [(1, "killed by the kernel: out of memory"), (0, "died")]
)
def test_worker_that_the_kernel_kills_for_memory_is_lost_with_that_cause(
    slots: Slots, kills: int, text: str
) -> None:
    slots.kills = 3  # before the study
    slots.request("a")
    slots.up("a")
    slots.kills += kills
    slots.searcher.on_trial_complete("a", error=True)
    assert slots.study.state.trials[0].lost_segments == 1
    last = list(read_events(slots.study.folder / JOURNAL))[-1]
    assert text in failure_text(last.data["cause"], last.data["details"])
