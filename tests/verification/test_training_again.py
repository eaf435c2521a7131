"""`karat reproduce` trains a trial again from its journal, and says where it first differs."""

from pathlib import Path
from typing import Any

import pytest

from karat.cli.main import main
from karat.datasets.digits import Digits
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.tested import Tested as Record
from karat.tested import packed
from karat.training import recipes
from karat.training.recipes import load_recipe
from karat.verification.training_again import Conditions, _conditions, reproduce
from tests.studies import BEST, change_report, confirmed, rewrite, small_study, state_of, told

Data = dict[str, Any]


def again(folder: Path, number: int) -> str:
    """The summary of training a trial again."""
    return reproduce(folder, number, lambda _: None).summary


@pytest.mark.parametrize("status", ["completed", "stopped"])
def test_search_trial_is_the_same_again(
    status: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = next(each for each in state_of(whole).of_phase("search") if each.status == status)
    epochs = len(trial.reports)
    assert main(["reproduce", str(whole), str(trial.number)]) == 0
    *lines, last = told(capsys)
    assert lines == [f"epoch {epoch} of 3: equal" for epoch in range(1, epochs + 1)]
    assert last.startswith(
        f"trial {trial.number}: {4 * epochs} numbers of {epochs} epochs are equal to the last bit"
    )


def test_confirmed_run_has_the_same_answers_again(whole: Path) -> None:
    for trial in (confirmed(whole)[0], confirmed(whole)[-1]):
        assert again(whole, trial.number) == (
            f"trial {trial.number}: 14 numbers of 3 epochs and the answers for 359 test images are "
            "equal to the last bit"
        )


def test_weights_of_the_best_epoch_are_tested_again(tmp_path: Path) -> None:
    study = small_study(tmp_path, *BEST)
    early = [each for each in confirmed(study) if each.tested and each.tested["epoch"] < 3]
    assert early, "choose another learning rate: no run was best before its end"
    assert again(study, early[0].number).endswith("equal to the last bit")


def test_first_difference_is_named_with_its_size(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = confirmed(study)[0].number

    def second_epoch(event: Any) -> Data:
        data = dict(event.data)
        if event.kind == "reported" and (data["trial"], data["epoch"]) == (number, 2):
            data["metrics"] = {**data["metrics"], "val_loss": data["metrics"]["val_loss"] + 0.5}
        return data

    rewrite(study, second_epoch)
    assert main(["reproduce", str(study), str(number)]) == 1
    first, second, third, last = told(capsys)
    assert (first, third) == ("epoch 1 of 3: equal", "epoch 3 of 3: equal")
    assert second.startswith("epoch 2 of 3: val_loss recorded ")
    assert "(-0.5)" in second
    assert last == f"trial {number}: differs first at {second}"


def test_test_evaluation_that_is_not_of_this_training_is_found(study: Path) -> None:
    trial = confirmed(study)[0]

    def other_answer(data: Data) -> Data:
        bits = Record.read(data["tested"]).bits().copy()
        bits[3] = not bits[3]
        record = {**data["tested"], "correct": packed(bits), "weights": "0" * 64}
        metrics = {**data["metrics"], "test_accuracy": float(bits.mean())}
        return {**data, "tested": record, "metrics": metrics}

    change_report(study, trial.number, other_answer)
    said = again(study, trial.number)
    assert "differs first at epoch 3 of 3: test_accuracy recorded" in said
    assert "the test after epoch 3: 1 of 359 test images have another answer, other weights" in said


def test_other_seed_differs_from_the_first_epoch_to_the_last(study: Path) -> None:
    number = confirmed(study)[0].number

    def other_seed(event: Any) -> Data:
        is_it = event.kind == "trial_asked" and event.data["trial"] == number
        return {**event.data, **({"seed": 7} if is_it else {})}

    rewrite(study, other_seed)
    said = again(study, number)
    assert "differs first at epoch 1 of 3: train_loss recorded " in said
    assert "; after epoch 3 train_loss recorded " in said
    assert "other weights" in said


def test_recipe_of_the_journal_counts_and_not_that_of_today(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = confirmed(study)[0].number
    today = {**load_recipe("quick"), "weight_decay": 0.9}
    monkeypatch.setattr(recipes, "load_recipe", lambda _: today)
    assert "equal to the last bit" in again(study, number)

    def without(event: Any) -> Data:
        return {key: value for key, value in event.data.items() if key != "recipes"}

    rewrite(study, without)  # of an older version
    assert "differs first" in again(study, number)


def test_other_machine_is_named(study: Path) -> None:
    number = confirmed(study)[0].number
    change_report(
        study,
        number,
        lambda d: {**d, "tested": {**d["tested"], "where": {**d["tested"]["where"], "cpu": "Z80"}}},
    )
    assert again(study, number).endswith("; cpu not as recorded, so rounding may differ")


def test_epochs_after_an_out_of_memory_are_trained_in_smaller_parts() -> None:
    def event(kind: str, **data: Any) -> Event:
        return Event(0, 0.0, kind, {"trial": 3, **data})

    events = [
        event("segment_started", threads=2, micro_batches=1),
        event("reported", epoch=1),
        event("segment_started", trial=4, threads=9, micro_batches=9),
        event("segment_started", threads=2, micro_batches=2, processes=4),
        event("reported", epoch=2),
    ]
    assert _conditions(events, 3) == {
        1: Conditions(threads=2, micro_batches=1, processes=1),
        2: Conditions(threads=2, micro_batches=2, processes=4),
    }


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        ("99", None, "trial 99: does not exist; "),
        ("0", "reports", "trial 0: has no report, so there is nothing to compare with"),
        ("0", "data", "the data set has changed since the study began"),
    ],
)
def test_what_cannot_be_trained_again_is_refused_with_the_reason(
    number: str,
    change: str | None,
    message: str,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change == "data":
        monkeypatch.setattr(Digits, "check", lambda _: "another")
    if change == "reports":
        path = study / JOURNAL
        lines = path.read_bytes().splitlines(keepends=True)
        first = next(e.seq for e in read_events(path) if e.kind == "reported")
        path.write_bytes(b"".join(lines[:first]))
    assert main(["reproduce", str(study), number]) == 2
    assert message in capsys.readouterr().err
