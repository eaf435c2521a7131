"""Published results in a space: where they are refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from karat.parameters import Factor
from karat.space.document import SpaceData
from karat.space.published import KEY, VALUE, result_of
from karat.space.space import Arm
from karat.space.yaml_reader import Path_
from karat.statistics.metric import Metric

_KEYS = ("source", "setting", "results")


def check_published(
    data: SpaceData, factors: Mapping[str, Factor], arms: Sequence[Arm], metric: Metric
) -> None:
    """Refuse published results that cannot be read, or of which two are about one arm.

    A result may be about no arm: `--set` may have left its level out.

    Args:
        data: the space.
        factors: all of it.
        arms: all that run.
        metric: what the values are of.

    Raises:
        InputError: they are refused.
    """
    if KEY not in data.data:
        return
    section = data.mapping((KEY,))
    data.known_keys(section, _KEYS, (KEY,))
    for name in ("source", "setting"):
        if not isinstance(given := section.get(name), str) or not given.strip():
            rule = "is missing; it says where the numbers stand"
            if name == "setting":
                rule = "is missing; it says of what the numbers are: data, training, number of runs"
            data.fail((KEY, name), rule)
    entries = data.filled(section.get("results"), (KEY, "results"))
    for index, entry in enumerate(entries):
        _check_result(data, entry, (KEY, "results", index), factors, metric)
    found = list(map(result_of, entries))
    for arm in arms:
        about = [index for index, each in enumerate(found) if each.is_of(arm.factors)]
        if len(about) > 1:
            other = data.place((KEY, "results", about[0]))
            rule = f"is about the arm {arm.label}, as that of {other} is; one result for each arm"
            data.fail((KEY, "results", about[1]), rule)


def _check_result(
    data: SpaceData, entry: Any, path: Path_, factors: Mapping[str, Factor], metric: Metric
) -> None:
    if not isinstance(entry, dict) or VALUE not in entry or len(entry) < 2:
        data.fail(path, "must be {factor: level, ..., value: number}", entry)
    data.known_keys(entry, (*factors, VALUE), path)
    value = data.number((*path, VALUE), entry[VALUE])
    if metric.is_share and not 0 <= value <= 1:
        hint = f"; {value:g} % is {value / 100:g}" if 1 < value <= 100 else ""
        data.fail((*path, VALUE), f"must be a share from 0 to 1{hint}", value)
