"""What may be tuned, and how often independently: where it is refused."""

from collections import Counter
from collections.abc import Collection, Sequence

from karat.parameters import level_in, plain
from karat.samplers import SearchConfig
from karat.space.document import SpaceData
from karat.space.settings import ConfirmConfig
from karat.space.space import Arm

# How fast steps are, and not what is learned: tuned, it would differ between arms by chance.
SAME_FOR_ALL = ("training.precision", "training.compile", "training.micro_batches")


def check_tunings(
    data: SpaceData,
    search: SearchConfig,
    confirm: ConfirmConfig,
    arms: Sequence[Arm],
    references: Collection[str],
) -> None:
    """Refuse to tune how steps are computed, and several tunings that cannot be told apart or have too few trials.

    Args:
        data: the space, for messages.
        search, confirm: its settings; `confirm.by` is known.
        arms: all of them.
        references: labels of the reference arms.

    Raises:
        InputError: they are refused.
    """
    for key in SAME_FOR_ALL:
        if any(key in arm.tuned for arm in arms):
            rule = "is the same for all arms, so that they compare: a fixed value, or a factor"
            data.fail(("tuned", key), rule)
    if confirm.tunings == 1:
        return
    at = ("confirm", "tunings")
    if search.allocation == "free":
        data.fail(at, "must be 1 for search.allocation: free", confirm.tunings)
    if search.warm_start is not None:
        rule = "must be 1 with search.warm_start: tunings that begin with the same results are not independent"
        data.fail(at, rule, confirm.tunings)
    assert confirm.by is not None
    levels = Counter(
        level_in(confirm.by, arm.label, arm.factors) for arm in arms if arm.label not in references
    )
    if several := [level for level, n in levels.items() if n > 1 and level is not None]:
        rule = (
            f"must be 1 if a level of {confirm.by} has several arms, as {plain(several[0])} has: "
            "each tuning could choose another one; make the other factors tuned parameters"
        )
        data.fail(at, rule, confirm.tunings)
    least = len(arms) * confirm.tunings
    if search.trials is not None and search.trials < least:
        rule = f"must be at least {least}, one for each arm and tuning"
        data.fail(("search", "trials"), rule, search.trials)
