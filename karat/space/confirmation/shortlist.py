"""The shortlist of cells that are trained again before one is confirmed: where it is refused."""

from collections.abc import Mapping, Sequence

from karat.parameters import EACH_ARM, Level, level_in, level_text
from karat.samplers import SearchConfig
from karat.schedulers import ArmSize
from karat.space.document import SpaceData
from karat.space.settings import ConfirmConfig
from karat.space.space import Arm
from karat.space.stopping import group_of


def check_shortlist(
    data: SpaceData,
    search: SearchConfig,
    confirm: ConfirmConfig,
    arms: Sequence[Arm],
    references: Mapping[Level, str],
    sizes: Mapping[str, ArmSize],
) -> None:
    """Refuse a shortlist that is longer than a list of the trials from which it is taken.

    Args:
        data: the space, for messages.
        search, confirm: its settings; `confirm.by` is known.
        arms: all of them.
        references: level to the label of its reference.
        sizes: how much is searched in each arm and tuning.

    Raises:
        InputError: it is refused.
    """
    if confirm.shortlist == 1:
        return
    counts = trials_of_contests(search, confirm, arms, references, sizes)
    name = min(counts, key=lambda each: counts[each])
    if confirm.shortlist > counts[name]:
        tuning = " in each tuning" if confirm.tunings > 1 else ""
        mean = " on average" if search.allocation == "free" else ""
        more = "tuned values" if search.trials is None else "search.trials"
        rule = (
            f"must be at most {counts[name]}, the number of search trials that {name} has{tuning}{mean}; "
            f"use fewer cells or more {more}"
        )
        data.fail(("confirm", "shortlist"), rule, confirm.shortlist)


def trials_of_contests(
    search: SearchConfig,
    confirm: ConfirmConfig,
    arms: Sequence[Arm],
    references: Mapping[Level, str],
    sizes: Mapping[str, ArmSize],
) -> dict[str, int]:
    """Search trials from which each cell to confirm is chosen, by reference or level; the fewest of all tunings.

    Where the sampler chooses the arms (`allocation: free`), their mean.
    """
    assert confirm.by is not None
    groups: dict[str, list[str]] = {}
    for arm in arms:
        level, is_own = level_in(confirm.by, arm.label, arm.factors), confirm.by == EACH_ARM
        if arm.label in references.values():
            groups[arm.label] = [arm.label]
        elif level in references:
            name = f"{confirm.by.rpartition('.')[2]}={level_text(level)}"
            groups.setdefault(arm.label if is_own else name, []).append(arm.label)
    if search.allocation != "equal":
        assert search.trials is not None
        return dict.fromkeys(groups, search.trials // (len(groups) * confirm.tunings))
    return {
        name: min(
            sum(sizes[group_of(label, tuning)].trials or 0 for label in labels)
            for tuning in range(confirm.tunings)
        )
        for name, labels in groups.items()
    }
