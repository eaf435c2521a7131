"""Where a data set lies, which is no part of the question: the fingerprint says whether it is the same.

Journals and checkpoints keep the place that the study began with. Where the data is looked for now is put in its place
only where images are read, so that a study whose data was moved has the same trials as before.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from karat.space.space import Space

PLACE = ("root", "download")  # settings of `data` that are no part of the question
Sections = Mapping[str, Mapping[str, Any]]


def data_place(space: Space) -> dict[str, Any]:
    """The place of a space's data, absolute from the folder of this process; empty for data without one.

    Empty as well where the root is a factor: then it is part of the question.
    """
    root = space.data.get("root")
    if not isinstance(root, str):
        return {}
    return {**place_in(space), "root": os.path.abspath(Path(root).expanduser())}


def place_in(space: Space) -> dict[str, Any]:
    """The place of its data as a space has it."""
    return {key: space.data[key] for key in PLACE if key in space.data}


def without_place(data: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data` without where the data lies."""
    return {key: value for key, value in data.items() if key not in PLACE}


def sections_at(sections: Sections, place: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a configuration, with the data at a place of `data_place`."""
    found = {name: dict(values) for name, values in sections.items()}
    found["data"] |= place
    return found


def space_at(space: Space, place: Mapping[str, Any]) -> Space:
    """A space with its data at a place of `data_place`; its source, and so its hash, is not changed."""
    if not place:
        return space
    arms = {
        label: replace(arm, sections=sections_at(arm.sections, place))
        for label, arm in space.arms.items()
    }
    return replace(space, data={**space.data, **place}, arms=arms)
