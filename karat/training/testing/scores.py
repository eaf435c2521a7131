"""The scores of a model on one split: accuracy, calibration, classes, speed and memory, as plain data.

They stand in the last report of a tested trial as `scores`:

    images, seconds, images_per_s    of the evaluation, loading included
    top1, top5, loss                 shares of all images, mean cross-entropy; top5 with more than 5 classes alone
    calibration_error                expected calibration error over 15 bins
    per_class                        by class, the share that is right; null for a class without images
    peak_bytes                       peak memory: allocated on the GPU, or resident; null where it is not known
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karat.training.evaluation import TOP, Evaluated

BINS = 15  # of the calibration error


def scores_of(
    found: Evaluated, classes: int, *, seconds: float, peak_bytes: int | None
) -> dict[str, Any]:
    """All scores of an evaluation.

    Args:
        found: the answers, with `Evaluated.details`.
        classes: number of classes of the model.
        seconds: that it took.
        peak_bytes: peak memory of the evaluation.
    """
    scores: dict[str, Any] = {
        "images": len(found.labels),
        "top1": found.accuracy,
        **({"top5": _top5(found)} if classes > TOP else {}),
        "loss": found.loss,
        "calibration_error": calibration_error_of(found),
        "per_class": per_class(found, classes),
        "seconds": round(seconds, 4),
        "images_per_s": round(len(found.labels) / seconds, 1) if seconds > 0 else None,
        "peak_bytes": peak_bytes,
    }
    return scores


def brief_scores(found: Evaluated) -> Mapping[str, float]:
    """The scores that every corrupted split has: accuracy, loss and calibration error."""
    return {
        "accuracy": found.accuracy,
        "loss": found.loss,
        "calibration_error": calibration_error_of(found),
    }


def calibration_error_of(found: Evaluated) -> float:
    """`calibration_error` of an evaluation with details."""
    assert found.details is not None
    return calibration_error(found.details.confidence, found.correct)


def calibration_error(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, over bins of confidence.

    Source: Guo et al. 2017 (arXiv 1706.04599), equation 3, with `BINS` = 15 bins of equal width, as there. A
    confidence on the border of two bins belongs to the lower one.

    Args:
        confidence: probability of the predicted class of each image, (n,).
        correct: whether it was right, (n,).
    """
    bins = np.clip(np.ceil(confidence.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, weights=confidence.astype(np.float64) - correct, minlength=BINS)
    return float(np.abs(sums).sum() / max(1, counts.sum()))


def per_class(found: Evaluated, classes: int) -> list[float | None]:
    """By class, the share of its images that is right; None for a class without images."""
    counts = np.bincount(found.labels, minlength=classes)
    right = np.bincount(found.labels[found.correct], minlength=classes)
    return [float(r / n) if n else None for r, n in zip(right, counts, strict=True)]


def _top5(found: Evaluated) -> float:
    assert found.details is not None
    return float(np.count_nonzero(found.details.rank < TOP) / len(found.labels))
