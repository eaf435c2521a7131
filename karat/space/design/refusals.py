"""Designs that cannot be run: too many arms, or one that is needed and cannot run."""

from typing import NoReturn

from karat.designs import Crossing, Design
from karat.errors import InputError
from karat.space.document import SpaceData
from karat.space.settings import ConfirmConfig

MAX_ARMS = 6000


def refuse_explosion(data: SpaceData, design: Design, crossing: Crossing) -> NoReturn:
    """Refuse a design with too many arms: how many there are, and what they would cost at least."""
    count = design.largest(crossing)
    sizes = " x ".join(str(len(factor.values)) for factor in crossing.factors.values())
    most = "" if crossing.is_crossed else "up to "
    confirm = data.mapping(("confirm",), {})
    seeds = confirm.get("seeds", ConfirmConfig().seeds)
    price = ""
    if design.confirms_every_arm and isinstance(seeds, int):
        runs = count * (1 + seeds)
        price = f", at least {runs:,} trainings (one of the search and {seeds} seeds each)"
    rule = (
        f"design {design.name} has {most}{count:,} arms ({sizes} levels){price}; at most {MAX_ARMS:,} arms can be: use fewer "
        "factors or levels, or design one_factor or fractional"
    )
    data.fail(("factors",), rule)


def refuse_gap(
    data: SpaceData, design: Design, label: str, rule: str, keys: tuple[str, ...]
) -> NoReturn:
    """Refuse a design that needs an arm which cannot run."""
    at = next((key for key in keys if data.stands(key)), "design")
    place = data.place(data.path_of(at))
    raise InputError(
        f"{place}: design {design.name} needs every one of its arms, and {label} cannot run: {rule}; use design "
        "factorial, which leaves it out, or other levels"
    )
