"""Places from 0 to 1 and values."""

from collections import Counter

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from karat.samplers._unit import place_of, value_at

RANGES = [
    FloatDistribution(-1.0, 3.0),
    FloatDistribution(1e-5, 1e-1, log=True),
    IntDistribution(2, 9),
    IntDistribution(1, 64, log=True),
]


@pytest.mark.parametrize("each", RANGES, ids=str)
def test_a_value_and_its_place_belong_together(each: BaseDistribution) -> None:
    for place in (0.0, 0.25, 0.5, 1.0):
        value = value_at(each, place)
        assert each._contains(each.to_internal_repr(value))
        assert value_at(each, place_of(each, value)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("each", [IntDistribution(2, 4), CategoricalDistribution("abc")], ids=str)
def test_each_value_of_a_list_has_an_equal_part(each: BaseDistribution) -> None:
    counts = Counter(value_at(each, (place + 0.5) / 300) for place in range(300))
    assert set(counts.values()) == {100}
