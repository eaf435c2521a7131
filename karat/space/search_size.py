"""How many trials a search has, and what they must meet: where it is refused."""

import math
from collections.abc import Collection, Mapping, Sequence

from karat.constraints import KNOWN_BEFORE
from karat.errors import SettingError, nearest
from karat.parameters import Tuned
from karat.samplers import MAX_TRIALS, SearchConfig
from karat.space.document import SpaceData
from karat.space.space import Arm
from karat.training.watching.config import HEALTH_METRICS

_REPORTED = ("train_loss", "val_loss", "val_accuracy", "learning_rate")  # of every epoch


def check_search(
    data: SpaceData,
    search: SearchConfig,
    arms: Sequence[Arm],
    references: Collection[str],
    tuned: Mapping[str, Tuned],
) -> None:
    """Refuse a search with fewer trials than arms, a grid with too many trials, and constraints on what is not reported.

    Args:
        data: the space, for messages.
        search: its settings.
        arms: all of them.
        references: labels of the reference arms.
        tuned: all tuned parameters.

    Raises:
        InputError: it is refused.
    """
    _check_constraints(data, search, arms)
    if search.trials is None:
        grid = sum(math.prod(len(tuned[k].ends) for k in arm.tuned) for arm in arms)
        if grid > MAX_TRIALS:
            data.fail(("tuned",), f"the grid has {grid} trials; at most {MAX_TRIALS}")
        return
    if search.allocation != "free" and search.trials < len(arms):
        rule = f"must be at least {len(arms)}, one for each arm"
        data.fail(("search", "trials"), rule, search.trials)
    if search.allocation == "free" and search.trials <= len(references):
        rule = f"must be at least {len(references) + 1}, one for each reference and one more"
        data.fail(("search", "trials"), rule, search.trials)


def _check_constraints(data: SpaceData, search: SearchConfig, arms: Sequence[Arm]) -> None:
    """Refuse constraints on metrics that no trial of the search reports, or not all.

    Raises:
        InputError: names the constraint, and what would be right.
    """
    for place, each in enumerate(search.conditions):
        key, text = f"search.constraints[{place}]", search.constraints[place]
        if each.is_known_before:
            continue
        if each.metric not in (*_REPORTED, *HEALTH_METRICS):
            known = nearest(each.metric, (*KNOWN_BEFORE, *_REPORTED, *HEALTH_METRICS))
            rule = f"{each.metric} is not reported by the trials of a search. {known}"
            data.refuse(SettingError(key, rule, text))
        if each.metric in HEALTH_METRICS and not all(
            arm.sections["training"].get("health", False) for arm in arms
        ):
            rule = f"{each.metric} is reported only with training.health: true"
            data.refuse(SettingError(key, rule, text))
