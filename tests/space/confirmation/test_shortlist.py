"""A shortlist that cannot be is refused before anything runs, with file, line and what would be right."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.planning.extension import changes_between
from karat.planning.plans.confirmation import contests_of
from karat.planning.plans.schedule import schedule_of
from karat.space.confirmation.shortlist import trials_of_contests
from karat.space.reader import load_space, space_of
from karat.space.space import Space
from karat.space.stopping import group_of
from tests.spaces import MATCHED

WriteSpace = Callable[..., Path]
GRID = (
    ("sampler: tpe, trials: 6", "sampler: grid"),
    ("{low: 1e-3, high: 1e-2, log: true}", "{values: [0.001, 0.01]}"),
)
BY_BASIS = ("by: attention.grid_size", "by: attention.basis")


@pytest.mark.parametrize(
    ("exchanges", "message"),
    [
        ([("seeds: 2", "seeds: 2, shortlist: 0")], "confirm.shortlist = 0: must be at least 1"),
        ([("seeds: 2", "seeds: 2, shortlist: 1.5")], "confirm.shortlist = 1.5: must be a whole number"),
        ([("seeds: 2", "seeds: 2, shortlist: yes")], "confirm.shortlist = 'yes': must be a whole number"),
        ([("seeds: 2", "seeds: 2, shortlists: 2")], "shortlist"),
        (
            [("seeds: 2", "seeds: 2, shortlist_seeds: 3")],
            "confirm.shortlist_seeds = 3: has no effect with shortlist = 1; omit it, or set shortlist to at least 2",
        ),
        ([("seeds: 2", "seeds: 2, shortlist: 1, shortlist_seeds: 2")], "has no effect with shortlist = 1"),
        ([("seeds: 2", "seeds: 2, shortlist: 2, shortlist_seeds: 0")], "must be at least 1"),
        ([("seeds: 2", "seeds: 2, shortlist: 2, shortlist_seeds: 2000")], "must be at most 1000"),
        (
            [("seeds: 2", "seeds: 2, shortlist: 3")],
            "confirm.shortlist = 3: must be at most 2, the number of search trials that softmax has; "
            "use fewer cells or more search.trials",
        ),
        (
            [*GRID, ("seeds: 2", "seeds: 2, shortlist: 3")],
            "must be at most 2, the number of search trials that softmax has; use fewer cells or more tuned values",
        ),
        (
            [("trials: 6", "trials: 13"), ("seeds: 2", "seeds: 4, tunings: 2, shortlist: 3")],
            "must be at most 2, the number of search trials that softmax has in each tuning",
        ),
        (
            [("trials: 6", "trials: 8, allocation: free"), ("seeds: 2", "seeds: 2, shortlist: 3")],
            "must be at most 2, the number of search trials that softmax has on average",
        ),
    ],
)  # fmt: skip
def test_a_shortlist_that_cannot_be_is_refused_with_its_line(
    write_space: WriteSpace, exchanges: list[tuple[str, str]], message: str
) -> None:
    path = write_space(*exchanges)
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert message in str(caught.value)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))


def test_arms_of_a_level_count_together(write_space: WriteSpace) -> None:
    four = ("seeds: 2", "seeds: 2, shortlist: 3")
    path = write_space(BY_BASIS, four)
    with pytest.raises(InputError, match="that softmax has"):
        load_space(path)
    assert (
        load_space(write_space(BY_BASIS, four, ("trials: 6", "trials: 9"))).confirm.shortlist == 3
    )


def counts_of(space: Space) -> list[int]:
    """Search trials of each contest, by the schedule of the search."""
    groups = Counter(group for group, _ in schedule_of(space))
    return [
        sum(groups[group_of(arm.label, contest.tuning)] for arm in contest.arms)
        for contest in contests_of(space)
    ]


@pytest.mark.parametrize(
    ("exchanges", "text"),
    [
        ([("trials: 6", "trials: 11")], None),
        ([("trials: 6", "trials: 11"), BY_BASIS], None),
        ([("trials: 6", "trials: 11"), ("by: attention.grid_size", "by: arm")], None),
        ([("trials: 6", "trials: 17"), ("seeds: 2", "seeds: 4, tunings: 2")], None),
        ([("trials: 6", "trials: 11, allocation: by_level"), BY_BASIS], None),
        ([*GRID], None),
        ([*GRID, BY_BASIS], None),
        ([("trials: 12", "trials: 15")], MATCHED),
    ],
)
def test_the_bound_is_what_the_schedule_gives_to_the_contest_with_the_fewest(
    write_space: WriteSpace, exchanges: list[tuple[str, str]], text: str | None
) -> None:
    space = load_space(write_space(*exchanges, **({} if text is None else {"text": text})))
    arms = list(space.arms.values())
    bound = trials_of_contests(space.search, space.confirm, arms, space.references, space.sizes)
    assert min(bound.values()) == min(counts_of(space))


def test_two_fresh_seeds_are_the_default_and_the_same_question_when_written_out(
    write_space: WriteSpace,
) -> None:
    default = load_space(write_space(("seeds: 2", "seeds: 2, shortlist: 2")))
    written = load_space(write_space(("seeds: 2", "seeds: 2, shortlist: 2, shortlist_seeds: 2")))
    assert (default.confirm.fresh_seeds, default.confirm.shortlist_runs) == (2, 4)
    assert changes_between(default, written) == []
    again = space_of(default.source, default.name, "journal")
    assert again == default


def test_without_a_shortlist_nothing_is_trained_again(small_space: Space) -> None:
    assert (small_space.confirm.fresh_seeds, small_space.confirm.shortlist_runs) == (0, 0)


def test_seeds_of_a_shortlist_are_those_of_no_other_phase(small_space: Space) -> None:
    seeds = {
        phase: {small_space.seed_of(phase, index) for index in range(1000)}
        for phase in ("search", "shortlist", "confirm")
    }
    assert not seeds["shortlist"] & (seeds["search"] | seeds["confirm"])
