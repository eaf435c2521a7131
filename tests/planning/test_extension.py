"""A study can be extended, but not changed; its trials are kept."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.extension import changes_between
from karat.report.facts.summary import summarise
from karat.report.narrative import result_notes
from karat.samplers import SAMPLERS
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.tracking.sync import runs_of_study, sync
from tests.driven import checked, go, without_ray
from tests.study.test_study import decisions

__all__ = ["without_ray"]  # a fixture

WriteSpace = Callable[..., Path]
Exchange = tuple[str, str]
pytestmark = pytest.mark.usefixtures("without_ray")


def state_of(storage: Path) -> StudyState:
    return StudyState.of(read_events(storage / "small" / JOURNAL))


def check(storage: Path) -> StudyState:
    return checked(storage / "small")


def test_finished_study_takes_more_trials_and_keeps_what_it_has(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space()
    assert go(space, tmp_path) == 0
    before = state_of(tmp_path)
    assert go(space, tmp_path, "trials=+5") == 0
    after = check(tmp_path)
    assert len(after.of_phase("search")) == 11
    assert decisions(after)[: len(before.trials)] == decisions(before)
    assert after.extensions[0].changes == ("search.trials from 6 to 11",)
    assert after.extensions[0].was_completed
    assert after.confirmation is not None
    cells = {cell["arm"]: cell["tuned"] for cell in after.confirmation["cells"]}
    confirmed = after.of_phase("confirm")
    assert len(confirmed) == 2 * len(cells)
    assert all(trial.tuned == cells[trial.arm] for trial in confirmed)
    # Trials of a cell that won again are not repeated.
    again = [t for t in before.of_phase("confirm") if cells[t.arm] == t.tuned]
    assert {t.number for t in again} == {
        t.number for t in confirmed if t.number < len(before.trials)
    }


def test_plain_command_resumes_an_extended_study(write_space: WriteSpace, tmp_path: Path) -> None:
    space = write_space()
    go(space, tmp_path)
    assert go(space, tmp_path, "trials=+6", steps=3) == 75
    assert go(space, tmp_path) == 0
    assert len(check(tmp_path).of_phase("search")) == 12


def test_same_extending_command_resumes_and_extends_again_only_when_finished(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space()
    go(space, tmp_path)
    assert go(space, tmp_path, "trials=+3", steps=2) == 75
    assert go(space, tmp_path, "trials=+3") == 0
    assert len(state_of(tmp_path).of_phase("search")) == 9
    assert go(space, tmp_path, "trials=+3") == 0
    assert len(check(tmp_path).of_phase("search")) == 12


def test_more_seeds_run_only_what_is_missing(write_space: WriteSpace, tmp_path: Path) -> None:
    space = write_space()
    go(space, tmp_path)
    before = len(state_of(tmp_path).trials)
    assert go(space, tmp_path, "seeds=5") == 0
    state = check(tmp_path)
    assert len(state.trials) == before + 3 * 3
    assert {t.seed_index for t in state.of_phase("confirm")} == set(range(5))


def test_longer_trials_restart_the_search_with_what_it_has_learned(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space()
    go(space, tmp_path, steps=15)
    assert go(space, tmp_path, "epochs=+2") == 0
    state = check(tmp_path)
    assert len(state.of_phase("search")) == 6
    assert {t.epochs for t in state.of_phase("search")} == {6}
    assert {t.epochs for t in state.of_phase("confirm")} == {6}
    short = [t for t in state.trials.values() if t.set_aside]
    assert short
    assert all(t.ended and t.epochs == 4 for t in short)


def test_changed_file_is_accepted_where_it_extends(write_space: WriteSpace, tmp_path: Path) -> None:
    go(write_space(), tmp_path)
    larger = write_space(
        ("trials: 6", "trials: 9"),
        ("high: 1e-2", "high: 2e-2"),
        ("question: Is", "question: By how much is"),
    )
    assert go(larger, tmp_path) == 0
    state = check(tmp_path)
    assert state.extensions[0].extend == ()
    assert set(state.extensions[0].changes) == {
        "search.trials from 6 to 9",
        "question from Is it better? to By how much is it better?",
        "tuned.training.learning_rate from 0.001 to 0.01 (log) to 0.001 to 0.02 (log)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (("grid_size: {values: [1, 2]", "grid_size: {values: [1, 2, 3]"), "factors.attention.grid_size"),
        (("trials: 6}", "trials: 6, metric: val_loss, mode: min}"), "search.metric from val_accuracy to val_loss"),
        (("embed_dim: 12", "embed_dim: 16"), "model.embed_dim from 12 to 16"),
        (("batch_size: 128", "batch_size: 64"), "training.batch_size from 128 to 64"),
        (("trials: 6", "trials: 5"), "search.trials from 6 to 5"),
        (("epochs: 4", "epochs: 3"), "training.epochs from 4 to 3"),
        (("low: 1e-3", "low: 2e-3"), "tuned.training.learning_rate"),
        (("seeds: 2", "seeds: 2, alpha: 0.1"), "confirm.alpha from 0.05 to 0.1"),
        (("reduction_factor: 3", "reduction_factor: 4"), "early_stopping"),
        (("sampler: tpe", "sampler: random"), "search.sampler from tpe to random"),
    ],
)  # fmt: skip
def test_what_changes_the_meaning_is_refused_by_name(
    write_space: WriteSpace, tmp_path: Path, exchange: Exchange, message: str
) -> None:
    go(write_space(), tmp_path, steps=4)
    before = (tmp_path / "small" / JOURNAL).read_bytes()
    with pytest.raises(InputError, match="another question") as error:
        go(write_space(exchange), tmp_path)
    assert message in str(error.value)
    assert (tmp_path / "small" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize(
    "extend", ["trials", "trials=", "trials=x", "trials=-3", "size=+3", "trials=+1e9"]
)
def test_wrong_extension_is_refused(write_space: WriteSpace, tmp_path: Path, extend: str) -> None:
    go(write_space(), tmp_path)
    with pytest.raises(InputError, match=r"--extend"):
        go(write_space(), tmp_path, extend)


def test_missing_study_cannot_be_extended(write_space: WriteSpace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no study in .* yet"):
        go(write_space(), tmp_path, "trials=+3")


def test_finished_study_is_not_begun_again_for_where_it_would_run(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    go(write_space(), tmp_path)
    before = (tmp_path / "small" / JOURNAL).read_bytes()
    elsewhere = write_space(("study: small", "resources: {minutes_per_epoch: 5}\nstudy: small"))
    assert go(elsewhere, tmp_path) == 0
    assert (tmp_path / "small" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize("extend", ["trials=+5", "epochs=+1", "seeds=+1"])
def test_extended_study_killed_at_any_step_takes_the_same_decisions(
    write_space: WriteSpace, tmp_path: Path, extend: str
) -> None:
    space = write_space()
    for storage, pieces in (("whole", 10**6), ("pieces", 7)):
        go(space, tmp_path / storage, steps=18)
        while go(space, tmp_path / storage, extend, steps=pieces):
            # A kill leaves only the journal.
            with Journal.open(tmp_path / storage / "small"):
                pass
    whole, pieces_of_it = (check(tmp_path / storage) for storage in ("whole", "pieces"))
    assert decisions(pieces_of_it) == decisions(whole)


@pytest.mark.parametrize(
    ("sampler", "allocation"),
    [
        *((name, "equal") for name in sorted(SAMPLERS)),
        *((name, "free") for name in ("tpe", "random", "gp", "nsga2")),
    ],
)
def test_every_sampler_can_be_extended(
    write_space: WriteSpace, tmp_path: Path, sampler: str, allocation: str
) -> None:
    exchanges: Sequence[Exchange] = (
        ("sampler: tpe", f"sampler: {sampler}, allocation: {allocation}"),
    )
    larger: Exchange = ("trials: 6", "trials: 11")
    if sampler == "grid":
        exchanges = (
            ("sampler: tpe, trials: 6", "sampler: grid"),
            ("{low: 1e-3, high: 1e-2, log: true}", "{values: [0.001, 0.01]}"),
        )
        larger = ("[0.001, 0.01]", "[0.005, 0.001, 0.01]")
    go(write_space(*exchanges), tmp_path)
    assert go(write_space(*exchanges, larger), tmp_path) == 0
    found = check(tmp_path).of_phase("search")
    assert len(found) == (9 if sampler == "grid" else 11)
    if sampler == "grid":
        assert len({(t.arm, t.tuned["training.learning_rate"]) for t in found}) == 9


def test_equal_questions_do_not_differ(write_space: WriteSpace) -> None:
    same = write_space(
        (
            "confirm: {by: attention.grid_size, seeds: 2}",
            "confirm: {seeds: 2, by: attention.grid_size, alpha: 0.05}",
        )
    )
    assert changes_between(load_space(write_space()), load_space(same)) == []


def test_report_says_that_an_answered_question_was_extended(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space()
    go(space, tmp_path)
    assert "Extended on" not in " ".join(result_notes(summarise(state_of(tmp_path))))
    go(space, tmp_path, "seeds=+1")
    notes = " ".join(result_notes(summarise(state_of(tmp_path))))
    assert "by --extend seeds=+1: confirm.seeds from 2 to 3." in notes
    assert "makes false ones more likely than 0.05" in notes


@pytest.mark.slow
def test_mlflow_follows_an_extended_study_in_the_same_runs(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    space, folder = write_space(), tmp_path / "small"
    go(space, tmp_path)
    sync(folder)
    before = runs_of_study(folder, state_of(tmp_path))
    go(space, tmp_path, "trials=+3", steps=5)
    sync(folder)
    go(space, tmp_path)
    sync(folder)
    after = runs_of_study(folder, state_of(tmp_path))
    assert before is not None
    assert after is not None
    assert len(after) == len(state_of(tmp_path).trials) + 1
    assert {run.trial for run in before} < {run.trial for run in after}
    assert [line for line in audit(folder) if "checkpoint" not in line] == []


@pytest.mark.parametrize("extend", ["trials=+6", "epochs=+1"])
def test_a_study_whose_seeds_were_added_can_be_extended(
    write_space: WriteSpace, tmp_path: Path, extend: str
) -> None:
    space = write_space(("seeds: 2", "seeds: 3, top_up: {most: 6, step: 2}"))
    assert go(space, tmp_path) == 0
    before = check(tmp_path)
    assert before.seeds_now
    assert go(space, tmp_path, extend) == 0
    after = check(tmp_path)
    assert after.status == "completed"
    assert summarise(after).is_final
    runs = Counter(trial.arm for trial in after.of_phase("confirm"))
    assert all(runs[arm] == after.seeds_of(arm) for arm in runs)


def test_a_study_whose_seeds_are_being_added_resumes_where_it_was(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space(("seeds: 2", "seeds: 3, top_up: {most: 6, step: 2}"))
    assert go(space, tmp_path / "whole") == 0
    whole = check(tmp_path / "whole")
    epochs = sum(len(trial.reports) for trial in whole.trials.values())
    assert go(space, tmp_path, steps=epochs - 2) == 75
    stopped = state_of(tmp_path)
    assert stopped.seeds_now
    assert not summarise(stopped).is_final
    assert go(space, tmp_path) == 0
    assert check(tmp_path).seeds_now == whole.seeds_now
