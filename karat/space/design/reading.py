"""The design of a space, what it is made of, and what it prescribes for search and confirmation."""

from collections.abc import Mapping
from dataclasses import replace

from karat.designs import Crossing, Design, design_of
from karat.errors import SettingError, nearest
from karat.parameters import EACH_ARM, Factor, level_of, nearest_level, plain
from karat.samplers import SearchConfig
from karat.schedulers import NONE
from karat.space.document import SpaceData
from karat.space.settings import ConfirmConfig
from karat.space.space import SECTIONS


def read_design(data: SpaceData, factors: Mapping[str, Factor]) -> tuple[Design, Crossing]:
    """The design of a space, and what it is made of.

    Args:
        data: the space.
        factors: its factors.

    Raises:
        SettingError: the design is unknown, or has a wrong setting.
        InputError: the reference names what is no level of a factor, where the design depends on it.
    """
    design = design_of(data.data.get("design"))
    if "design" in data.data and "reference" in data.data:
        if not isinstance(given := data.data["reference"], dict):
            data.fail(("reference",), "must name levels of the factors, as `factor: level`", given)
        refuse_unknown(data, factors)
    return design, Crossing.of(data.data, factors, SECTIONS)


def refuse_unknown(data: SpaceData, factors: Mapping[str, Factor]) -> None:
    """Refuse a `reference` that names what is no factor, or no level of it."""
    for key, value in data.mapping(("reference",)).items():
        if key not in factors:
            rule = f"must be one of the factors. {nearest(key, factors)}"
            data.fail(("reference", key), rule)
        if (level := level_of(value)) not in factors[key].values:
            rule = f"is not a level of this factor. {nearest_level(level, factors[key].values)}"
            data.fail(("reference", key), rule, plain(level))


def with_design(
    data: SpaceData, design: Design, search: SearchConfig, confirm: ConfirmConfig
) -> ConfirmConfig:
    """The confirmation with what a design prescribes.

    Raises:
        SettingError: search, early stopping or confirmation contradict the design.
    """
    name = design.name
    if design.confirms_every_arm:
        if search.allocation != "equal":
            rule = f"must be equal with design {name}, which tunes every arm with as many trials"
            raise SettingError("search.allocation", rule, search.allocation)
        if confirm.by not in (None, EACH_ARM):
            rule = f"must be {EACH_ARM} with design {name}, which confirms every arm, or omitted"
            raise SettingError("confirm.by", rule, confirm.by)
        confirm = replace(confirm, by=EACH_ARM)
    if design.trains_each_cell:
        if search.sampler != "grid":
            rule = f"must be grid with design {name}, which trains every cell"
            raise SettingError("search.sampler", rule, search.sampler)
        stopping = data.mapping(("early_stopping",), {}).get("scheduler", NONE)
        if stopping != NONE:
            rule = f"must be {NONE} with design {name}, which trains every cell at full length, or omitted"
            raise SettingError("early_stopping.scheduler", rule, stopping)
        if confirm.by is None:
            confirm = replace(confirm, by=EACH_ARM)
    return confirm
