"""Goals that are weighed against each other."""

import random

import pytest

from karat.errors import SettingError
from karat.goals import dominates, front_of, ranks_of
from karat.samplers import SearchConfig
from karat.settings import build

ACCURATE = {"metric": "val_accuracy", "mode": "max"}
SMALL = {"metric": "parameters", "mode": "min"}


@pytest.mark.parametrize(
    ("goals", "told"),
    [
        ([ACCURATE, {"metric": "parameters"}], r"goals\[1\]\.mode: is missing: a goal needs its direction"),
        ([ACCURATE, {"metric": "parameters", "mode": "max"}], "must be min for parameters, of which low"),
        ([ACCURATE, {"metric": "parameter", "mode": "min"}], "cannot be a goal. did you mean 'parameters'"),
        ([ACCURATE, {"mode": "min"}], r"goals\[1\]\.metric: is missing"),
        ([ACCURATE], "must be 2 or 3 goals; one alone is search.metric"),
        ([ACCURATE, ACCURATE], "names a metric twice"),
        ([SMALL, ACCURATE], "the first must be search.metric, val_accuracy"),
        ([ACCURATE, "parameters"], r"goals\[1\] = 'parameters': must be a mapping"),
    ],
)  # fmt: skip
def test_goals_that_say_nothing_are_refused_in_one_line(goals: list[object], told: str) -> None:
    with pytest.raises(SettingError, match=told) as error:
        build(SearchConfig, {"trials": 9, "goals": goals}, "search")
    assert "\n" not in str(error.value)


def test_ranks_are_those_of_peeling_one_front_after_the_other() -> None:
    points = [(3, 1), (1, 3), (2, 2), (1, 1), (2, 1), (0, 0), (3, 1)]
    assert front_of(points) == [0, 1, 2, 6]
    assert ranks_of(points) == [0, 0, 0, 2, 1, 3, 0]


def test_no_point_of_a_front_dominates_another_and_each_other_point_is_dominated() -> None:
    draw = random.Random(3)
    points = [(draw.random(), draw.random(), draw.random()) for _ in range(60)]
    front = set(front_of(points))
    for place, point in enumerate(points):
        beaten = any(dominates(points[each], point) for each in front)
        assert beaten == (place not in front)
