"""What Ray Tune is told, and what it is kept from doing."""

from dataclasses import dataclass
from types import SimpleNamespace

from karat.tune_adapters import StudyScheduler


@dataclass(eq=False)
class StandInTrial:
    status: str

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")


def test_tune_forgets_trials_that_have_ended() -> None:
    done, failed, runs = map(StandInTrial, ("TERMINATED", "ERROR", "RUNNING"))
    trials = [done, runs, failed]
    groups = {
        "_stopped_trials": {done},
        "_failed_trials": {failed},
        "_trials_to_cache": {done, failed, runs},
    }
    controller = SimpleNamespace(get_trials=lambda: trials, **groups)
    scheduler = StudyScheduler(None)  # type: ignore[arg-type]
    assert scheduler.choose_trial_to_run(controller) is None
    assert trials == [runs]
    assert list(groups.values()) == [set(), set(), {runs}]
