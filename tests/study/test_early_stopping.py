"""Every early-stopping rule in a real study, with the fake engine: held, stopped and audited trials."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.causes import Audit, SegmentEnd
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.replay import replay
from karat.schedulers import SCHEDULERS
from karat.space.reader import load_space
from karat.space.space import Space
from tests.conftest import SMALL
from tests.marks import further
from tests.simulated import findings
from tests.study.test_study import decisions, open_study, run

WriteSpace = Callable[..., Path]
ASHA = "{scheduler: asha, grace_epochs: 1, reduction_factor: 3}"
every_rule = pytest.mark.parametrize("name", sorted(SCHEDULERS))


def space_with(write_space: WriteSpace, stopping: str, trials: int = 24) -> Space:
    """A space of few arms with this section `early_stopping`, and trials of nine epochs."""
    text = SMALL.replace(ASHA, stopping).replace("trials: 6", f"trials: {trials}")
    assert stopping in text
    assert f"trials: {trials}" in text
    return load_space(write_space(text=text), {"training.epochs": "9"})


def events_of(space: Space, folder: Path, *stops: int, slots: int = 2) -> list[Event]:
    """Events of a study, run by the fake engine and interrupted after each of `stops` epochs."""
    for steps in (*stops, 10**6):
        study, journal = open_study(space, folder)
        with journal:
            run(study, steps=steps, slots=slots)
    return list(read_events(folder / JOURNAL))


@every_rule
def test_a_study_ends_and_replays_with_every_rule(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    space = space_with(write_space, f"{{scheduler: {name}}}")
    events = events_of(space, tmp_path / "s")
    state = StudyState.of(events)
    assert state.status == "completed"
    assert any(trial.status == "stopped" for trial in state.trials.values()) == (name != "none")
    assert list(replay(space, events)) == []


@pytest.mark.parametrize("name", further(sorted(SCHEDULERS)))
def test_a_study_killed_at_any_step_takes_the_same_decisions_with_every_rule(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    space = space_with(write_space, f"{{scheduler: {name}, audit_share: 0.5}}"
                       if name != "none" else "{scheduler: none}")  # fmt: skip
    whole = decisions(StudyState.of(events_of(space, tmp_path / "whole", slots=1)))
    for step in (7, 23, 24, 25, 61):
        events = events_of(space, tmp_path / f"killed-{step}", step, slots=1)
        assert decisions(StudyState.of(events)) == whole
        assert list(replay(space, events)) == []


@every_rule
def test_a_simulated_study_keeps_all_invariants_with_every_rule(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    space = space_with(write_space, f"{{scheduler: {name}}}")
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 60.0))
    found = simulate(space, tmp_path / "s", 3, curves)
    assert found.state.status == "completed"
    for trial in found.state.trials.values():
        assert trial.status != "completed" or len(trial.reports) == trial.epochs
    assert findings(tmp_path / "s") == []


def test_one_epoch_trains_each_trial_of_an_arm_once_and_the_best_in_full(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = space_with(write_space, "{scheduler: one_epoch, keep: 2}")
    events = events_of(space, tmp_path / "s")
    state = StudyState.of(events)
    for label in space.arms:
        trials = [trial for trial in state.of_phase("search") if trial.arm == label]
        values = sorted(trial.reports[0].metrics["val_accuracy"] for trial in trials)
        done = [trial for trial in trials if trial.status == "completed"]
        assert sorted(trial.reports[0].metrics["val_accuracy"] for trial in done) == values[-2:]
        assert all(len(trial.reports) == 1 for trial in trials if trial not in done)
    held = [e for e in events if e.kind == "segment_ended"]
    assert {e.data["cause"] for e in held} == {SegmentEnd.HELD.value}


def test_a_held_trial_does_not_keep_a_hopeless_study_from_ending(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    """Five trials fail in the same way, so that none is asked for any more, while others are held."""
    space = space_with(write_space, "{scheduler: one_epoch, keep: 1}")
    study, journal = open_study(space, tmp_path / "s")
    error = {"type": "ValueError", "message": "", "place": "here.py:1"}
    with journal:
        for _ in range(4):
            segment = study.next_segment()
            assert segment is not None
            study.on_report(segment.trial, 1, {"val_accuracy": 0.5, "val_loss": 1.0}, 1.0)
        for _ in range(40):
            if (segment := study.next_segment()) is None:
                break
            study.on_failed(segment.trial, "error", error)
        assert study.state.status == "failed"
        assert not study.state.unended


@pytest.mark.parametrize("name", ["asha", "one_epoch"])
def test_audited_trials_are_finished_and_change_no_other_decision(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    told = {}
    for share in (0, 0.5):
        sampler = f"{{scheduler: {name}, audit_share: {share}}}"
        text = space_with(write_space, sampler)
        # Random values, since TPE learns from the trials that are finished anyway.
        space = load_space(
            write_space(text=SMALL.replace(ASHA, sampler).replace("trials: 6", "trials: 24")),
            {"training.epochs": "9", "search.sampler": "random"},
        )
        assert text.audit_share == share
        told[share] = StudyState.of(events_of(space, tmp_path / str(share), slots=1))
    finished = [t for t in told[0.5].of_phase("search") if t.cause == Audit.FINISHED_ANYWAY]
    assert finished
    for trial in finished:
        assert trial.status == "completed"
        assert len(trial.reports) == trial.epochs
        assert told[0].trials[trial.number].status == "stopped"
        assert told[0].trials[trial.number].details["epoch"] == trial.details["epoch"]
    others = [t for t in told[0.5].of_phase("search") if t not in finished]
    assert [t.status for t in others] == [told[0].trials[t.number].status for t in others]


def test_a_finished_trial_can_be_the_best_of_its_arm(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = space_with(write_space, "{scheduler: asha, audit_share: 1}")
    study, journal = open_study(space, tmp_path / "s")
    with journal:
        run(study)
    assert all(trial.status == "completed" for trial in study.state.of_phase("search"))
    assert study.state.confirmation is not None
    for cell in study.state.confirmation["cells"]:
        values = [
            trial.last("val_accuracy") or 0.0
            for trial in study.state.of_phase("search")
            if trial.arm == cell["arm"]
        ]
        assert cell["value"] == max(values)
