"""What ends a segment, and whether the trial is retried: by cause."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.wording import failure_text, study_text, trial_text
from karat.planning.decisions import SAME_ERRORS
from karat.planning.replay import replay
from karat.space.space import Space
from karat.study.audit import audit
from karat.study.description import description
from karat.study.study import Study
from karat.system import fault_injection
from karat.training.checkpoint import load_last_good, save_series
from tests.faults.inline import launch
from tests.study.test_study import open_study, run

WriteSpace = Callable[..., Path]


def raised(message: str, line: int, kind: str = "ValueError") -> dict[str, Any]:
    """The details of an error."""
    return {"type": kind, "message": message, "place": f"mine.py:{line}"}


def state_of(folder: Path) -> StudyState:
    return StudyState.of(read_events(folder / JOURNAL))


def segments_of(folder: Path, number: int) -> list[dict[str, object]]:
    return [
        dict(event.data)
        for event in read_events(folder / JOURNAL)
        if event.kind == "segment_started" and event.data["trial"] == number
    ]


def test_trial_out_of_memory_continues_in_micro_batches(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    assert launch(write_space(), folder, f"step.before@2=memory:{tmp_path / 'once'}") == 0
    assert [s["micro_batches"] for s in segments_of(folder, 0)] == [1, 2]
    assert [s["from_epoch"] for s in segments_of(folder, 0)] == [0, 1]
    assert state_of(folder).trials[0].status == "completed"
    assert audit(folder, tracking=False) == []


@pytest.mark.slow
def test_full_disk_costs_a_segment_with_its_reason_and_no_trial(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    # The first epoch writes two checkpoints, best and epoch; the fourth is the second epoch's.
    assert launch(write_space(), folder, f"checkpoint.write.before@4=full:{tmp_path / 'once'}") == 0
    events = list(read_events(folder / JOURNAL))
    (end,) = (event.data for event in events if event.kind == "segment_ended")
    assert (end["trial"], end["cause"]) == (0, "checkpoint")
    assert (
        "could not be written (No space left on device); the previous one is intact"
        in failure_text("checkpoint", end["details"])
    )
    assert {trial.status for trial in state_of(folder).trials.values()} <= {"completed", "stopped"}
    assert audit(folder, tracking=False) == []


def test_full_disk_leaves_the_older_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"model": {"w": torch.ones(3)}}
    save_series(tmp_path, "epoch", 1, content)
    for place in ("write", "rename", "manifest"):
        monkeypatch.setattr(fault_injection, "_faults", {})
        fault_injection.use(f"checkpoint.{place}.before@1=full:{tmp_path / place}")
        with pytest.raises(OSError, match="No space left on device"):
            save_series(tmp_path, "epoch", 2, content)
    fault_injection.use("")
    found = load_last_good(tmp_path, "epoch", 99)
    assert found is not None
    assert found[0] == 1


@pytest.mark.slow
def test_only_the_tested_or_else_the_best_weights_of_completed_trials_are_kept(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    assert launch(write_space(), folder) == 0
    trials = state_of(folder).trials
    assert any(trial.status == "stopped" for trial in trials.values())
    for trial in trials.values():
        left = {
            path.name.partition("-")[0]
            for path in (folder / "trials" / f"{trial.number:04d}").iterdir()
        }
        kept = {"tested"} if trial.phase == "confirm" else {"best"}
        assert left == (kept if trial.status == "completed" else set())


def optuna_trials(study: Study, trial: Trial) -> optuna.trial.FrozenTrial:
    of_arm = study.decisions.search._studies[trial.arm].get_trials(deepcopy=False)
    return of_arm[trial.seed_index]


def test_trial_out_of_memory_twice_is_reported_as_a_constraint(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        for _ in range(2):
            segment = study.next_segment()
            assert segment is not None
            assert segment.trial == 0
            study.on_failed(0, "memory", {"message": "too much"})
        trial = study.state.trials[0]
        assert (trial.status, trial.cause, trial.micro_batches) == ("failed", "memory", 2)
        frozen = optuna_trials(study, trial)
        assert frozen.state == optuna.trial.TrialState.PRUNED
        assert frozen.constraints == {"memory": 1.0}
        run(study)
    again, journal = open_study(small_space, tmp_path / "s")
    with journal:
        assert optuna_trials(again, again.state.trials[0]).constraints == {"memory": 1.0}


def test_sampler_avoids_the_region_that_needs_too_much_memory() -> None:
    from karat.samplers import Turn
    from karat.samplers.tpe import TPE

    def share_in_region(told: bool) -> float:
        study = optuna.create_study(direction="maximize")
        distribution = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
        hits = 0
        for number in range(60):
            study.sampler = TPE.make(
                Turn(seed=number, series=0, index=number, trials=60, parameters=distribution)
            )
            trial = study.ask(distribution)
            if trial.params["x"] > 0.4:  # the optimum is there, but out of memory
                hits += number >= 20
                if told:
                    trial.set_constraint("memory", 1.0)
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, trial.params["x"])
        return hits / 40

    assert share_in_region(told=True) <= 0.6 * share_in_region(told=False)


@pytest.mark.parametrize("cause", ["non-finite", "error", "hung"])
def test_cause_that_a_retry_would_repeat_is_not_retried(
    small_space: Space, tmp_path: Path, cause: str
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        assert study.next_segment() is not None
        study.on_failed(0, cause, {"message": "a reason"})
        assert study.state.trials[0].status == "failed"
        assert study.state.trials[0].cause == cause


def test_trial_that_is_lost_too_often_reports_the_cause(small_space: Space, tmp_path: Path) -> None:
    now = [1000.0]
    with Journal.open(tmp_path / "s", clock=lambda: now[0]) as journal:
        study = Study(small_space, journal, tmp_path / "s", clock=lambda: now[0])
        study.record("study_created", **description(small_space, "f"))
        for detail in ("gone", "gone", "gone", "epoch 2 is not there"):
            now[0] += 1000
            assert study.next_segment() is not None
            study.on_failed(0, "lost", {"what": "resume", "message": detail})
        trial = study.state.trials[0]
    assert (trial.status, trial.cause) == ("failed", "lost")
    assert trial_text(trial) == "its worker was lost 4 times; the last time: epoch 2 is not there"


def test_retry_after_a_lost_worker_waits_longer_each_time(
    small_space: Space, tmp_path: Path
) -> None:
    now = [1000.0]
    with Journal.open(tmp_path / "s", clock=lambda: now[0]) as journal:
        study = Study(small_space, journal, tmp_path / "s", clock=lambda: now[0])
        study.record("study_created", **description(small_space, "f"))
        for wait in (1.0, 5.0, 25.0):
            now[0] += 1000
            segment = study.next_segment()
            assert segment is not None
            assert segment.trial == 0
            study.on_failed(0, "lost", {"what": "worker"})
            now[0] += wait - 0.1
            other = study.next_segment()
            assert other is not None
            assert other.trial != 0
            study.on_failed(other.trial, "error", raised(f"ended for the test {wait}", 1))
            now[0] += 0.2
        assert study.next_segment() is not None


def test_same_error_in_a_row_fails_the_study_with_it(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        ended = 0
        while (segment := study.next_segment()) is not None:
            study.on_failed(segment.trial, "error", raised("'x'", 3, "KeyError"))
            ended += 1
    assert ended == SAME_ERRORS
    assert study.state.status == "failed"
    assert "5 trials in a row failed with the same error: KeyError: 'x' (mine.py:3)" in study_text(
        study.state
    )


def test_error_that_names_each_trials_own_values_is_the_same_error(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        while (segment := study.next_segment()) is not None:
            message = f"rate 0.{segment.trial} (of 9) is too high"
            study.on_failed(segment.trial, "error", raised(message, 3))
    assert len(study.state.trials) == SAME_ERRORS
    assert study.state.status == "failed"
    assert study_text(study.state).endswith("rate 0.4 (of 9) is too high (mine.py:3)")
    assert list(replay(small_space, list(read_events(tmp_path / "s" / JOURNAL)))) == []


@pytest.mark.parametrize("other", [("x", 3, "TypeError"), ("x", 4)])
def test_errors_of_another_type_or_place_do_not_end_the_study(
    small_space: Space, tmp_path: Path, other: tuple[Any, ...]
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        while (segment := study.next_segment()) is not None:
            error = raised(*(other if segment.trial % 2 else ("x", 3)))
            study.on_failed(segment.trial, "error", error)
    assert study_text(study.state) == "no trial was completed"


def test_different_errors_do_not_end_the_study(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        while (segment := study.next_segment()) is not None:
            study.on_failed(segment.trial, "error", raised("x", segment.trial))
    assert study_text(study.state) == "no trial was completed"
