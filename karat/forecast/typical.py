"""Configurations that stand for the trials of an arm, where tuned parameters change what a step costs."""

import math
import random
from typing import Any

from karat.errors import InputError
from karat.forecast.probes import FREE
from karat.parameters import Tuned, plain
from karat.seeds import derive
from karat.space.space import Arm, Space
from karat.training.augmentation.settings import SETTINGS
from karat.training.config import TrialConfig
from karat.training.steps.config import COSTLY

MOST = 3
_COSTLY_TRAINING = frozenset(
    f"training.{key}" for key in ("batch_size", "workers", "drop_path", *COSTLY, *SETTINGS)
)


def typical_configs(space: Space, arm: Arm) -> list[dict[str, dict[str, Any]]]:
    """The sections of configurations of an arm.

    Where only parameters are tuned that change no cost (a learning rate), one: with each parameter at its first
    value or lower end. Otherwise `MOST` draws from the ranges, always the same.
    """
    low = arm.config({key: space.tuned[key].ends[0] for key in arm.tuned})
    if not any(map(_is_costly, arm.tuned)):
        return [low]
    draw = random.Random(derive(space.seed, arm.label, "typical"))
    found = []
    for _ in range(MOST):
        drawn = {key: _value(space.tuned[key], draw) for key in arm.tuned if _is_costly(key)}
        sections = arm.config({**_values_of(low, arm), **drawn})
        if _is_possible(sections):
            found.append(sections)
    return found or [low]


def _is_costly(key: str) -> bool:
    section, _, name = key.partition(".")
    return key in _COSTLY_TRAINING if section == "training" else name not in FREE


def _values_of(sections: dict[str, dict[str, Any]], arm: Arm) -> dict[str, Any]:
    split = {key: key.split(".", 1) for key in arm.tuned}
    return {key: sections[section][name] for key, (section, name) in split.items()}


def _value(tuned: Tuned, draw: random.Random) -> Any:
    if tuned.values is not None:
        return plain(draw.choice(tuned.values))
    assert tuned.low is not None
    assert tuned.high is not None
    if tuned.log:
        value = math.exp(draw.uniform(math.log(tuned.low), math.log(tuned.high)))
    else:
        value = draw.uniform(tuned.low, tuned.high)
    is_whole = isinstance(tuned.low, int) and isinstance(tuned.high, int)
    return round(value) if is_whole else value


def _is_possible(sections: dict[str, dict[str, Any]]) -> bool:
    try:
        TrialConfig.from_sections(sections).check()
    except InputError:  # settings that restrict each other; such a trial fails at once
        return False
    return True
