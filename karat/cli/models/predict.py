"""`karat predict`: the class of images, by the model that a study ends with."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.cli.command import Command
from karat.cli.exit_status import FAILED, OK, printable
from karat.cli.models.choice import chosen_trial, model_of, named
from karat.cli.models.images import image_files, read_pixels
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import add_study, state_of, study_of
from karat.errors import DataError, InputError
from karat.terminal import make_console

if TYPE_CHECKING:
    from torch import nn

    from karat.tracking.models.tested_model import KeptModel

_TOP = 3  # classes of each image


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="an image, or a folder of images"
    )
    parser.add_argument(
        "--trial",
        type=int,
        metavar="N",
        help="number of the trial whose model predicts; by default the one that the registry gets",
    )
    add_json(parser)


def _predict(options: argparse.Namespace) -> int:
    folder = study_of(options)
    state = state_of(folder)
    trial, why = chosen_trial(folder, state, options.trial)
    from karat.tracking.models.tested_model import which_weights

    kept = model_of(folder, state, trial)
    classifier = _classifier(kept)
    found: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for path, reason in image_files(options.files):
        try:
            if reason:
                raise DataError(reason)
            pixels = read_pixels(path, kept.channels)
        except DataError as error:
            unreadable.append({"file": str(path), "reason": str(error)})
            print(f"error: {printable(str(path))}: {printable(str(error))}", file=sys.stderr)
            continue
        found.append({"file": str(path), "top": _top(classifier, pixels, kept.classes)})
    if options.json:
        print_json(
            "predict",
            {
                "study": state.created["name"],
                "trial": trial.number,
                "arm": trial.arm,
                "chosen": why,
                "weights": str(kept.path),
                "classes": list(kept.classes),
                "images": found,
                "unreadable": unreadable,
            },
        )
    else:
        _show(found, f"{named(trial)}, {why}, with {which_weights(trial)}")
    return FAILED if unreadable else OK


def _classifier(kept: "KeptModel") -> "nn.Module":
    """The same module that the registry exports."""
    from karat.models.classifier import ImageClassifier

    if kept.preprocessing is None:
        raise InputError(
            "the study's data set does not say how its images are preprocessed (`Dataset.preprocessing`), "
            "so that images cannot be predicted as they are read"
        )
    return ImageClassifier(kept.model, kept.preprocessing).eval()


def _top(classifier: "nn.Module", pixels: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most probable classes, the first one first."""
    import torch

    with torch.inference_mode():
        [probabilities] = classifier(pixels)
    best = probabilities.topk(min(_TOP, len(classes)))
    return [
        {"class": classes[index], "probability": value}
        for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _show(found: Sequence[dict[str, Any]], who: str) -> None:
    console = make_console()
    console.print(who, soft_wrap=True)
    wide = max((len(each["file"]) for each in found), default=0)
    for each in found:
        told = "   ".join(f"{one['class']} {100 * one['probability']:.1f} %" for one in each["top"])
        console.print(printable(f"{each['file']:<{wide}}   {told}"), soft_wrap=True)


PREDICT = Command(_add_arguments, _predict)
