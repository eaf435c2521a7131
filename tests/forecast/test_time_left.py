"""What is left of a running study, on a virtual clock."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.forecast.curves import ModelledCurves, TrialInfo
from karat.forecast.event_loop import EventLoop
from karat.forecast.simulator import BEGAN, _SimulatedStudy
from karat.forecast.time_left import NOTHING_EXPECTED as NOTHING
from karat.forecast.time_left import Expected, Left, time_left
from karat.journal.unwritten import UnwrittenJournal
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study

WriteSpace = Callable[..., Path]
BUDGETS = ("seeds: 2", "seeds: 6, budgets: [1, 2]")
WHOLE = ("{scheduler: asha, grace_epochs: 1, reduction_factor: 3}", "{scheduler: none}")


class Constant(ModelledCurves):
    """Curves whose epochs take as long as their arm says, always."""

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return self._epoch_s[trial.arm]


class Watched(_SimulatedStudy):
    """A simulated study that notes at each report the clock and what is left."""

    def watch(self, loop: EventLoop, expected: Expected) -> list[tuple[float, Left | None]]:
        self.noted: list[tuple[float, Left | None]] = []
        self.loop, self.expected = loop, expected
        loop.run(self)
        return self.noted

    def report(self, trial: int, epoch: int) -> bool:
        left = time_left(self.study.state, self.loop.workers, self.expected)
        self.noted.append((self.loop.now, left))
        return super().report(trial, epoch)


def watched(
    space: Space, folder: Path, epoch_s: dict[str, float], expected: Expected = NOTHING
) -> tuple[list[tuple[float, Left]], float]:
    """What was left at each report, from the first that has shown an epoch on, and the end of the study."""
    loop = EventLoop(2, 0.0, BEGAN)
    study = Study(space, UnwrittenJournal(loop.time), folder, loop.time)
    study.last_state = lambda folder, epoch, owner="": (epoch, [])
    study.record("study_created", **description(space, "simulated"))
    study.record("launched", slots=2, environment={}, terms={})
    curves = Constant(0, epoch_s, space.search.mode)
    noted = Watched(study, curves).watch(loop, expected)
    assert study.finished
    return [(at, left) for at, left in noted if left is not None], loop.now


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(BUDGETS, WHOLE))


def test_what_is_left_is_right_within_a_quarter_once_every_arm_has_shown_its_epochs(
    space: Space, tmp_path: Path
) -> None:
    epoch_s = {arm: 10.0 * (2 + place) for place, arm in enumerate(space.arms)}
    noted, end = watched(space, tmp_path, epoch_s)
    whole = end - BEGAN
    late = [(at, left) for at, left in noted if at - BEGAN > 0.35 * whole]
    assert late
    for at, left in late:
        true = end - at
        # The longest epoch takes 40 s, and the one that ends at this moment still counts.
        assert left.low_s <= true * 1.25 + 40
        assert left.high_s >= true / 1.25 - 40


def test_an_arm_that_has_shown_nothing_is_taken_from_the_plan_at_the_speed_of_the_others(
    space: Space, tmp_path: Path
) -> None:
    arms = list(space.arms)
    true_s = dict.fromkeys(arms, 10.0) | {arms[-1]: 80.0}
    planned = {
        arm: seconds / 3 for arm, seconds in true_s.items()
    }  # on a machine three times as fast
    with_plan, end = watched(space, tmp_path / "a", true_s, Expected(epoch_s=planned, factor=1.1))
    without, _ = watched(space, tmp_path / "b", true_s)

    def off(noted: list[tuple[float, Left]]) -> float:
        at, left = noted[2]
        return abs((left.low_s + left.high_s) / 2 / (end - at) - 1)

    assert off(with_plan) < 0.3
    assert off(with_plan) < off(without)


def test_what_is_not_known_is_a_range(write_space: WriteSpace, tmp_path: Path) -> None:
    stopped = load_space(write_space(BUDGETS))
    assert stopped.early_stopping["scheduler"] != "none"
    noted, _ = watched(stopped, tmp_path, dict.fromkeys(stopped.arms, 10.0))
    first = noted[1][1]
    assert first.high_s > first.low_s


def test_seeds_that_may_be_added_count_at_most(write_space: WriteSpace, tmp_path: Path) -> None:
    fixed, more = (
        load_space(write_space(("seeds: 2", text), WHOLE))
        for text in ("seeds: 5", "seeds: 5, top_up: {most: 20}")
    )
    epoch_s = dict.fromkeys(fixed.arms, 10.0)
    (_, plain), (_, topped) = (
        watched(each, tmp_path / each.name, epoch_s)[0][6] for each in (fixed, more)
    )
    assert topped.high_s > 1.5 * plain.high_s
    assert topped.low_s == pytest.approx(plain.low_s, rel=0.1)


def test_nothing_is_known_before_a_trial_was_asked_for(space: Space, tmp_path: Path) -> None:
    study = Study(space, UnwrittenJournal(lambda: BEGAN), tmp_path)
    study.record("study_created", **description(space, "simulated"))
    assert time_left(study.state, 2, NOTHING) is None
