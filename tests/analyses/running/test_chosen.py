"""Which trials are looked at."""

from pathlib import Path

import pytest

from karat.analyses.running.chosen import chosen_arms
from karat.errors import InputError
from karat.journal.layout import trial_folder
from karat.journal.state import StudyState
from tests.cli.models.test_predict_and_export import written
from tests.journals import Plan
from tests.studies import state_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "example")


def _labels(folder: Path, *names: str) -> list[str]:
    return [arm.label for arm in chosen_arms(folder, state_of(folder), names).arms]


def test_the_reference_stands_before_the_arm_of_the_answer(folder: Path) -> None:
    state = state_of(folder)
    choice = chosen_arms(folder, state)
    assert choice.arms[0].label in state.reference_arms
    assert len(choice.arms) == 2
    for arm in choice.arms:
        assert arm.is_confirmed
        assert [trial.seed_index for trial in arm.trials] == list(range(len(arm.trials)))
        assert {trial.arm for trial in arm.trials} == {arm.label}


def test_arms_and_trials_are_named(folder: Path) -> None:
    state = state_of(folder)
    labels = [arm["label"] for arm in state.created["arms"]]
    assert set(_labels(folder, "all")) == set(labels)
    assert _labels(folder, labels[-1]) == [labels[-1]]
    last = state.of_phase("confirm")[-1]
    found = chosen_arms(folder, state, [str(last.number)])
    assert [trial.number for arm in found.arms for trial in arm.trials] == [last.number]
    with pytest.raises(InputError, match=r"--trials bset: unknown.*best"):
        _labels(folder, "bset")
    with pytest.raises(InputError, match="--trials 9999: there is no such trial"):
        _labels(folder, "9999")


def test_an_arm_without_weights_is_left_out_and_named(folder: Path) -> None:
    state = state_of(folder)
    reference = state.reference_arms[0]
    for trial in state.trials.values():
        if trial.arm == reference:
            for path in trial_folder(folder, trial.number).glob("*.pt"):
                path.unlink()
    choice = chosen_arms(folder, state)
    assert [arm.label for arm in choice.arms] != [reference]
    assert choice.left_out == (f"{reference}: keeps no weights of its trials",)
    with pytest.raises(InputError, match=r"there is nothing to analyze: .*keeps no weights"):
        chosen_arms(folder, state, [reference])


def test_before_the_confirmation_the_best_trial_of_the_search_stands_for_an_arm(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path / "example", Plan(until="searched"))
    choice = chosen_arms(folder, state_of(folder))
    assert choice.arms
    for arm in choice.arms:
        assert not arm.is_confirmed
        assert [trial.phase for trial in arm.trials] == ["search"]


def test_a_study_that_has_not_begun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has not begun"):
        chosen_arms(tmp_path, StudyState.of([]))
