"""A trial with every augmentation: resumed within an epoch it ends with the same numbers, in parts too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from karat.training.trainer import EpochResult, Pause, Trainer
from tests.training.loading.test_batches import EVERYTHING
from tests.training.test_trainer import config

TRAINING: dict[str, Any] = {**EVERYTHING, "epochs": 2, "batch_size": 256, "warmup_epochs": 0}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights_of(trainer: Trainer) -> list[torch.Tensor]:
    return list(trainer.model.state_dict().values())


@pytest.fixture(scope="module")
def whole() -> tuple[Any, list[torch.Tensor]]:
    """Metrics of the last epoch, and weights."""
    torch.set_num_threads(1)
    trainer = Trainer(config(training=TRAINING), seed=1)
    results = [trainer.run_epoch() for _ in range(2)]
    assert isinstance(results[-1], EpochResult)
    return results[-1].metrics, weights_of(trainer)


@pytest.mark.parametrize("step", [1, 3])
def test_a_trial_paused_within_an_epoch_ends_bit_equal(
    whole: tuple[Any, list[torch.Tensor]], tmp_path: Path, step: int
) -> None:
    calls = 0

    def should_pause() -> bool:
        nonlocal calls
        calls += 1
        return calls == step

    settings = config(training=TRAINING)
    first = Trainer(settings, seed=1, folder=tmp_path, should_pause=should_pause)
    assert first.run_epoch() == Pause(epoch=0, step=step)
    again = Trainer(settings, seed=1, folder=tmp_path)
    results = [again.run_epoch() for _ in range(2)]
    assert isinstance(results[-1], EpochResult)
    assert results[-1].metrics == whole[0]
    assert all(map(torch.equal, weights_of(again), whole[1]))


def test_parts_of_a_batch_give_the_step_of_the_whole(whole: tuple[Any, list[torch.Tensor]]) -> None:
    trainer = Trainer(config(training=TRAINING), seed=1, micro_batches=2)
    for _ in range(2):
        trainer.run_epoch()
    for found, expected in zip(weights_of(trainer), whole[1], strict=True):
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_the_first_report_says_how_long_a_step_waits_for_images() -> None:
    trainer = Trainer(config(training={**TRAINING, "epochs": 1}), seed=1)
    trainer.run_epoch()
    found = trainer.loading()
    assert 0 < found["data_s"] < found["step_s"]
    assert found["map_bytes"] == 0
