"""The averaged weights are those of the formula, and it is they that are evaluated and kept."""

from pathlib import Path

import pytest
import torch
from torch import nn

from karat.training.checkpoint import kept_weights, load_checkpoint
from karat.training.evaluation import evaluate, sha256_of_weights
from karat.training.process_group import ProcessGroup
from karat.training.results import EpochResult
from karat.training.steps.averaging import WeightAverage, average_of
from karat.training.steps.notes import average_text
from karat.training.trainer import Trainer
from tests.training.test_trainer import config, train


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_average_is_that_of_the_formula_and_buffers_are_the_models() -> None:
    model = nn.BatchNorm1d(3)
    average, expected = WeightAverage(model, 0.9), model.weight.detach().clone().double()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.add_(step)
            model.running_mean.add_(1)  # type: ignore[union-attr]
        average.update()
        expected = 0.9 * expected + 0.1 * model.weight.detach().double()
    assert torch.allclose(average.state()["weight"].double(), expected, rtol=1e-6)
    assert average.state()["running_mean"].tolist() == [5, 5, 5]
    assert average_of(model, 0) is None


def test_averaged_weights_are_evaluated_tested_and_kept(tmp_path: Path) -> None:
    trainer = Trainer(
        config(training={"epochs": 2, "ema_decay": 0.9}), 1, folder=tmp_path, test_at_end=True
    )
    result = train(trainer)[-1]
    path = kept_weights(tmp_path)
    assert trainer.average is not None
    assert path is not None
    kept = load_checkpoint(path)["model"]
    assert sha256_of_weights(kept) == sha256_of_weights(trainer.average.state())
    assert result.tested is not None
    assert result.tested.weights == sha256_of_weights(kept)
    # The model itself goes on with its own weights, and was not evaluated.
    assert sha256_of_weights(trainer.model.state_dict()) != result.tested.weights
    trainer.model.load_state_dict(kept)
    found = evaluate(trainer.model, trainer.splits.val, ProcessGroup())
    assert found.loss == result.metrics["val_loss"]


def test_average_does_not_change_what_is_trained() -> None:
    first, averaged = (Trainer(config(training={"ema_decay": d}), 1) for d in (0.0, 0.9))
    results = [each.run_epoch() for each in (first, averaged)]
    assert sha256_of_weights(first.model.state_dict()) == sha256_of_weights(
        averaged.model.state_dict()
    )
    values = [each.metrics for each in results if isinstance(each, EpochResult)]
    assert values[0]["train_loss"] == values[1]["train_loss"]
    assert values[0]["val_loss"] != values[1]["val_loss"]


def test_average_that_remembers_the_start_is_told() -> None:
    assert average_text(0, 100) == average_text(0.9, 100) == ""
    assert "98 % of the averaged weights" in average_text(0.99992, 220)
