"""Weights that every arm starts from on its own: `model.init_from` as a mapping from labels of arms."""

from collections.abc import Collection, Mapping
from typing import Any

from karat.errors import nearest
from karat.models.config import SAME_ARM, SCRATCH
from karat.space.document import SpaceData

INIT_FROM = "model.init_from"


def with_weights(model: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The section `model` of an arm, with the weights that a mapping has for its label.

    An arm that the mapping lacks is drawn here, and refused by `check_weights` if it can run.
    """
    given = model.get("init_from")
    if not isinstance(given, Mapping):
        return dict(model)
    return {**model, "init_from": given.get(label, SCRATCH)}


def check_weights(data: SpaceData, labels: Collection[str], running: Collection[str]) -> None:
    """Refuse a mapping that is not about the arms, and `STUDY/same arm` as one of several values.

    Args:
        data: of the space.
        labels: of all combinations of levels.
        running: those of them that can run, each of which needs its weights.

    Raises:
        InputError: with file and line.
    """
    for group in ("factors", "tuned"):
        given = data.mapping((group,), {}).get(INIT_FROM, [])
        values = given.get("values", []) if isinstance(given, Mapping) else given
        if several := [each for each in values if str(each).endswith(SAME_ARM)]:
            rule = (
                f"can only be a fixed value ({INIT_FROM}), from which each arm gets its own weights"
            )
            data.fail((group, INIT_FROM), rule, several[0])
    given = data.mapping(("model",), {}).get("init_from")
    if not isinstance(given, Mapping):
        return
    path = ("model", "init_from")
    for label in given:
        if label not in labels:
            data.fail((*path, label), f"is no arm. {nearest(str(label), labels)}")
    for label in running:
        if label not in given:
            rule = f"has no weights for the arm {label}; {SCRATCH} stands for drawn ones"
            data.fail(path, rule)
