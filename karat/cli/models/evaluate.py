"""`karat evaluate`: the scores of a finished trial on other images of the same classes, clean and corrupted."""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.models.choice import chosen_trial, model_of, named
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import add_storage, state_of, study_folder
from karat.errors import InputError
from karat.terminal import make_console

if TYPE_CHECKING:
    from karat.datasets import Dataset, Images
    from karat.tracking.models.tested_model import KeptModel

_NAMED = 5  # classes in a message


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a model scores on a data set's test split; see `karat.training.testing`."""

    fingerprint: str
    limit: int  # images of each class, 0 for all
    scores: dict[str, Any]
    shifted: dict[str, list[dict[str, Any]]]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trial",
        metavar="STUDY/TRIAL",
        help="a study, by name or folder, and the number of a finished trial; without a number the trial whose "
        "model the registry gets",
    )
    add_storage(parser)
    parser.add_argument(
        "--data", metavar="NAME", help="the data set (image_folder); by default the trial's own"
    )
    parser.add_argument("--root", metavar="FOLDER", help="where the data lies (data.root)")
    parser.add_argument(
        "--corruptions",
        nargs="+",
        default=[],
        metavar="NAME",
        help="evaluate corrupted images too: noise, blur, contrast, pixelate, jpeg, brightness, or all",
    )
    add_json(parser)


def _evaluate(options: argparse.Namespace) -> int:
    name, number = _split(options.trial, options.storage)
    folder = study_folder(name, options.storage)
    state = state_of(folder)
    trial, why = chosen_trial(folder, state, number)
    from karat.planning.data_place import sections_at
    from karat.tracking.models.tested_model import which_weights

    kept = model_of(folder, state, trial)
    own = sections_at(trial.config, state.data_place)["data"]
    data = _data(kept, own, options, _names(options.corruptions))
    found = _scored(kept, data)
    about = {
        "study": state.created["name"],
        "trial": trial.number,
        "arm": trial.arm,
        "chosen": why,
        "weights": str(kept.path),
        "data": {
            "name": options.data or trial.config["data"]["name"],
            "root": options.root,
            "fingerprint": found.fingerprint,
            "limit_per_class": found.limit,
        },
        "classes": list(kept.classes),
    }
    if options.json:
        print_json("evaluate", {**about, "scores": found.scores, "shifted": found.shifted})
    else:
        _show(found, kept.classes, f"{named(trial)}, {why}, with {which_weights(trial)}")
    return OK


def _split(text: str, storage: Path) -> tuple[str, int | None]:
    """Study and number of the trial; a folder of a study may end in a number itself."""
    from karat.journal.layout import JOURNAL

    study, slash, number = text.rpartition("/")
    is_study = any((each / JOURNAL).is_file() for each in (Path(text), storage / text))
    if is_study or not (slash and study and number.isdecimal()):
        return text, None
    return study, int(number)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    from karat.datasets import CORRUPTIONS, check_names

    if list(given) == ["all"]:
        return tuple(CORRUPTIONS)
    check_names("--corruptions", given)
    return tuple(given)


def _data(
    kept: "KeptModel",
    own: Mapping[str, Any],
    options: argparse.Namespace,
    corruptions: Sequence[str],
) -> "Dataset":
    """The data set whose test images are evaluated; `own` is the trial's, where it lies now.

    Raises:
        InputError: it does not fit the model, or is not there.
    """
    from karat.datasets import DATASETS, make_dataset
    from karat.settings import fields_of

    name = options.data or own["name"]
    if name == own["name"]:
        values = {key: value for key, value in own.items() if key != "corruptions"}
    else:
        values = {"name": name}
        if "image_size" in fields_of(DATASETS[name]):
            values["image_size"] = kept.size
    if options.root is not None:
        values["root"] = options.root
    data = make_dataset({**values, "corruptions": list(corruptions)})
    _check(kept, data, name)
    return data


