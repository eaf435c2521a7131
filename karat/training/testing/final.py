"""The last evaluation of a trial: the clean test split with all scores, then its corrupted copies."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from karat.datasets import Dataset, Images
from karat.system.process.memory import inner_peak
from karat.training import evaluation
from karat.training.evaluation import Evaluated
from karat.training.testing.scores import scores_of
from karat.training.testing.shifted import Shifts, shifts_of


class Evaluate(Protocol):
    """The model's answers on a split."""

    def __call__(self, split: Images, *, hash_images: bool, details: bool) -> Evaluated: ...


@dataclass(frozen=True, kw_only=True)
class Final:
    """What the last evaluation found.

    Args:
        found: the answers on the clean split.
        scores: `karat.training.testing.scores`.
        shifted: `karat.training.testing.shifted.shifts_of`; None where the data set names no corruptions.
    """

    found: Evaluated
    scores: dict[str, Any]
    shifted: Shifts | None


def evaluate_finally(
    evaluate: Evaluate,
    split: Images,
    data: Dataset,
    epoch: int,
    before_each: Callable[[], None] = lambda: None,
) -> Final:
    """Evaluate a model on the test split, and on the corruptions that the data set names.

    Args:
        evaluate: the model's answers on a split.
        split: the clean test split.
        data: the data set that it is of.
        epoch: epochs done, for the message of an error.
        before_each: called before the evaluation of each corrupted copy.

    Raises:
        NonFiniteError: the loss is NaN or infinite.
    """
    with inner_peak() as peak:
        started = time.monotonic()
        found = evaluate(split, hash_images=True, details=True)
        seconds = time.monotonic() - started
        peak_bytes = peak()
    evaluation.check_finite(found.metrics("test"), epoch)
    scores = scores_of(found, len(data.info().classes), seconds=seconds, peak_bytes=peak_bytes)
    shifted = _shifted(evaluate, split, data, epoch, before_each)
    return Final(found=found, scores=scores, shifted=shifted)


def _shifted(
    evaluate: Evaluate, split: Images, data: Dataset, epoch: int, before_each: Callable[[], None]
) -> Shifts | None:
    steps = data.preprocessing()
    if not data.corruptions or steps is None:
        return None

    def answers(shifted: Images) -> Evaluated:
        before_each()
        found = evaluate(shifted, hash_images=False, details=True)
        evaluation.check_finite(found.metrics("shifted"), epoch)
        return found

    return shifts_of(answers, split, steps, data.corruptions)
