"""What is tested is recorded image by image, and its weights are kept."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from karat.models.build import build_model
from karat.tested import Tested as Record
from karat.tested import packed, sha256_of_classes, unpacked
from karat.training.checkpoint import kept_weights, load_checkpoint, newest_first
from karat.training.evaluation import evaluate, sha256_of_weights
from karat.training.process_group import ProcessGroup
from karat.training.trainer import EpochResult, Trainer
from tests.training.test_trainer import config, train

# So high a learning rate that with this seed the first of four epochs has the best validation loss.
SEED = 2
UNSTEADY = config(
    training={"learning_rate": 0.1, "min_learning_rate": 0.1, "epochs": 4, "batch_size": 64}
)
BEST: dict[str, Any] = {"test_at_end": True, "weights": "best", "metric": "val_loss", "mode": "min"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def record_of(results: list[EpochResult]) -> Record:
    found = results[-1].tested
    assert found is not None
    return found


def best_epoch(results: list[EpochResult]) -> int:
    return min(results, key=lambda each: each.metrics["val_loss"]).epoch


def test_weights_of_the_last_epoch_are_tested_and_kept(tmp_path: Path) -> None:
    trainer = Trainer(config(), seed=1, folder=tmp_path, test_at_end=True)
    results = train(trainer)
    tested = record_of(results)
    assert tested.epoch == 3
    assert [each.tested for each in results[:-1]] == [None, None]
    assert not newest_first(tmp_path, "best")
    path = kept_weights(tmp_path)
    assert path is not None
    content = load_checkpoint(path)
    assert content["epoch"] == 3
    assert sha256_of_weights(content["model"]) == tested.weights
    assert sha256_of_weights(trainer.model.state_dict()) == tested.weights


def test_kept_weights_give_the_tested_predictions_again(tmp_path: Path) -> None:
    trainer = Trainer(UNSTEADY, seed=SEED, folder=tmp_path, **BEST)
    tested = record_of(train(trainer))
    path = kept_weights(tmp_path)
    assert path is not None
    model = build_model(UNSTEADY.model, UNSTEADY.attention, seed=9, **UNSTEADY.data_shape())
    model.load_state_dict(load_checkpoint(path)["model"])
    again = evaluate(model, trainer.splits.test, ProcessGroup(), hash_images=True)
    assert np.array_equal(again.correct, tested.bits())
    assert sha256_of_classes(again.predicted) == tested.predictions
    assert sha256_of_classes(again.labels) == tested.labels
    assert again.pixels == tested.pixels


def test_weights_of_the_best_epoch_are_tested_where_the_space_says_so(tmp_path: Path) -> None:
    results = train(Trainer(UNSTEADY, seed=SEED, folder=tmp_path / "best", **BEST))
    best = best_epoch(results)
    assert best < 4, "choose another seed: the last epoch is the best"
    tested = record_of(results)
    assert tested.epoch == best
    # The same trial, stopped after that epoch, ends with these weights.
    other = Trainer(UNSTEADY, seed=SEED)
    train(other, epochs=best)
    assert sha256_of_weights(other.model.state_dict()) == tested.weights
    assert other.evaluate(other.splits.test).metrics("test") == {
        name: results[-1].metrics[name] for name in ("test_loss", "test_accuracy")
    }


def test_choice_of_weights_does_not_change_the_training() -> None:
    last, best = (
        Trainer(UNSTEADY, seed=SEED, **{**BEST, "weights": weights}) for weights in ("last", "best")
    )
    ours, theirs = train(last), train(best)
    assert [each.metrics["val_loss"] for each in ours] == [e.metrics["val_loss"] for e in theirs]
    assert record_of(ours).weights != record_of(theirs).weights
    # After the test the model has its own weights again.
    assert sha256_of_weights(best.model.state_dict()) == record_of(ours).weights


def test_best_weights_survive_an_interruption(tmp_path: Path) -> None:
    whole = train(Trainer(UNSTEADY, seed=SEED, **BEST))
    train(Trainer(UNSTEADY, seed=SEED, folder=tmp_path, **BEST), epochs=3)
    resumed = Trainer(UNSTEADY, seed=SEED, folder=tmp_path, resume_at_most=3, **BEST)
    assert train(resumed)[-1].tested == whole[-1].tested


def test_accuracy_is_the_mean_of_the_bits_exactly() -> None:
    result = train(Trainer(config(), seed=1, test_at_end=True))[-1]
    assert result.tested is not None
    assert result.metrics["test_accuracy"] == result.tested.bits().mean()
    assert result.metrics["test_accuracy"] == result.tested.accuracy()


def test_record_survives_the_journal_and_is_refused_when_it_is_not_whole() -> None:
    tested = record_of(train(Trainer(config(training={"epochs": 2}), seed=1, test_at_end=True)))
    plain = tested.plain()
    assert Record.read(plain) == tested
    for changes, message in (
        ({"correct": packed(np.ones(80, bool))}, "10 bytes of bits for 359 test images"),
        ({"correct": "?"}, "not base64"),
        ({"images": 0}, "no images"),
        ({"labels": None}, "labels of the test evaluation is missing"),
        ({"images": 358}, None),
    ):
        changed = {**plain, **changes}
        if message is None:  # 358 and 359 bits take 45 bytes: the bit behind the last one counts
            changed["correct"] = packed(np.ones(359, bool))
            message = "behind the last of 358"
        with pytest.raises(ValueError, match=message):
            Record.read(changed)
    with pytest.raises(ValueError, match="not a mapping"):
        Record.read([1])


def test_bits_are_packed_without_loss() -> None:
    for images in (1, 7, 8, 9, 360):
        bits = np.random.default_rng(images).random(images) < 0.5
        assert np.array_equal(unpacked(packed(bits), images), bits)


def test_other_images_and_another_order_have_other_hashes() -> None:
    trainer = Trainer(config(), seed=1)
    size = len(trainer.splits.test)  # type: ignore[arg-type]
    whole, turned, fewer = (
        trainer.evaluate(Subset(trainer.splits.test, rows), hash_images=True)
        for rows in (range(size), range(size)[::-1], range(size - 1))
    )
    assert len({each.pixels for each in (whole, turned, fewer)}) == 3
    assert trainer.evaluate(trainer.splits.test).pixels == ""
    assert np.array_equal(whole.predicted, turned.predicted[::-1])
    right = whole.margins > 0
    assert np.array_equal(right, whole.correct)


def test_one_changed_weight_changes_the_hash() -> None:
    state = {"a": torch.zeros(3), "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(1)}
    before = sha256_of_weights(state)
    assert sha256_of_weights(dict(reversed(state.items()))) == before
    for changed in (
        {**state, "a": torch.tensor([0.0, 0.0, 1e-30])},
        {**state, "a": torch.zeros(1, 3)},
        {**state, "c": torch.tensor(1.0)},
        {"z" if name == "a" else name: value for name, value in state.items()},
    ):
        assert sha256_of_weights(changed) != before


def test_record_is_plain_data() -> None:
    tested = record_of(train(Trainer(config(training={"epochs": 2}), seed=1, test_at_end=True)))
    assert set(map(type, tested.plain().values())) <= {int, str, dict}
    assert set(map(type, tested.where.values())) <= {int, str, bool}
    assert len(dataclasses.fields(tested)) == len(tested.plain())
