"""Whether the data set, with its training images, is what the journal says of it."""

import json
from collections.abc import Iterator
from typing import Any

from karat.datasets import load_splits
from karat.journal.state import StudyState, data_of
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at
from karat.training.config import TrialConfig
from karat.verification.scores_again import SHOWN

_NUMBERS = ("images", "sizes", "modes")  # of its contents; the rest are sentences, which may change


def of_data(state: StudyState, trial: Trial) -> Iterator[str]:
    """What differs.

    Args:
        state: of the study.
        trial: one of its trials.

    Raises:
        InputError: the data is missing here.
    """
    recorded = data_of(state.created["data"], trial.config["data"])
    data = TrialConfig.from_sections(sections_at(trial.config, state.data_place)).data
    stated = recorded.get("contents")
    # Journals of older versions do not have the contents, which take longer than the fingerprint.
    contents = None if stated is None else data.contents()
    fingerprint = data.check() if contents is None else contents.fingerprint
    if fingerprint != recorded["fingerprint"]:
        yield (
            f"the data set has changed since the study began: sha256 recorded "
            f"{recorded['fingerprint'][:SHOWN]}, found {fingerprint[:SHOWN]}"
        )
        return
    classes = list(data.info().classes)
    if recorded.get("classes", classes) != classes:
        yield f"classes of the data set recorded {_plain(recorded['classes'])}, found {_plain(classes)}"
    now = {} if contents is None else contents.plain()
    for key in _NUMBERS:
        if stated is not None and _plain(stated.get(key)) != _plain(now.get(key)):
            yield f"{key} of the data set recorded {_plain(stated.get(key))}, found {_plain(now.get(key))}"
    splits = load_splits(data)
    # The journal counts the images of one data set, which may be another one where there are several.
    counted = state.images if recorded is state.created["data"] else {}
    for part, count in counted.items():
        found = len(getattr(splits, part, ()))
        if count != found:
            yield f"{count} images of the {part} split recorded, {found} found"


def _plain(value: Any) -> str:
    """As JSON, as in the journal, where tuples and lists are the same."""
    return json.dumps(value, sort_keys=True)
