"""The scores of each confirmed arm on the clean test images, beside accuracy and loss."""

import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karat.journal.state import data_of
from karat.journal.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScores:
    """Means over the completed runs of an arm at full length.

    Args:
        label: of the arm.
        runs: that have told their scores.
        top1, loss, calibration_error: means; the last over 15 bins of confidence.
        top5: mean; None with at most 5 classes.
        per_class: class to the mean share of its images that is right; None for a class without test images.
        images_per_s, peak_bytes: medians over the runs, of the evaluation; None where it is not told.
    """

    label: str
    runs: int
    top1: float
    top5: float | None
    loss: float
    calibration_error: float
    per_class: Mapping[str, float | None]
    images_per_s: float | None
    peak_bytes: float | None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The class with the lowest share, and that share; None where no class has test images."""
        known = [(share, name) for name, share in self.per_class.items() if share is not None]
        if not known:
            return None
        share, name = min(known)
        return name, share


def scores_of_arms(
    labels: Iterable[str], confirmed: Mapping[str, Sequence[Trial]], data: Mapping[str, Any]
) -> tuple[ArmScores, ...]:
    """The scores of the arms whose journal has them, in the order of `labels`.

    Args:
        labels: of the confirmed arms.
        confirmed: trials of the confirmation at full length, by label.
        data: of the study's first event, with the names of classes in the order of the labels of the images; old
            journals do not have them.
    """
    found = (_of_arm(label, confirmed.get(label, ()), data) for label in labels)
    return tuple(each for each in found if each is not None)


def _of_arm(label: str, trials: Sequence[Trial], data: Mapping[str, Any]) -> ArmScores | None:
    told = [t.scores for t in trials if t.status == "completed" and t.scores is not None]
    if not told:
        return None
    shares = zip(*(each["per_class"] for each in told), strict=True)
    classes = data_of(data, trials[0].config.get("data", {})).get("classes", ())
    count = len(told[0]["per_class"])
    names = list(classes) if len(classes) == count else [str(number) for number in range(count)]
    return ArmScores(
        label=label,
        runs=len(told),
        top1=plain.fmean(each["top1"] for each in told),
        top5=_middle(told, "top5", plain.fmean),
        loss=plain.fmean(each["loss"] for each in told),
        calibration_error=plain.fmean(each["calibration_error"] for each in told),
        per_class={
            name: None if None in of else plain.fmean(of)
            for name, of in zip(names, shares, strict=True)
        },
        images_per_s=_middle(told, "images_per_s", plain.median),
        peak_bytes=_middle(told, "peak_bytes", plain.median),
    )


def _middle(told: Sequence[Mapping[str, Any]], key: str, middle: Any) -> float | None:
    values = [each[key] for each in told if each.get(key) is not None]
    return float(middle(values)) if values else None
