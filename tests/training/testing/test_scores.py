"""Scores beside accuracy, against independent computations."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from karat.system.process.memory import PeakMemory, inner_peak
from karat.training.evaluation import Details, Evaluated, evaluate
from karat.training.process_group import ProcessGroup
from karat.training.testing.scores import calibration_error, scores_of
from karat.training.trainer import Trainer
from tests.training.test_trainer import config, train


def answers(logits: torch.Tensor, labels: torch.Tensor) -> Evaluated:
    """What `evaluate` finds for a model that says these logits."""
    split = TensorDataset(logits, labels)
    return evaluate(torch.nn.Identity(), split, ProcessGroup(), details=True)


def drawn(classes: int, images: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(images, classes, generator=draw)
    return logits, torch.randint(0, classes, (images,), generator=draw)


def test_scores_equal_an_independent_computation() -> None:
    logits, labels = drawn(7)
    scores = scores_of(answers(logits, labels), 7, seconds=2.0, peak_bytes=9)
    top = logits.topk(5).indices
    assert scores["top1"] == pytest.approx((top[:, 0] == labels).float().mean().item())
    assert scores["top5"] == pytest.approx((top == labels[:, None]).any(1).float().mean().item())
    assert scores["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert scores["images_per_s"] == 100.0
    assert scores["peak_bytes"] == 9
    for label, share in enumerate(scores["per_class"]):
        of_class = labels == label
        right = (logits.argmax(1) == labels)[of_class]
        assert share == pytest.approx(right.float().mean().item())


def naive_error(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> float:
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = abs(float(confidence[inside].mean()) - float(correct[inside].mean()))
            total += gap * inside.sum() / len(confidence)
    return total


def test_calibration_error_has_fifteen_bins() -> None:
    logits, labels = drawn(4)
    found = answers(logits, labels)
    assert found.details is not None
    wanted = naive_error(found.details.confidence, found.correct)
    assert calibration_error(found.details.confidence, found.correct) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("confidence", "is_right", "error"), [(1.0, True, 0), (1.0, False, 1), (0.25, False, 0.25)]
)
def test_calibration_error_of_one_answer(confidence: float, is_right: bool, error: float) -> None:
    found = calibration_error(np.array([confidence], np.float32), np.array([is_right]))
    assert found == pytest.approx(error)


def test_five_classes_have_no_top_five_and_an_empty_class_no_accuracy() -> None:
    found = Evaluated(
        loss=1.0,
        predicted=np.array([0, 1]),
        labels=np.array([0, 0]),
        margins=np.zeros(2, np.float32),
        pixels="",
        details=Details(
            confidence=np.array([0.5, 0.5], np.float32),
            rank=np.array([0, 1]),
            top_margins=np.ones(2, np.float32),
        ),
    )
    scores = scores_of(found, 5, seconds=0.0, peak_bytes=None)
    assert "top5" not in scores
    assert scores["per_class"] == [0.5, None, None, None, None]
    assert scores["images_per_s"] is None


def test_details_change_no_answer() -> None:
    trainer = Trainer(config(), seed=1)
    plain, detailed = (trainer.evaluate(trainer.splits.val, details=each) for each in (False, True))
    assert plain.loss == detailed.loss
    assert np.array_equal(plain.predicted, detailed.predicted)
    assert np.array_equal(plain.margins, detailed.margins)


def test_a_tested_trial_reports_scores_and_its_numbers_stay_without_corruptions() -> None:
    plain: dict[str, Any] = {"data": {}}
    shifted = {"data": {"corruptions": ["noise", "contrast"]}}
    first, second = (
        train(
            Trainer(
                config(**more, training={"epochs": 1, "warmup_epochs": 0}), seed=1, test_at_end=True
            )
        )[-1]
        for more in (plain, shifted)
    )
    assert first.metrics == second.metrics
    assert first.shifted is None
    assert first.scores is not None
    assert first.tested is not None
    assert first.scores["top1"] == first.metrics["test_accuracy"] == first.tested.accuracy()
    assert second.tested == first.tested
    assert second.shifted is not None
    assert list(second.shifted) == ["noise", "contrast"]
    for strengths in second.shifted.values():
        assert [each["strength"] for each in strengths] == [1, 2, 3, 4, 5]
        assert all(0 <= each["accuracy"] <= 1 for each in strengths)


def test_the_peak_of_a_part_does_not_change_the_peak_of_the_whole() -> None:
    whole = PeakMemory()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    high = whole.peak()
    del block
    with inner_peak() as part:
        inner = part()
    after = whole.peak()
    assert high is not None
    assert inner is not None
    assert after is not None
    slack = 4 << 20  # the kernel counts resident pages in batches
    assert inner <= high - (32 << 20) + slack
    assert after >= high - slack
