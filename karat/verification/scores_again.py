"""The recorded values beside test accuracy and loss, against those that the same weights give now.

Scores of the clean test images, validation values of the epoch whose weights were tested, and scores of corrupted
copies. Under the recorded conditions they must be equal to the last bit. Under others each may differ by what
rounding can change: see `Slack`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from karat.journal.trial import Trial
from karat.tested import sha256_of_classes
from karat.training.evaluation import Evaluated
from karat.training.testing.scores import BINS, brief_scores, scores_of
from karat.verification.again import Again

# Rounding of float32 in another order moves a logit by about 1e-5, TF32 on a GPU by about 1e-3.
UNDECIDED = 0.01  # between two logits
LOSS_TOLERANCE = 1e-3  # relative
# By which a probability moves at most, if two logits move apart by UNDECIDED.
_PROBABILITY = UNDECIDED / 4
_LAST_BITS = 1e-6  # of a share, which older versions computed otherwise
_MEASURED = ("seconds", "images_per_s", "peak_bytes")  # which differ whenever they are measured
SHOWN = 12  # digits of a sha256 in a message


@dataclass(frozen=True, kw_only=True)
class Slack:
    """By how much values of an evaluation may differ; nothing where conditions are as recorded.

    Args:
        found: the evaluation, with details.
        is_exact: whether they are.
    """

    found: Evaluated
    is_exact: bool

    def images(self, label: int | None = None) -> int:
        """Images, all or those of one class, whose answer rounding can change."""
        near = np.abs(self.found.margins) <= UNDECIDED
        if label is not None:
            near &= self.found.labels == label
        return 0 if self.is_exact else int(near.sum())

    def of(self, name: str, value: float) -> float:
        """For a score of `karat.training.testing.scores` or of `brief_scores`."""
        details, count = self.found.details, len(self.found.labels)
        if self.is_exact or details is None:
            return 0.0
        if name == "loss":
            return LOSS_TOLERANCE * abs(value)
        if name == "top5":
            return float((np.abs(details.top_margins) <= UNDECIDED).sum() / count) + _LAST_BITS
        if name == "calibration_error":
            # Every probability moves a little, and an image on the border of two bins changes its bin.
            borders = details.confidence.astype(np.float64) * BINS
            moved = np.abs(borders - np.round(borders)) <= BINS * _PROBABILITY
            return _PROBABILITY + float(2 * (moved.sum() + self.images()) / count)
        return self.images() / count + _LAST_BITS if name in ("top1", "accuracy") else 0.0


def of_scores(trial: Trial, again: Again, *, is_exact: bool) -> Iterator[str]:
    """What differs in the scores of the clean test images; nothing for a trial that has none, as older ones."""
    if trial.scores is None:
        return
    found, slack = again.found, Slack(found=again.found, is_exact=is_exact)
    now = scores_of(found, again.classes, seconds=0.0, peak_bytes=None)
    for name in {**now, **trial.scores}:
        if name == "per_class":
            yield from _of_classes(trial.scores.get(name), now[name], slack)
        elif name not in _MEASURED:
            yield from _of_value(
                f"scores: {name}", name, trial.scores.get(name), now.get(name), slack
            )


def of_validation(trial: Trial, epoch: int, again: Again, *, is_exact: bool) -> Iterator[str]:
    """What differs in the validation values of the epoch whose weights were tested."""
    report = next((each for each in reversed(trial.reports) if each.epoch == epoch), None)
    metrics = {} if report is None else report.metrics
    slack = Slack(found=again.validated, is_exact=is_exact)
    for name, value in again.validated.metrics("val").items():
        what = f"{name} of epoch {epoch}"
        yield from _of_value(what, name.removeprefix("val_"), metrics.get(name), value, slack)


def of_copies(trial: Trial, again: Again, *, is_exact: bool) -> Iterator[str]:
    """What differs in the scores of corrupted copies."""
    recorded = {
        (name, each.get("strength")): each
        for name, strengths in (trial.shifted or {}).items()
        for each in strengths
    }
    found = {(name, strength): answers for name, strength, answers in again.copies}
    if recorded.keys() != found.keys():
        yield f"corrupted copies recorded: {_names(recorded)}; found: {_names(found)}"
        return
    for (name, strength), answers in found.items():
        where, own = f"{name}, strength {strength}", recorded[name, strength]
        slack = Slack(found=answers, is_exact=is_exact)
        for key, value in brief_scores(answers).items():
            yield from _of_value(f"{where}: {key}", key, own.get(key), value, slack)
        now = sha256_of_classes(answers.predicted)
        if is_exact and own.get("predictions") != now:
            yield (
                f"{where}: predicted classes differ: sha256 recorded "
                f"{str(own.get('predictions'))[:SHOWN]}, found {now[:SHOWN]}"
            )


def _of_classes(recorded: Any, now: Sequence[float | None], slack: Slack) -> Iterator[str]:
    theirs = recorded if isinstance(recorded, list) else []
    if len(theirs) != len(now):
        yield f"scores: per_class recorded for {len(theirs)} classes, found for {len(now)}"
        return
    counts = np.bincount(slack.found.labels, minlength=len(now))
    more = 0.0 if slack.is_exact else _LAST_BITS
    wrong = [
        label
        for label, (value, own) in enumerate(zip(now, theirs, strict=True))
        if not _is_near(own, value, slack.images(label) / max(1, int(counts[label])) + more)
    ]
    if wrong:
        first = wrong[0]
        yield (
            f"scores: per_class of {len(wrong)} of {len(now)} classes recorded otherwise than found (the first is "
            f"class {first}): recorded {theirs[first]}, found {now[first]}"
        )


def _of_value(what: str, name: str, recorded: Any, now: Any, slack: Slack) -> Iterator[str]:
    allowed = slack.of(name, now) if isinstance(now, float) else 0.0
    if not _is_near(recorded, now, allowed):
        yield f"{what} recorded {recorded}, found {now}"


def _is_near(recorded: Any, now: Any, allowed: float) -> bool:
    if isinstance(recorded, bool) or not isinstance(recorded, int | float) or now is None:
        return bool(recorded is now)
    return bool(abs(recorded - now) <= allowed)


def _names(copies: Mapping[tuple[str, Any], object]) -> str:
    return ", ".join(f"{name} {strength}" for name, strength in copies) or "none"