def _check(kept: "KeptModel", data: "Dataset", name: str) -> None:
    info = data.info()
    for what, ours, theirs in (
        ("channels", kept.channels, info.channels),
        ("pixels along an edge", kept.size, info.image_size),
    ):
        if ours != theirs:
            raise InputError(
                f"--data {name}: its images have {theirs} {what}, the model takes {ours}"
            )
    if info.classes != kept.classes:
        known, given = set(kept.classes), set(info.classes)
        parts = [
            f"{word} {', '.join(sorted(names)[:_NAMED])}{', ...' * (len(names) > _NAMED)}"
            for word, names in (("without", known - given), ("with", given - known))
            if names
        ]
        raise InputError(
            f"--data {name}: must have the {len(known)} classes that the model was trained on, in the same "
            f"order; it has {len(given)}{', ' if parts else ''}{' and '.join(parts)}"
        )


def _scored(kept: "KeptModel", data: "Dataset") -> Scored:
    """Evaluate the test split, and its corrupted copies."""
    from karat.datasets import load_splits
    from karat.system.process.memory import PeakMemory
    from karat.training.evaluation import evaluate
    from karat.training.process_group import ProcessGroup
    from karat.training.testing.scores import scores_of
    from karat.training.testing.shifted import shifts_of

    fingerprint = data.check()
    split, group = load_splits(data).test, ProcessGroup()
    kept.model.to(group.device())
    steps, into = data.preprocessing(), kept.preprocessing
    memory, started = PeakMemory(), time.monotonic()
    found = evaluate(kept.model, _as_trained(split, kept, data), group, details=True)
    seconds = time.monotonic() - started
    scores = scores_of(found, len(kept.classes), seconds=seconds, peak_bytes=memory.peak())
    shifted: dict[str, list[dict[str, Any]]] = {}
    if data.corruptions and steps is not None:
        shifted = shifts_of(
            lambda images: evaluate(kept.model, images, group, details=True),
            split,
            steps,
            data.corruptions,
            into,
        )
    limit = getattr(data, "limit_per_class", 0)
    return Scored(fingerprint=fingerprint, limit=limit, scores=scores, shifted=shifted)


def _as_trained(split: "Images", kept: "KeptModel", data: "Dataset") -> "Images":
    """The images, normalised as those that the model was trained with."""
    steps, into = data.preprocessing(), kept.preprocessing
    if steps == into:
        return split
    if steps is None or into is None:
        raise InputError(
            "the data set, or that of the study, does not say how its images are normalised "
            "(`Dataset.preprocessing`), so that one cannot be evaluated as the other"
        )
    from karat.datasets._shifted import Shifted

    return Shifted(split, steps, into=into)


def _show(found: Scored, classes: Sequence[str], who: str) -> None:
    from karat.report.formatting import memory_text

    console = make_console()
    scores = found.scores
    console.print(who, soft_wrap=True)
    rows = [
        ("images", f"{scores['images']:,}{_limited(found.limit)}"),
        ("top-1", _percent(scores["top1"])),
        *([("top-5", _percent(scores["top5"]))] if "top5" in scores else []),
        ("loss", f"{scores['loss']:.4f}"),
        ("calibration error", f"{_percent(scores['calibration_error'])} (15 bins)"),
        ("images per s", f"{scores['images_per_s'] or 0:,.0f}, loading included"),
        ("peak memory", memory_text(scores["peak_bytes"])),
    ]
    for name, text in rows:
        console.print(f"{name:<20}{text}", soft_wrap=True)
    console.print("\naccuracy of each class", soft_wrap=True)
    wide = max(map(len, classes))
    for name, share in zip(classes, scores["per_class"], strict=True):
        console.print(f"    {name:<{wide}}  {_percent(share):>8}", soft_wrap=True, markup=False)
    if found.shifted:
        strengths = "".join(f"{each:>9}" for each in range(1, 6))
        console.print(f"\n{'accuracy by strength':<20}{strengths}     mean", soft_wrap=True)
        for name, entries in found.shifted.items():
            shares = [each["accuracy"] for each in entries]
            text = "".join(f"{_percent(each):>9}" for each in [*shares, sum(shares) / len(shares)])
            console.print(f"    {name:<16}{text}", soft_wrap=True)


def _limited(limit: int) -> str:
    return f", at most {limit} of each class (data.limit_per_class of the study)" if limit else ""


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


EVALUATE = Command(_add_arguments, _evaluate)
