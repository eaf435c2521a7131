"""How many trials a search has: where it is refused."""

import math
from collections.abc import Collection, Mapping, Sequence

from karat.parameters import Tuned
from karat.samplers import MAX_TRIALS, SearchConfig
from karat.space.document import SpaceData
from karat.space.space import Arm


def check_search(
    data: SpaceData,
    search: SearchConfig,
    arms: Sequence[Arm],
    references: Collection[str],
    tuned: Mapping[str, Tuned],
) -> None:
    """Refuse a search with fewer trials than arms, and a grid with too many trials.

    Args:
        data: the space, for messages.
        search: its settings.
        arms: all of them.
        references: labels of the reference arms.
        tuned: all tuned parameters.

    Raises:
        InputError: it is refused.
    """
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
