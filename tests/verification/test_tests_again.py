"""`karat verify` finds every changed test value, checkpoint and image, and says what it cannot verify."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from karat.cli.main import main
from karat.datasets import Splits
from karat.datasets.digits import Digits
from karat.errors import InputError
from karat.journal.trial import Trial
from karat.study.audit import audit
from karat.tested import Tested as Record
from karat.tested import packed
from karat.training.checkpoint import load_checkpoint, save_checkpoint, save_series
from karat.training.evaluation import sha256_of_weights
from karat.verification import again, comparison
from karat.verification.tests_again import Verified, verify
from tests.studies import change_report, confirmed, rewrite, state_of, told, weights_of

Data = dict[str, Any]


def only_finding(done: Verified, trial: Trial) -> str:
    """The only finding, which is about this trial; the three others are verified."""
    [line] = done.findings
    assert line.startswith(f"trial {trial.number}: ")
    assert (done.runs, done.exact, done.rounded) == (4, 3, 0)
    return line


def of_metrics(**changes: float) -> Callable[[Data], Data]:
    return lambda data: {**data, "metrics": {**data["metrics"], **changes}}


def of_record(change: Callable[[Record], Data]) -> Callable[[Data], Data]:
    """A change of the test evaluation; the accuracy follows the bits."""

    def changed(data: Data) -> Data:
        record = {**data["tested"], **change(Record.read(data["tested"]))}
        metrics = {**data["metrics"], "test_accuracy": Record.read(record).accuracy()}
        return {**data, "tested": record, "metrics": metrics}

    return changed


def with_other_answer(tested: Record, image: int = 17) -> Data:
    bits = tested.bits().copy()
    bits[image] = not bits[image]
    return {"correct": packed(bits)}


def test_unchanged_study_is_verified_to_the_last_bit(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(whole)]) == 0
    summary, *rest = told(capsys)
    assert summary == (
        "4 confirmed runs on 359 clean test images: 4 verified to the last bit, 0 up to rounding, "
        "0 not verified; 0 findings"
    )
    assert rest[0] == "not compared here:"


@pytest.mark.parametrize("name", ["test_accuracy", "test_loss"])
@pytest.mark.parametrize("place", range(4))
def test_changed_test_value_is_found_wherever_it_is(study: Path, name: str, place: int) -> None:
    trial = confirmed(study)[place]
    value = trial.last(name)
    assert value is not None
    changed = float(np.nextafter(value, 2))  # by its last bit
    change_report(study, trial.number, of_metrics(**{name: changed}))
    line = only_finding(verify(study), trial)
    assert f"{name} recorded {changed}" in line
    assert str(value) in line


def test_value_that_was_changed_together_with_its_bits_is_found(study: Path) -> None:
    trial = confirmed(study)[1]
    change_report(study, trial.number, of_record(with_other_answer))
    assert audit(study, tracking=False) == []  # which does not evaluate
    line = only_finding(verify(study), trial)
    assert "1 of 359 test images are recorded otherwise than found (the first is image 17)" in line
    assert f"found {trial.last('test_accuracy')}" in line


def test_right_share_of_other_predictions_is_found(study: Path) -> None:
    trial = confirmed(study)[1]
    change_report(study, trial.number, of_record(lambda _: {"predictions": "0" * 64}))
    line = only_finding(verify(study), trial)
    assert "predicted classes differ: sha256 recorded 000000000000, found " in line


def test_test_value_of_a_search_trial_is_found(study: Path) -> None:
    searched = state_of(study).of_phase("search")
    trial = next(each for each in searched if each.status == "completed")
    change_report(study, trial.number, of_metrics(test_accuracy=0.5))
    done = verify(study)
    [line] = done.findings
    assert f"trial {trial.number}: epoch 3 of 3 has test_accuracy" in line
    assert done.exact == 4


def test_changed_weights_with_a_right_manifest_are_found(study: Path) -> None:
    trial = confirmed(study)[2]
    path = weights_of(study, trial)
    content = load_checkpoint(path)
    content["model"]["head.bias"][0] += 1e-6
    save_checkpoint(path.parent, path.stem, content, trial.fingerprint)
    line = only_finding(verify(study), trial)
    assert f"{path.name}: has other weights than those tested: sha256 recorded " in line


def test_changed_weights_whose_record_was_changed_too_are_found(study: Path) -> None:
    trial = confirmed(study)[2]
    path = weights_of(study, trial)
    content = load_checkpoint(path)
    content["model"]["head.bias"][0] += 10.0
    save_checkpoint(path.parent, path.stem, content, trial.fingerprint)
    weights = sha256_of_weights(content["model"])
    change_report(study, trial.number, of_record(lambda _: {"weights": weights}))
    answers, loss, *beside = verify(study).findings
    assert beside  # scores and validation values
    assert f"trial {trial.number}: " in answers
    assert "test images are recorded otherwise than found" in answers
    assert f"trial {trial.number}: test_loss recorded " in loss


def test_damaged_and_missing_weights_are_found(study: Path) -> None:
    first, second, *_ = confirmed(study)
    path = weights_of(study, first)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    weights_of(study, second).unlink()
    done = verify(study)
    assert len(done.findings) == 2
    assert "damaged (its sha256 differs from the manifest)" in done.findings[0]
    assert done.findings[1] == f"trial {second.number}: its weights are missing"


@pytest.mark.parametrize("mend", [False, True])
def test_weights_swapped_between_two_trials_are_found(study: Path, mend: bool) -> None:
    runs = confirmed(study)
    first, second = runs[0], next(each for each in runs[1:] if each.arm == runs[0].arm)
    paths = [weights_of(study, each) for each in (first, second)]
    contents = [(p.read_bytes(), json.loads(p.with_suffix(".json").read_text())) for p in paths]
    for path, trial, (data, manifest) in zip(
        paths, (first, second), reversed(contents), strict=True
    ):
        path.write_bytes(data)
        owner = trial.fingerprint if mend else manifest["owner"]
        path.with_suffix(".json").write_text(json.dumps({**manifest, "owner": owner}))
    done = verify(study)
    assert len(done.findings) == 2
    for line, own, other in zip(done.findings, (first, second), (second, first), strict=True):
        assert line.startswith(f"trial {own.number}: ")
        assert ("other weights than those tested" if mend else "of another trial") in line
        assert line.endswith(f"these are the weights of trial {other.number}")


def test_weights_of_another_shape_are_found(study: Path) -> None:
    trial = confirmed(study)[0]
    path = weights_of(study, trial)
    content = load_checkpoint(path)
    content["model"]["head.bias"] = torch.zeros(11)
    save_checkpoint(path.parent, path.stem, content, trial.fingerprint)
    weights = sha256_of_weights(content["model"])
    change_report(study, trial.number, of_record(lambda _: {"weights": weights}))
    assert "size mismatch for head.bias" in only_finding(verify(study), trial)


def other_tests(change: Callable[[TensorDataset], Any]) -> Callable[[Any], Splits]:
    def splits(dataset: Any) -> Splits:
        found = dataset.splits()
        return Splits(train=found.train, val=found.val, test=change(found.test))

    return splits


def brighter(test: TensorDataset) -> TensorDataset:
    images, labels = test.tensors
    changed = images.clone()
    changed[5] += 1e-6
    return TensorDataset(changed, labels)


def relabelled(test: TensorDataset) -> TensorDataset:
    images, labels = test.tensors
    changed = labels.clone()
    changed[5] = (changed[5] + 1) % 10
    return TensorDataset(images, changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda test: Subset(test, range(358)), "359 test images recorded, 358 found"),
        (lambda test: Subset(test, range(359)[::-1]), "other labels or another order"),
        (relabelled, "other labels or another order: sha256 of the labels recorded "),
        (brighter, "the test images are others, with the same labels: sha256 recorded "),
    ],
)
def test_changed_test_images_are_found(
    study: Path,
    change: Callable[[TensorDataset], Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(again, "load_splits", other_tests(change))
    done = verify(study)
    assert len(done.findings) == done.runs == 4
    assert all(message in line for line in done.findings), done.findings


def test_changed_data_set_is_found(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    monkeypatch.setattr(Digits, "check", lambda _: other)
    [line] = verify(study).findings
    assert "the data set has changed since the study began" in line
    assert other[:12] in line


def elsewhere(data: Data) -> Data:
    return {**data, "tested": {**data["tested"], "where": {"torch": "1.0", "threads": 1}}}


def test_another_machine_is_named_and_its_results_may_be_rounded_otherwise(study: Path) -> None:
    trial = confirmed(study)[0]
    change_report(study, trial.number, elsewhere)
    done = verify(study)
    assert done.findings == []
    assert (done.exact, done.rounded) == (3, 1)
    [note] = done.notes
    assert note.startswith(f"trial {trial.number}: torch, device, cpu, ")
    assert "not as recorded, so results may be rounded otherwise: 0 of the " in note


def test_on_another_machine_only_undecided_images_may_have_another_answer(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = confirmed(study)[0]
    change_report(study, trial.number, lambda d: elsewhere(of_record(with_other_answer)(d)))
    assert "1 of 359 test images are recorded otherwise" in only_finding(verify(study), trial)
    monkeypatch.setattr(comparison, "UNDECIDED", 100.0)
    done = verify(study)
    assert done.findings == []
    assert "1 of the 359 images whose answer rounding can change are different" in done.notes[0]
    # Here, under the recorded conditions, no answer may change.
    other = confirmed(study)[1]
    change_report(study, other.number, of_record(with_other_answer))
    assert [line.split(":")[0] for line in verify(study).findings] == [f"trial {other.number}"]


def as_of_an_older_version(folder: Path, best: int) -> None:
    """Turn the runs into those of a version that kept the weights of a best epoch, here `best`."""
    for trial in confirmed(folder):
        path = weights_of(folder, trial)
        content = {"model": load_checkpoint(path)["model"]}
        path.unlink()
        path.with_suffix(".json").unlink()
        save_series(path.parent, "best", best, content, trial.fingerprint)

    def older(event: Any) -> Data:
        data = {key: value for key, value in event.data.items() if key != "tested"}
        if event.kind == "study_created":
            data["confirm"] = {k: v for k, v in data["confirm"].items() if k != "weights"}
        return data

    rewrite(folder, older)


def test_older_study_whose_best_epoch_is_the_last_is_verified(study: Path) -> None:
    as_of_an_older_version(study, best=3)
    done = verify(study)
    assert (done.findings, done.runs, done.exact + done.rounded) == ([], 4, 4)
    assert audit(study, tracking=False) == []
    trial = confirmed(study)[3]
    change_report(study, trial.number, of_metrics(test_accuracy=0.99))
    [line] = verify(study).findings
    assert f"trial {trial.number}: test_accuracy recorded 0.99, found " in line


def test_older_study_whose_tested_weights_are_gone_is_said_to_be_unverified(study: Path) -> None:
    as_of_an_older_version(study, best=2)
    done = verify(study)
    assert done.findings == []
    assert "4 not verified" in done.summary
    [note] = done.notes
    assert "karat was older, and kept the weights of the best epoch" in note
    assert note.startswith("trials ")


def test_finding_ends_with_status_1_and_a_study_without_confirmation_is_refused(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights_of(study, confirmed(study)[0]).unlink()
    assert main(["verify", str(study)]) == 1
    _, last, *rest = told(capsys)
    assert rest[0] == "not compared here:"
    assert last.endswith("3 verified to the last bit, 0 up to rounding, 1 not verified; 1 finding")

    def first_half(event: Any) -> Data:
        return {**event.data, **({"phase": "search"} if event.kind == "trial_asked" else {})}

    rewrite(study, first_half)
    with pytest.raises(InputError, match="no confirmation run is complete"):
        verify(study)
