"""The last evaluation of a trial, and the time that it may take."""

import faulthandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karat.datasets import STRENGTHS, Images, make_dataset
from karat.training.evaluation import Details, Evaluated
from karat.training.testing.final import evaluate_finally
from karat.training.worker import SegmentWorker
from tests.segments import segment

DATA = make_dataset({"name": "digits", "corruptions": ("noise", "blur")})
COPIES = 2 * len(STRENGTHS)


def answers(split: Images, *, hash_images: bool, details: bool) -> Evaluated:
    """Two images, both right."""
    labels, ones = np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.float32)
    more = Details(confidence=ones, rank=labels, top_margins=ones)
    return Evaluated(
        loss=0.1, predicted=labels, labels=labels, margins=ones, pixels="", details=more
    )


def test_each_corrupted_copy_is_told_before_it_is_evaluated() -> None:
    told: list[int] = []
    found = evaluate_finally(answers, [], DATA, 1, lambda: told.append(1))  # type: ignore[arg-type]
    assert len(told) == COPIES
    assert found.shifted is not None
    assert sum(map(len, found.shifted.values())) == COPIES


def test_the_limit_of_an_epoch_begins_again_with_each_corrupted_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(
        faulthandler, "dump_traceback_later", lambda limit_s, **_: limits.append(limit_s)
    )
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: limits.append(0))
    worker = SegmentWorker(segment(tmp_path, config={}, processes=1, limit_s=7.0))

    def epoch() -> dict[str, Any]:
        evaluate_finally(answers, [], DATA, 1, lambda: worker._watch())  # type: ignore[arg-type]
        return {}

    monkeypatch.setattr(worker, "step_unlimited", epoch)
    worker.step()
    assert limits == [7.0] * (1 + COPIES) + [0]
    worker._watch()  # without effect after the epoch
    assert limits[-1] == 0
