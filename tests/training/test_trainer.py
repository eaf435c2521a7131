import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from karat.errors import NonFiniteError
from karat.training.config import TrialConfig
from karat.training.trainer import EpochResult, Pause, Trainer

SECTIONS: dict[str, dict[str, Any]] = {
    "data": {"name": "digits"},
    "model": {"name": "vit_micro", "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2},
    "attention": {"basis": "fourier", "grid_size": 2, "rank": 4},
    "training": {"epochs": 3, "batch_size": 128},
}


def config(**changes: dict[str, Any]) -> TrialConfig:
    return TrialConfig.from_sections(
        {name: {**values, **changes.get(name, {})} for name, values in SECTIONS.items()}
    )


def train(trainer: Trainer, epochs: int = 99) -> list[EpochResult]:
    results = []
    while not trainer.finished and epochs:
        result = trainer.run_epoch()
        assert isinstance(result, EpochResult)
        results.append(result)
        epochs -= 1
    return results


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_same_configuration_and_seed_give_the_same_numbers() -> None:
    first, again = (train(Trainer(config(), seed=1)) for _ in range(2))
    assert [each.metrics for each in first] == [each.metrics for each in again]
    other = train(Trainer(config(), seed=2))
    assert other[-1].metrics["train_loss"] != first[-1].metrics["train_loss"]


def test_training_lowers_the_loss() -> None:
    results = train(Trainer(config(), seed=1))
    assert results[-1].metrics["val_loss"] < results[0].metrics["val_loss"] < 2.4


def test_resumed_trial_ends_with_the_numbers_of_an_unbroken_one(tmp_path: Path) -> None:
    whole = train(Trainer(config(), seed=1, folder=tmp_path / "whole"))
    train(Trainer(config(), seed=1, folder=tmp_path / "broken"), epochs=2)
    trainer = Trainer(config(), seed=1, folder=tmp_path / "broken", resume_at_most=2)
    assert trainer.epoch == 2
    assert train(trainer)[-1].metrics == whole[-1].metrics


def with_dropout(trainer: Trainer) -> Trainer:
    """The trainer of a model that draws at every step."""
    trainer.model.head_drop = torch.nn.Dropout(0.3)
    return trainer


@pytest.mark.parametrize("step", [1, 4, 7])
def test_trial_paused_within_an_epoch_ends_with_the_numbers_of_an_unbroken_one(
    tmp_path: Path, step: int
) -> None:
    settings = config(training={"epochs": 2})
    whole = train(with_dropout(Trainer(settings, seed=1)))
    steps = itertools.count(1)

    def should_pause() -> bool:
        return trainer.epoch == 1 and next(steps) == step

    trainer = with_dropout(Trainer(settings, seed=1, folder=tmp_path, should_pause=should_pause))
    first = trainer.run_epoch()
    assert isinstance(first, EpochResult)
    assert trainer.run_epoch() == Pause(epoch=1, step=step)
    torch.manual_seed(99)
    again = with_dropout(Trainer(settings, seed=1, folder=tmp_path, resume_at_most=1))
    (last,) = train(again)
    assert [first.metrics, last.metrics] == [each.metrics for each in whole]
    assert not list(tmp_path.glob("within-*"))


def test_trial_paused_within_its_first_epoch_does_not_begin_anew(tmp_path: Path) -> None:
    whole = train(Trainer(config(), seed=1))
    trainer = Trainer(config(), seed=1, folder=tmp_path, should_pause=lambda: True)
    assert [trainer.run_epoch()] == [Pause(epoch=0, step=1)]
    trainer = Trainer(config(), seed=1, folder=tmp_path, should_pause=lambda: True)
    assert [trainer.run_epoch()] == [Pause(epoch=0, step=2)]
    results = train(Trainer(config(), seed=1, folder=tmp_path))
    assert [each.metrics for each in results] == [each.metrics for each in whole]


def test_damaged_checkpoint_within_an_epoch_costs_the_epoch_only(tmp_path: Path) -> None:
    whole = train(Trainer(config(), seed=1))
    trainer = Trainer(config(), seed=1, folder=tmp_path, should_pause=lambda: trainer.epoch == 1)
    trainer.run_epoch()
    assert isinstance(trainer.run_epoch(), Pause)
    with (tmp_path / "within-00001.pt").open("r+b") as file:
        file.seek(500)
        file.write(b"x")
    again = Trainer(config(), seed=1, folder=tmp_path, resume_at_most=1)
    assert again.epoch == 1
    assert train(again)[-1].metrics == whole[-1].metrics


def test_test_split_is_touched_once_at_the_end_and_only_when_asked() -> None:
    names = [set(each.metrics) for each in train(Trainer(config(), seed=1, test_at_end=True))]
    assert ["test_accuracy" in each for each in names] == [False, False, True]
    assert "test_accuracy" not in train(Trainer(config(), seed=1))[-1].metrics


def test_all_arms_see_the_same_order_and_start_of_shared_weights() -> None:
    fourier = Trainer(config(), seed=5)
    softmax = Trainer(
        TrialConfig.from_sections({**SECTIONS, "attention": {"basis": "softmax"}}), seed=5
    )
    for (ours, _), (theirs, _) in zip(
        fourier._training_batches(), softmax._training_batches(), strict=True
    ):
        assert torch.equal(ours, theirs)
    weights = fourier.model.state_dict()
    assert all(
        torch.equal(value, weights[key]) for key, value in softmax.model.state_dict().items()
    )


def test_non_finite_loss_ends_the_trial_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karat.training.config.MAX_LEARNING_RATE", 1e30)
    trainer = Trainer(config(training={"learning_rate": 1e30, "clip_grad": 0.0}), seed=1)
    with pytest.raises(NonFiniteError, match=r"at epoch \d"):
        train(trainer)


def test_warm_up_reaches_the_learning_rate_and_cosine_its_floor() -> None:
    rates = [each.metrics["learning_rate"] for each in train(Trainer(config(), seed=1))]
    assert rates[0] == pytest.approx(0.003, rel=0.15)
    assert rates[-1] < 0.0002
