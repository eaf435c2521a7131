"""A study on several data sets knows each of them: its fingerprint, its classes, its images."""

import copy
from pathlib import Path

import pytest

from karat.cli.driver import _refuse_other_sets
from karat.datasets.digits import Digits
from karat.errors import InputError
from karat.journal.journal import Event
from karat.journal.state import StudyState, data_of
from karat.journal.trial import Trial
from karat.report.facts.testing.scores import scores_of_arms
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.description import data_sets_of, description
from karat.verification.data_again import of_data
from karat.verification.tests_again import Verified
from tests.conftest import SMALL
from tests.space.confirmation.test_places import TEXT

THREE = {"data.classes": "{values: [3], when: {data.name: fake}}"}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(TEXT)
    return load_space(path, {f"factors.{key}": text for key, text in THREE.items()})


@pytest.fixture
def state(space: Space) -> StudyState:
    sets = data_sets_of(space)
    told = description(space, sets[0]["fingerprint"], contents=sets[0]["contents"], sets=sets)
    return StudyState.of([Event(0, 0.0, "study_created", told)])


def trial_of(space: Space, label: str) -> Trial:
    arm = space.arms[label]
    sections = {name: dict(values) for name, values in arm.sections.items()}
    return Trial(
        number=0, phase="confirm", arm=label, factors=arm.factors, tuned={}, config=sections,
        seed=0, seed_index=0, epochs=1, asked_at=0.0,
    )  # fmt: skip


def label(space: Space, data: str) -> str:
    return next(each for each in space.arms if each.startswith(data) and "fourier" in each)


def test_the_journal_has_fingerprint_and_classes_of_each(space: Space, state: StudyState) -> None:
    digits, fake = (
        data_of(state.created["data"], space.arms[label(space, name)].sections["data"])
        for name in ("digits", "fake")
    )
    assert digits["fingerprint"] == Digits(val_share=0.2).check()
    assert digits["fingerprint"] != fake["fingerprint"]
    assert (len(digits["classes"]), len(fake["classes"])) == (10, 3)
    assert state.created["data"]["classes"] == digits["classes"]


def test_a_study_on_one_data_set_has_the_journal_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SMALL)
    known = load_space(path)
    assert data_sets_of(known) == []
    recorded = {"fingerprint": "00", "classes": ["a"]}
    assert data_of(recorded, {"name": "digits"}) is recorded


def test_each_data_set_is_verified_by_its_own_record(space: Space, state: StudyState) -> None:
    for name in ("digits", "fake"):
        assert list(of_data(state, trial_of(space, label(space, name)))) == []
    for each in state.created["data"]["sets"]:
        each["fingerprint"] = "f" * 64
    [line] = of_data(state, trial_of(space, label(space, "fake")))
    assert "the data set has changed since the study began" in line


def test_a_study_does_not_go_on_where_one_of_its_data_sets_has_changed(
    space: Space, state: StudyState, tmp_path: Path
) -> None:
    sets = data_sets_of(space)
    _refuse_other_sets(state, sets, tmp_path)
    changed = copy.deepcopy(sets)
    changed[1]["fingerprint"] = "f" * 64
    with pytest.raises(InputError, match="the data set fake has changed since this study began"):
        _refuse_other_sets(state, changed, tmp_path)


def test_scores_have_the_classes_of_their_own_data_set(space: Space, state: StudyState) -> None:
    arms = [label(space, name) for name in ("digits", "fake")]
    runs = {}
    for name, count in zip(arms, (10, 3), strict=True):
        run = trial_of(space, name)
        run.status = "completed"
        scores = {"top1": 0.5, "loss": 1.0, "calibration_error": 0.1, "per_class": [0.5] * count}
        run.scores = scores
        runs[name] = [run]
    found = scores_of_arms(arms, runs, state.created["data"])
    assert [len(each.per_class) for each in found] == [10, 3]


def test_a_verification_says_how_many_images_each_data_set_has() -> None:
    done = Verified(runs=2)
    for images in (359, 200):
        done.add(Verified(images=images, exact=1))
    assert "2 confirmed runs on 200 or 359 clean test images: 2 verified" in done.summary
