"""What the journal says of a tested trial, against what the same weights give now.

Under the recorded conditions both must be equal to the last bit. Under others (another version of
torch, processor, number of processes, a GPU) sums are rounded otherwise. Then an image may change its
answer only if it is undecided: the logits of its right class and of the best other one differ by at
most `UNDECIDED`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karat.journal.evaluations import ACCURACY, LOSS
from karat.journal.trial import Trial
from karat.tested import Tested, sha256_of_classes
from karat.training.evaluation import Evaluated
from karat.verification.again import Again
from karat.verification.scores_again import (
    LOSS_TOLERANCE,
    SHOWN,
    UNDECIDED,
    of_copies,
    of_scores,
    of_validation,
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the comparison of one trial says.

    Args:
        findings: what differs; empty if nothing does.
        differences: names of the conditions that differ, as in `Tested.where`; without any, the
            results had to be equal to the last bit.
        flipped: undecided images whose answer differs.
        undecided: images whose answer may differ under other conditions.
    """

    findings: tuple[str, ...]
    differences: tuple[str, ...] = ()
    flipped: int = 0
    undecided: int = 0


def compare(trial: Trial, tested: Tested, again: Again, *, shifted: bool = False) -> Compared:
    """Compare what the journal has of a trial and its tested weights with what was found now.

    Args:
        trial: completed.
        tested: its test evaluation.
        again: of the same weights, now.
        shifted: whether corrupted copies were evaluated.
    """
    found, recorded = again.found, tested.bits()
    if changed := tuple(_of_images(tested, found)):
        return Compared(findings=changed)
    differs = recorded != found.correct
    undecided = _undecided(found)
    names = different(tested.where, again.where)
    # An earlier epoch may have been in another segment, of other threads or parts of a batch.
    is_of_last = tested.epoch == trial.epochs or trial.segments == 1
    beside = [
        *of_scores(trial, again, is_exact=not names),
        *of_validation(trial, tested.epoch, again, is_exact=not names and is_of_last),
        *(of_copies(trial, again, is_exact=not names) if shifted else ()),
    ]
    if not names:
        lines = [*_of_answers(trial, tested, found, differs), *_of_loss(trial, found, 0.0), *beside]
        return Compared(findings=tuple(lines))
    allowed = differs & undecided
    lines = [
        *_of_answers(trial, None, found, differs & ~undecided),
        *_of_loss(trial, found, LOSS_TOLERANCE),
        *beside,
    ]
    return Compared(
        findings=tuple(lines),
        differences=names,
        flipped=int(allowed.sum()),
        undecided=int(undecided.sum()),
    )


def compare_values(trial: Trial, again: Again, *, is_same: bool) -> Compared:
    """As `compare`, for a trial of an older version, whose journal has only accuracy and loss.

    Args:
        trial: with reports.
        again: of the weights that it kept, which are those of its last epoch.
        is_same: whether version of torch and processor are those of the journal.
    """
    found = again.found
    images, recorded = len(found.labels), trial.last(ACCURACY)
    undecided = int(_undecided(found).sum())
    right = int(found.correct.sum())
    # Older versions computed the share otherwise, in its last bit.
    then = math.nan if recorded is None else recorded * images
    off = abs(right - then)
    lines = []
    if not off <= 1e-6 * images + (0 if is_same else undecided):
        lines.append(
            f"{ACCURACY} recorded {recorded}, found {found.accuracy} ({right} of {images} right)"
        )
    lines += _of_loss(trial, found, LOSS_TOLERANCE)
    lines += of_validation(trial, trial.epochs, again, is_exact=False)
    return Compared(
        findings=tuple(lines),
        differences=() if is_same else ("torch or cpu",),
        flipped=0 if lines else round(off),
        undecided=undecided,
    )


def different(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the conditions that are not the same; one that only one side has counts."""
    return tuple(
        name for name in {**recorded, **now} if recorded.get(name, ...) != now.get(name, ...)
    )


def _undecided(found: Evaluated) -> NDArray[np.bool_]:
    """Images whose answer rounding may change: (n,)."""
    near: NDArray[np.bool_] = np.abs(found.margins) <= UNDECIDED
    return near


def _of_images(tested: Tested, found: Evaluated) -> Iterator[str]:
    """Whether these are the images that were tested, in the same order."""
    images, labels = len(found.labels), sha256_of_classes(found.labels)
    if images != tested.images:
        yield f"{tested.images} test images recorded, {images} found"
    elif labels != tested.labels:
        yield (
            f"the test images have other labels or another order: sha256 of the labels recorded "
            f"{tested.labels[:SHOWN]}, found {labels[:SHOWN]}"
        )
    elif found.pixels != tested.pixels:
        yield (
            f"the test images are others, with the same labels: sha256 recorded "
            f"{tested.pixels[:SHOWN]}, found {found.pixels[:SHOWN]}"
        )


def _of_answers(
    trial: Trial, tested: Tested | None, found: Evaluated, differs: NDArray[np.bool_]
) -> Iterator[str]:
    """Images with another answer; with `tested`, also predictions that are otherwise wrong."""
    if places := np.flatnonzero(differs).tolist():
        yield (
            f"{len(places)} of {len(differs)} test images are recorded otherwise than found (the "
            f"first is image {places[0]}): {ACCURACY} recorded {trial.last(ACCURACY)}, found "
            f"{found.accuracy}"
        )
    elif tested is not None and (now := sha256_of_classes(found.predicted)) != tested.predictions:
        yield (
            f"as many images are right, but predicted classes differ: sha256 recorded "
            f"{tested.predictions[:SHOWN]}, found {now[:SHOWN]}"
        )


def _of_loss(trial: Trial, found: Evaluated, tolerance: float) -> Iterator[str]:
    recorded = trial.last(LOSS)
    if recorded is None or not abs(recorded - found.loss) <= tolerance * abs(found.loss):
        yield f"{LOSS} recorded {recorded}, found {found.loss}"
