"""`karat verify` finds changed scores, validation values, corrupted copies and statements, and names what it leaves."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from karat.cli.main import main
from karat.datasets.digits import Digits
from karat.errors import InputError
from karat.journal.trial import Trial
from karat.verification import scores_again
from karat.verification.tests_again import verify
from tests.studies import (
    BEST,
    change_report,
    confirmed,
    rewrite,
    small_study,
    state_of,
    told,
    tolerate_more,
)

Data = dict[str, Any]
COPIES = ("data: {name: digits}", "data: {name: digits, corruptions: [contrast]}")


@pytest.fixture(scope="module")
def shifted_whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `whole`, where the best epoch's weights were tested, on corrupted copies too; not to be changed."""
    torch.set_num_threads(1)
    return small_study(tmp_path_factory.mktemp("shifted"), COPIES, *BEST)


@pytest.fixture
def shifted(shifted_whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(shifted_whole, tmp_path / "shifted")
    return tmp_path / "shifted"


def only_line(folder: Path, trial: Trial, **options: bool) -> str:
    """The only finding, which is about this trial."""
    done = verify(folder, **options)
    [line] = done.findings
    assert line.startswith(f"trial {trial.number}: ")
    assert (done.exact, done.rounded) == (3, 0)
    return line


def with_scores(**changes: Any) -> Callable[[Data], Data]:
    return lambda data: {**data, "scores": {**data["scores"], **changes}}


@pytest.mark.parametrize("name", ["top1", "top5", "loss", "calibration_error"])
def test_changed_score_is_found_to_its_last_bit(study: Path, name: str) -> None:
    trial = confirmed(study)[1]
    assert trial.scores is not None
    changed = float(np.nextafter(trial.scores[name], 2))
    change_report(study, trial.number, with_scores(**{name: changed}))
    line = only_line(study, trial)
    assert line.endswith(f"scores: {name} recorded {changed}, found {trial.scores[name]}")


def test_changed_share_of_a_class_is_found(study: Path) -> None:
    trial = confirmed(study)[2]
    assert trial.scores is not None
    shares = [*trial.scores["per_class"]]
    shares[3] = 0.123
    change_report(study, trial.number, with_scores(per_class=shares))
    line = only_line(study, trial)
    assert "scores: per_class of 1 of 10 classes recorded otherwise than found" in line
    assert "(the first is class 3): recorded 0.123, found " in line
    change_report(study, trial.number, with_scores(per_class=shares[:9]))
    assert "scores: per_class recorded for 9 classes, found for 10" in only_line(study, trial)


def test_changed_number_of_images_and_unknown_score_are_found(study: Path) -> None:
    first, second, *_ = confirmed(study)
    change_report(study, first.number, with_scores(images=360))
    change_report(study, second.number, with_scores(top9=0.5))
    of_first, of_second = verify(study).findings
    assert of_first.endswith("scores: images recorded 360, found 359")
    assert of_second.endswith("scores: top9 recorded 0.5, found None")


def test_measured_seconds_and_memory_are_named_and_not_compared(study: Path) -> None:
    trial = confirmed(study)[0]
    change_report(study, trial.number, with_scores(seconds=9.0, images_per_s=1.0, peak_bytes=1))
    done = verify(study)
    assert done.findings == []
    assert any(line.startswith("seconds, memory, images per second, ") for line in done.unchecked)


@pytest.mark.parametrize("name", ["val_accuracy", "val_loss"])
def test_changed_validation_value_of_the_last_epoch_is_found(study: Path, name: str) -> None:
    trial = confirmed(study)[3]
    value = trial.last(name)
    assert value is not None
    changed = float(np.nextafter(value, 2))
    change_report(study, trial.number, lambda d: {**d, "metrics": {**d["metrics"], name: changed}})
    assert only_line(study, trial).endswith(f"{name} of epoch 3 recorded {changed}, found {value}")


def test_training_loss_is_named_as_what_only_reproduce_can_see(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = confirmed(study)[0]
    change_report(
        study, trial.number, lambda d: {**d, "metrics": {**d["metrics"], "train_loss": 9.0}}
    )
    assert main(["verify", str(study)]) == 0
    _, heading, first, *_ = told(capsys)
    assert heading == "not compared here:"
    assert first.startswith(
        "  training losses, learning rates, values of epochs other than the tested one"
    )
    assert first.endswith("karat reproduce STUDY TRIAL trains one again and compares")


def test_on_another_machine_scores_may_be_rounded_otherwise_and_not_more(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = confirmed(study)[0]
    assert trial.scores is not None
    scores = dict(trial.scores)

    def of_elsewhere(**changes: Any) -> Callable[[Data], Data]:
        where = {"torch": "1.0", "threads": 1}
        return lambda d: {
            **d,
            "tested": {**d["tested"], "where": where},
            "scores": {**scores, **changes},
            "metrics": {**d["metrics"], "val_loss": d["metrics"]["val_loss"] * (1 + 1e-5)},
        }

    near = {name: scores[name] * (1 + 1e-5) for name in ("loss", "calibration_error")}
    change_report(study, trial.number, of_elsewhere(**near))
    done = verify(study)
    assert (done.findings, done.exact, done.rounded) == ([], 3, 1)
    for name in ("loss", "calibration_error", "top1", "top5"):
        change_report(study, trial.number, of_elsewhere(**{name: scores[name] + 0.4}))
        assert f"scores: {name} recorded " in only_line(study, trial)
    # All images could change their answer: then their shares may be any.
    monkeypatch.setattr(scores_again, "UNDECIDED", 100.0)
    change_report(study, trial.number, of_elsewhere(top1=0.5))
    assert verify(study).findings == []


def test_study_of_best_weights_with_copies_is_verified(shifted: Path) -> None:
    runs = confirmed(shifted)
    earlier = [run for run in runs if run.tested is not None and run.tested["epoch"] < 3]
    assert earlier
    done = verify(shifted)
    assert (done.findings, done.exact) == ([], 4)
    assert any(
        "corrupted copies of the test images: karat verify STUDY --shifted" in s
        for s in done.unchecked
    )
    done = verify(shifted, shifted=True)
    assert (done.findings, done.exact) == ([], 4)
    assert not any("corrupted" in line for line in done.unchecked)
    # The validation value of the epoch whose weights were tested, and of no other.
    trial = earlier[0]
    assert trial.tested is not None
    epoch = trial.tested["epoch"]

    def changed(event: Any) -> Data:
        data = dict(event.data)
        if (event.kind, data.get("trial"), data.get("epoch")) == ("reported", trial.number, epoch):
            data["metrics"] = {**data["metrics"], "val_accuracy": 0.99}
        return data

    rewrite(shifted, changed)
    assert f"val_accuracy of epoch {epoch} recorded 0.99, found " in only_line(shifted, trial)


@pytest.mark.parametrize(
    ("key", "value", "finding"),
    [
        ("accuracy", 0.99, "contrast, strength 2: accuracy recorded 0.99, found "),
        ("loss", 0.5, "contrast, strength 2: loss recorded 0.5, found "),
        ("calibration_error", 0.5, "contrast, strength 2: calibration_error recorded 0.5, found "),
        (
            "predictions",
            "0" * 64,
            "contrast, strength 2: predicted classes differ: sha256 recorded 000000000000, ",
        ),
        ("strength", 7, "corrupted copies recorded: contrast 1, contrast 7, contrast 3, "),
    ],
)
def test_changed_answers_on_copies_are_found_with_shifted(
    shifted: Path, key: str, value: object, finding: str
) -> None:
    trial = confirmed(shifted)[0]

    def changed(data: Data) -> Data:
        entries = [dict(each) for each in data["shifted"]["contrast"]]
        entries[1][key] = value
        return {**data, "shifted": {"contrast": entries}}

    change_report(shifted, trial.number, changed)
    assert verify(shifted).findings == []
    assert finding in only_line(shifted, trial, shifted=True)


def test_shifted_is_refused_where_it_would_do_nothing(study: Path) -> None:
    with pytest.raises(InputError, match="--shifted: no run of"):
        verify(study, shifted=True)
    assert main(["verify", "--claims", "none.yaml", "--shifted"]) == 2


def test_changed_rule_of_the_verdicts_is_found(study: Path) -> None:
    finding = tolerate_more(study)
    done = verify(study)
    assert done.findings == [finding]
    assert done.exact == 4


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"classes": list("012345678X")}, "classes of the data set recorded ["),
        (
            {"contents": {"images": {"test": {"0": 1}}}},
            'images of the data set recorded {"test": {"0": 1}}, found ',
        ),
        ({"contents": {"modes": {"L": 5}}}, 'modes of the data set recorded {"L": 5}, found null'),
    ],
)
def test_other_contents_of_the_data_set_are_found(study: Path, changes: Data, finding: str) -> None:
    whole = {"contents": Digits().contents().plain()}
    for data in (whole, changes):
        rewrite(
            study,
            lambda e, data=data: (  # type: ignore[misc]
                {**e.data, "data": {**e.data["data"], **data}}
                if e.kind == "study_created"
                else dict(e.data)
            ),
        )
        found = verify(study).findings
        assert bool(found) == (data is changes)
    assert any(line.startswith(finding) for line in found)


def test_other_sizes_of_the_splits_are_found(study: Path) -> None:
    images = dict(state_of(study).images)
    assert images["val"] == 216
    rewrite(
        study,
        lambda e: {**e.data, **({"images": {**images, "val": 99}} if "images" in e.data else {})},
    )
    assert verify(study).findings == ["99 images of the val split recorded, 216 found"]
