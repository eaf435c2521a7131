"""A trial that was interrupted within an epoch ends with the same bits, whatever its steps are made of."""

from pathlib import Path
from typing import Any

import pytest
import torch

from karat.training.evaluation import sha256_of_weights
from karat.training.results import Pause
from karat.training.trainer import Trainer
from tests.training.test_trainer import config, train

EVERYTHING: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 256,
    "precision": "bf16",
    "micro_batches": 2,
    "betas": [0.9, 0.99],
    "layer_decay": 0.7,
    "schedule": "wsd",
    "warmup_epochs": 0.5,
    "drop_path": 0.3,
    "label_smoothing": 0.1,
    "clip_grad": 0.5,
    "ema_decay": 0.8,
    "padded_crop": 1,
    "flip": 0.5,
    "color_jitter": 0.4,
    "rand_augment": "rand-m9-n2-mstd0.5-inc1",
    "random_erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "lookahead_lion"])
def test_resumed_within_an_epoch_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    settings = config(
        model={"depth": 2}, training={**EVERYTHING, "optimizer": optimizer, "betas": [0.9, 0.99]}
    )
    arguments: dict[str, Any] = {"test_at_end": True, "weights": "best", "metric": "val_loss"}
    whole = Trainer(settings, seed=1, **arguments, mode="min")
    results = train(whole)
    for expected in (Pause(epoch=0, step=1), Pause(epoch=0, step=2)):
        trainer = Trainer(
            settings, 1, folder=tmp_path, should_pause=lambda: True, **arguments, mode="min"
        )
        torch.manual_seed(99)
        assert trainer.run_epoch() == expected
    again = Trainer(settings, seed=1, folder=tmp_path, **arguments, mode="min")
    torch.manual_seed(98)
    assert [each.metrics for each in train(again)] == [each.metrics for each in results]
    assert whole.average is not None
    assert again.average is not None
    for ours, theirs in (
        (whole.model.state_dict(), again.model.state_dict()),
        (whole.average.state(), again.average.state()),
    ):
        assert sha256_of_weights(ours) == sha256_of_weights(theirs)
