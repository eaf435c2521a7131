"""A search trial that breaks a constraint is stopped, is not confirmed, and all that follows from the journal alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from karat.causes import Skip, Stop
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves, RecordedCurves
from karat.forecast.simulator import not_simulated, simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import skip_text, study_text, trial_text
from karat.planning.replay import replay
from karat.report.facts.summary import summarise
from karat.report.narrative import search_notes
from karat.report.sections import sections
from karat.space.reader import load_space
from tests.driven import checked, go, without_ray
from tests.study import test_study

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
SEARCH = "search: {sampler: tpe, trials: 6"
WATCHED = ("recipe: quick", "recipe: quick, health: true")


def constrained(*constraints: str) -> tuple[str, str]:
    return SEARCH, f"{SEARCH}, constraints: [{', '.join(constraints)}]"


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, without_ray: None) -> dict[str, Any]:
    """Metrics that the fake engine reports too: name to a function of (arm, trial, epoch)."""
    more: dict[str, Any] = {}
    report = test_study.Study.on_report

    def with_more(
        self: Any, number: int, epoch: int, metrics: Any, *args: Any, **rest: Any
    ) -> bool:
        arm = self.state.trials[number].arm
        found = {name: of(arm, number, epoch) for name, of in more.items()}
        return report(self, number, epoch, {**metrics, **found}, *args, **rest)

    monkeypatch.setattr(test_study.Study, "on_report", with_more)
    return more


def state_of(storage: Path) -> StudyState:
    return StudyState.of(read_events(storage / "small" / JOURNAL))


def by_number(_: str, number: int, epoch: int) -> float:
    """The first trial of each arm has collapsed after two epochs."""
    return 0.01 if number < 3 and epoch == 2 else 0.9


@pytest.mark.parametrize("steps", [10**6, 5], ids=["at once", "killed"])
def test_a_trial_that_breaks_a_constraint_is_stopped_and_never_confirmed(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any], steps: int
) -> None:
    reports["health_entropy"] = by_number
    rule = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")
    space = write_space(WATCHED, constrained("health_entropy >= 0.05"), rule)
    while go(space, tmp_path, steps=steps) == 75:
        pass
    state = checked(tmp_path / "small")  # audit and replay find nothing
    first, others = [state.trials[n] for n in range(3)], state.of_phase("search")[3:]
    for trial in first:
        assert (trial.status, trial.cause, len(trial.reports)) == ("stopped", Stop.CONSTRAINT, 2)
        assert trial.details == {
            "epoch": 2, "metric": "health_entropy", "value": 0.01, "relation": ">=", "limit": 0.05,
        }  # fmt: skip
        told = "health_entropy is 0.01 at epoch 2; search.constraints: health_entropy >= 0.05"
        assert trial_text(trial) == told
    assert {trial.status for trial in others} == {"completed"}
    assert state.confirmation is not None
    assert {cell["trial"] for cell in state.confirmation["cells"]} <= {t.number for t in others}
    assert {t.status for t in state.of_phase("confirm")} == {"completed"}  # not looked at there
    (note,) = (each for each in search_notes(summarise(state)) if "constraints" in each)
    assert note.endswith(
        "3 broke one of search.constraints, and could not be confirmed: 3 by health_entropy >= 0.05."
    )


def test_the_last_epoch_counts_too(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    reports["val_loss"] = lambda arm, number, epoch: 9.0 if number == 0 and epoch == 4 else 1.0
    rule = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")
    assert go(write_space(constrained("val_loss <= 5"), rule), tmp_path) == 0
    trial = checked(tmp_path / "small").trials[0]
    assert (trial.status, trial.cause, len(trial.reports)) == ("stopped", Stop.CONSTRAINT, 4)


def test_an_arm_without_an_allowed_trial_is_not_confirmed_and_says_so(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    reports["health_entropy"] = lambda arm, number, epoch: 0.0 if "grid_size=2" in arm else 0.9
    assert go(write_space(WATCHED, constrained("health_entropy >= 0.05")), tmp_path) == 0
    state = checked(tmp_path / "small")
    assert state.confirmation is not None
    (skipped,) = state.confirmation["skipped"]
    assert skipped["cause"] == Skip.NONE_ALLOWED
    text = skip_text(skipped["cause"], skipped["details"])
    assert (
        text == "no trial of it finished the search: 2 of 2 broke a constraint (search.constraints)"
    )
    assert f"{skipped['label']} is not confirmed: {text}." in list(search_notes(summarise(state)))
    rows = [
        row for each in sections(summarise(state)) for table in each.tables for row in table.rows
    ]
    assert any(text in str(row) for row in rows)


def test_a_study_without_an_allowed_trial_says_so(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    go(write_space(constrained("val_accuracy >= 2")), tmp_path)
    state = checked(tmp_path / "small")
    assert state.status == "failed"
    told = "no trial was completed; 6 of 6 trials of the search broke a constraint (search.constraints)"
    assert study_text(state) == told


def test_what_was_not_reported_stops_no_trial(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    assert go(write_space(WATCHED, constrained("health_negative <= 0.5")), tmp_path) == 0
    assert not any(t.cause == Stop.CONSTRAINT for t in checked(tmp_path / "small").trials.values())


def test_a_replay_finds_a_stop_without_a_broken_constraint_and_the_other_way_round(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    reports["health_entropy"] = by_number
    path = write_space(WATCHED, constrained("health_entropy >= 0.05"))
    assert go(path, tmp_path) == 0
    events, space = list(read_events(tmp_path / "small" / JOURNAL)), load_space(path)
    place, end = next((k, e) for k, e in enumerate(events) if e.data.get("cause") == "constraint")

    def other(**data: Any) -> list[str]:
        changed = [*events[:place], replace(end, data={**end.data, **data}), *events[place + 1 :]]
        return [str(each) for each in replay(space, changed)]

    assert other() == []
    assert '"limit": 0.05' in other(cause="early_stopping", details={"epoch": 2})[0]
    assert other(details={**end.data["details"], "value": 0.04})


def test_an_extended_study_takes_the_same_decisions_again(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    reports["health_entropy"] = by_number
    space = write_space(WATCHED, constrained("health_entropy >= 0.05"))
    assert go(space, tmp_path) == 0
    assert go(space, tmp_path, "trials=+3") == 0
    checked(tmp_path / "small")
    with pytest.raises(InputError, match=r"search\.constraints"):
        go(write_space(WATCHED, constrained("health_entropy >= 0.2")), tmp_path)


@pytest.mark.parametrize(
    ("constraint", "rule"),
    [
        ("health_entropy > 0.05", "must be METRIC <= NUMBER or METRIC >= NUMBER"),
        (
            "health_entropie >= 0.05",
            "not reported by the trials of a search. did you mean 'health_entropy'",
        ),
        ("test_accuracy >= 0.5", "test_accuracy is not reported by the trials of a search"),
        ("health_entropy >= 0.05", "reported only with training.health: true"),
        ("val_loss >= 3, val_loss <= 2", "val_loss >= 3 and val_loss <= 2: no value meets both"),
        ("val_loss <= 3, val_loss <= 2", "what meets one meets the other; keep one of them"),
        ("3", "must be text"),
    ],
)
def test_a_constraint_that_cannot_be_checked_is_refused(
    write_space: WriteSpace, constraint: str, rule: str
) -> None:
    with pytest.raises(InputError) as error:
        load_space(write_space(constrained(constraint)))
    assert rule in str(error.value)
    assert "search.constraints" in str(error.value)
    assert "space.yaml:13" in str(error.value)


def test_a_simulation_applies_the_constraints_that_its_curves_can_show(
    write_space: WriteSpace, tmp_path: Path, reports: dict[str, Any]
) -> None:
    plain = load_space(write_space(WATCHED))
    reports["health_entropy"] = lambda arm, number, epoch: 0.01 if number % 2 else 0.9
    assert go(write_space(WATCHED), tmp_path) == 0
    space = load_space(write_space(WATCHED, constrained("health_entropy >= 0.05")))
    assert space.hash != plain.hash
    recorded = RecordedCurves(state_of(tmp_path))
    assert not_simulated(space, recorded) == []
    assert _stopped(simulate(space, None, 2, recorded).state)
    modelled = ModelledCurves(1, dict.fromkeys(space.arms, 1.0))
    assert [str(each) for each in not_simulated(space, modelled)] == ["health_entropy >= 0.05"]
    assert not _stopped(simulate(space, None, 2, modelled).state)
    own = load_space(write_space(constrained("val_accuracy >= 2")))
    assert len(_stopped(simulate(own, None, 2, modelled).state)) == 6


def _stopped(state: StudyState) -> list[int]:
    return [t.number for t in state.trials.values() if t.cause == Stop.CONSTRAINT]
