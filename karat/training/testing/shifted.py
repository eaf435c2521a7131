"""The evaluation of one model on corrupted copies of a split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from karat.datasets import CORRUPTIONS, STRENGTHS, Images, Preprocessing
from karat.tested import sha256_of_classes
from karat.training.evaluation import Evaluated
from karat.training.testing.scores import brief_scores

Shifts = dict[str, list[dict[str, Any]]]


def shifted_splits(
    split: Images, steps: Preprocessing, names: Sequence[str], into: Preprocessing | None = None
) -> Iterator[tuple[str, int, Images]]:
    """Each corruption, each strength, and the corrupted split.

    Args:
        split: the clean images.
        steps: their normalisation.
        names: of the corruptions.
        into: the normalisation that the model was trained with; that of the split where None.
    """
    from karat.datasets._shifted import Shifted

    for name in names:
        corruption = CORRUPTIONS[name]()
        for strength in STRENGTHS:
            yield (
                name,
                strength,
                Shifted(split, steps, into=into, corruption=corruption, strength=strength),
            )


def shifts_of(
    evaluate: Callable[[Images], Evaluated],
    split: Images,
    steps: Preprocessing,
    names: Sequence[str],
    into: Preprocessing | None = None,
) -> Shifts:
    """What a model scores on every corrupted copy of a split, as the journal keeps it.

    Args:
        evaluate: the model's answers on a split, with details.
        split, steps, names, into: see `shifted_splits`.

    Returns:
        Name of the corruption to one entry for each strength, from 1: `strength`, `accuracy`, `loss`,
        `calibration_error`, and `predictions` (sha256 of the predicted classes).
    """
    found: Shifts = {}
    for name, strength, shifted in shifted_splits(split, steps, names, into):
        answers = evaluate(shifted)
        entry: Mapping[str, Any] = {
            "strength": strength,
            **brief_scores(answers),
            "predictions": sha256_of_classes(answers.predicted),
        }
        found.setdefault(name, []).append(dict(entry))
    return found
