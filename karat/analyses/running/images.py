"""Which validation images of a study the models are looked at with: all that can be read, the same for every model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from karat.datasets import Dataset, Images, load_splits
from karat.datasets._reading.decode import ADVICE
from karat.errors import AnalysisError, DataError
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at
from karat.training.config import TrialConfig


@dataclass(frozen=True)
class Looked:
    """What a look at the images has found.

    Args:
        unreadable: place in the validation split to why the image there cannot be read.
        problem: why none of them can be used; empty if they can.
    """

    unreadable: Mapping[int, str] = field(default_factory=dict)
    problem: str = ""


def look_at_images(state: StudyState, trial: Trial, count: int) -> Looked:
    """Read the images that the analyses of a trial would look at.

    Args:
        state: of the study.
        trial: of it.
        count: at most so many images.
    """
    data = TrialConfig.from_sections(sections_at(trial.config, state.data_place)).data
    try:
        if problem := _changed(state, data):
            return Looked(problem=problem)
        split, unreadable = load_splits(data).val, {}
        for place in places(split, count):
            try:
                split[place]
            except DataError as error:
                unreadable[place] = " ".join(str(error).split()).removesuffix(f"; {ADVICE}")
    except DataError as error:
        return Looked(problem=" ".join(str(error).split()))
    if len(unreadable) == len(places(split, count)):
        return Looked(problem=next(iter(unreadable.values())))
    return Looked(unreadable=unreadable)


def _changed(state: StudyState, data: Dataset) -> str:
    """How the numbers of images differ from the journal's: then other images are split off for validation.

    The content of the files is not compared: that takes a look at every image (`karat verify`).
    """
    # The journal has the numbers of one trial: where trials differ in their data, they are not those of all.
    settings = [trial.config["data"] for trial in state.trials.values()]
    if any(each != settings[0] for each in settings):
        return ""
    splits = load_splits(data)
    for part, words in (("val", "validation"), ("train", "training")):
        then, now = state.images.get(part), len(getattr(splits, part))
        if then is not None and then != now:
            return (
                f"the data has changed since the study began ({then:,} {words} images then, {now:,} now), so "
                "that validation images may be some that the model was trained on"
            )
    return ""


def places(split: Images, count: int) -> list[int]:
    """Places of at most so many images, spread evenly over a split."""
    size = len(split)  # type: ignore[arg-type]
    return [int(each) for each in np.unique(np.linspace(0, size - 1, min(count, size)).round())]


def some_images(split: Images, count: int, without: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """At most so many images of a split, spread evenly over it: (I, C, H, W), and their classes: (I,).

    Args:
        split: pairs of image and class.
        count: at most so many.
        without: places that are left out.

    Raises:
        AnalysisError: none is left.
    """
    found = [split[place] for place in places(split, count) if place not in without]
    if not found:
        raise AnalysisError("none of the images can be read")
    images = torch.stack([torch.as_tensor(image) for image, _ in found]).float()
    return images, torch.tensor([int(label) for _, label in found])
