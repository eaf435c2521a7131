"""Which groups of arms the trials of a search belong to, and in which order they are asked for."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from karat.parameters import EACH_ARM, Tuned
from karat.planning.plans.confirmation import contests_of
from karat.seeds import derive
from karat.space.space import Arm, Space
from karat.space.stopping import group_of

JOINT = "all arms"


def schedule_of(
    space: Space, begun: Sequence[tuple[str, int]] = (), void: int = 0
) -> list[tuple[str, int]]:
    """Group, and index within the group, of each trial of the search.

    The schedule starts with `begun` and continues with the trials that are missing.
    """
    wanted = _counts(space)
    counted = Counter(group for group, _ in begun[void:])
    used = Counter(group for group, _ in begun)
    missing = {group: max(0, count - counted[group]) for group, count in wanted.items()}
    rest = list(_interleave(missing, derive(space.name, space.seed, "order"), used))
    return [*begun, *rest[: sum(wanted.values()) - len(begun) + void]]


def _counts(space: Space) -> dict[str, int]:
    """The number of trials of each group."""
    search, tunings = space.search, range(space.confirm.tunings)
    counts = {group_of(label, tuning): 0 for tuning in tunings for label in space.arms}
    if search.sampler == "grid":
        for label, arm in space.arms.items():
            size = len(grid_of(arm, space.tuned))
            counts |= {group_of(label, tuning): size for tuning in tunings}
    else:
        assert search.trials is not None
        if search.allocation == "by_level":
            # Each contest in turn gives its next trial to the next of its arms.
            turns = [
                itertools.cycle([group_of(arm.label, contest.tuning) for arm in contest.arms])
                for contest in contests_of(space)
            ]
            for _, turn in zip(range(search.trials), itertools.cycle(turns), strict=False):
                counts[next(turn)] += 1
        elif search.allocation == "free":
            assert space.confirm.by is not None
            references = space.reference_arms
            is_by_arm = space.confirm.by == EACH_ARM
            levels = space.references if is_by_arm else space.factors[space.confirm.by].values
            contests = len(references) + len(levels)
            share = max(1, search.trials // contests)
            counts = dict.fromkeys(references, share)
            counts[JOINT] = search.trials - share * len(references)
        else:
            for index, label in zip(range(search.trials), itertools.cycle(counts), strict=False):
                assert index >= 0
                counts[label] += 1
    return counts


def _interleave(
    counts: Mapping[str, int], seed: int, used: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """One trial per group in each round, in a new random order, so that no arm is always first.

    Args:
        counts: number of trials of each group.
        seed: of the order.
        used: number of earlier trials of each group; its indices continue from there.
    """
    draw = random.Random(seed)
    for index in range(max(counts.values())):
        groups = [group for group, count in counts.items() if index < count]
        draw.shuffle(groups)
        yield from ((group, used[group] + index) for group in groups)


def grid_of(arm: Arm, tuned: Mapping[str, Tuned]) -> list[dict[str, Any]]:
    """Every combination of the tuned values of an arm; the reader has refused ranges before."""
    values = [tuned[key].values or () for key in arm.tuned]
    return [dict(zip(arm.tuned, each, strict=True)) for each in itertools.product(*values)]
