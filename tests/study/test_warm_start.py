"""A search that begins with the results of an older study: `search.warm_start`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.errors import InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.prior import WarmStart
from karat.report.facts.summary import summarise
from karat.report.narrative import search_notes
from karat.space.reader import load_space
from karat.study.audit import audit
from tests.driven import checked, go, without_ray
from tests.studies import rewrite
from tests.study.test_study import decisions

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
SEARCH = "search: {sampler: tpe, trials: 6"
OLDER = (("study: small", "study: older"), ("trials: 6", "trials: 24"))
FULL = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")
WARM = (SEARCH, f"{SEARCH}, warm_start: older")


@pytest.fixture
def older(write_space: WriteSpace, tmp_path: Path, without_ray: None) -> Path:
    """A study of the same question with 8 completed trials in each of its three arms."""
    assert go(write_space(*OLDER, FULL), tmp_path) == 0
    return tmp_path / "older"


def state_of(folder: Path) -> StudyState:
    return StudyState.of(read_events(folder / JOURNAL))


def test_its_results_change_proposals_and_are_no_trials(
    write_space: WriteSpace, tmp_path: Path, older: Path
) -> None:
    assert go(write_space(("study: small", "study: cold"), FULL), tmp_path) == 0
    assert go(write_space(WARM, FULL), tmp_path) == 0
    warm, cold = checked(tmp_path / "small"), checked(tmp_path / "cold")
    found = WarmStart.of(warm.created)
    assert found is not None
    assert (found.study, len(found.trials), found.left_out) == ("older", 24, 0)
    assert set(found.by_arm.values()) == {8}
    values = {(t.trial, t.value) for t in found.trials}
    assert values == {
        (t.number, t.last("val_accuracy")) for t in state_of(older).of_phase("search")
    }
    assert len(warm.of_phase("search")) == 6
    assert [t.tuned for t in warm.of_phase("search")] != [t.tuned for t in cold.of_phase("search")]
    (note,) = (each for each in search_notes(summarise(warm)) if "began with" in each)
    assert note.startswith(
        "The search began with 24 results of the study older (8 in each arm). They are told to the sampler, and are "
        "neither trials nor part of any number"
    )


def test_it_resumes_and_is_extended_without_the_older_study(
    write_space: WriteSpace, tmp_path: Path, older: Path
) -> None:
    space = write_space(WARM, FULL)
    for storage in ("whole", "pieces"):
        shutil.copytree(older, tmp_path / storage / "older")
    assert go(space, tmp_path / "whole") == 0
    assert go(space, tmp_path / "whole", "trials=+3") == 0
    assert go(space, tmp_path / "pieces", steps=7) == 75
    shutil.rmtree(tmp_path / "pieces" / "older")
    while go(space, tmp_path / "pieces", steps=9) == 75:
        pass
    assert go(space, tmp_path / "pieces", "trials=+3") == 0
    whole, pieces = (checked(tmp_path / each / "small") for each in ("whole", "pieces"))
    assert decisions(whole) == decisions(pieces)


def test_only_what_this_space_could_have_asked_for_is_told(
    write_space: WriteSpace, tmp_path: Path, older: Path
) -> None:
    narrow = ("low: 1e-3, high: 1e-2", "low: 3e-3, high: 1e-2")
    other_arms = ("values: [1, 2]", "values: [2, 3]")
    assert go(write_space(WARM, FULL, narrow, other_arms), tmp_path) == 0
    found = WarmStart.of(checked(tmp_path / "small").created)
    assert found is not None
    assert found.by_arm.keys() == {"softmax", "fourier grid_size=2"}
    assert all(each.tuned["training.learning_rate"] >= 3e-3 for each in found.trials)
    assert len(found.trials) + found.left_out == 24
    notes = " ".join(search_notes(summarise(state_of(tmp_path / "small"))))
    assert "fourier grid_size=3 0: the arms were not tuned equally" in notes


def test_where_the_sampler_chooses_the_arms_their_results_are_told_too(
    write_space: WriteSpace, tmp_path: Path, older: Path
) -> None:
    free = (SEARCH, f"{SEARCH}, allocation: free, warm_start: older")
    assert go(write_space(free, FULL), tmp_path) == 0
    checked(tmp_path / "small")


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        (("warm_start: older", "warm_start: olderr"), "there is no such study"),
        (("study: small", "study: older"), "is this study itself"),
        (("epochs: 4", "epochs: 5"), "training.epochs from 4 to 5"),
        (("embed_dim: 12", "embed_dim: 24"), "model.embed_dim from 12 to 24"),
        (("trials: 6", "trials: 6, metric: val_loss, mode: min"), "search.metric from val_accuracy to val_loss"),
        (("tuned:", "tuned:\n  training.weight_decay: {low: 0.0, high: 0.1}"), "training.weight_decay is tuned only here"),
        (("low: 1e-3, high: 1e-2", "low: 1e-1, high: 2e-1"), "has nothing that can be used: none of its 24"),
    ],
)  # fmt: skip
def test_what_says_nothing_here_is_refused_in_one_line(
    write_space: WriteSpace, tmp_path: Path, older: Path, exchange: tuple[str, str], told: str
) -> None:
    path = write_space(WARM, FULL, exchange)
    with pytest.raises(InputError) as error:
        go(path, tmp_path, fresh="itself" in told)
    assert str(error.value).startswith("search.warm_start = older")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert older.exists()  # also where --fresh was asked for


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        ((SEARCH, f"{SEARCH.replace('tpe', 'random')}, warm_start: older"), "must not be set for sampler random"),
        ((SEARCH, f"{SEARCH}, warm_start: ''"), "must be the name of a study"),
        ((SEARCH, f"{SEARCH}, warm_start: 3"), "must be text"),
    ],
)  # fmt: skip
def test_a_warm_start_without_effect_is_refused(
    write_space: WriteSpace, exchange: tuple[str, str], told: str
) -> None:
    with pytest.raises(InputError, match=rf"search\.warm_start.*{told}"):
        load_space(write_space(exchange))


def test_several_tunings_do_not_begin_with_the_same_results(write_space: WriteSpace) -> None:
    tunings = ("by: attention.grid_size, seeds: 2", "by: arm, seeds: 4, tunings: 2")
    with pytest.raises(InputError, match="tunings that begin with the same results"):
        load_space(write_space(WARM, tunings))


def test_an_audit_finds_results_that_were_removed(
    write_space: WriteSpace, tmp_path: Path, older: Path
) -> None:
    assert go(write_space(WARM, FULL), tmp_path) == 0

    def without(event: Any) -> dict[str, Any]:
        return {k: v for k, v in event.data.items() if k != "warm_start"}

    rewrite(tmp_path / "small", without)
    found = " ".join(audit(tmp_path / "small", tracking=False))
    assert "has no results of an older study, but its space names older" in found
