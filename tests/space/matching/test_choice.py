"""As few settings as suffice are changed, to the values that come closest."""

import pytest

from karat.errors import InputError
from karat.space.matching.choice import (
    MAX_MEASURED,
    Choice,
    Values,
    candidates,
    closest,
    closest_measured,
)


def cost(values: Values) -> float:
    return values.get("rank", 10) * values.get("width", 10)


def test_one_setting_that_reaches_the_target_is_preferred_to_two_that_come_closer() -> None:
    ranges = {"rank": (1, 9), "width": (1, 20)}
    assert closest(cost, ranges, 79, 0.02).values == {"rank": 8}
    assert closest(cost, {"width": (1, 9), "rank": (1, 9)}, 79, 0.02).values == {"width": 8}


def test_two_settings_are_changed_where_one_does_not_reach_the_target() -> None:
    found = closest(cost, {"rank": (1, 9), "width": (1, 9)}, 63, 0.02)
    assert found == Choice({"rank": 7, "width": 9}, 63, 63)


def test_where_nothing_reaches_the_target_the_closest_of_all_is_found() -> None:
    found = closest(cost, {"rank": (1, 4), "width": (1, 4)}, 60, 0.02)
    assert (found.values, found.is_within(0.02)) == ({"rank": 4}, False)
    assert found.deviation == pytest.approx(-1 / 3)


def test_values_that_do_not_go_together_are_passed_over() -> None:
    def only_even(values: Values) -> float:
        if values["rank"] % 2:
            raise InputError("must be even")
        return cost(values)

    assert closest(only_even, {"rank": (1, 9)}, 62, 0.5).values == {"rank": 6}
    with pytest.raises(InputError, match="must be even"):
        closest(only_even, {"rank": (3, 3)}, 70, 0.5)


def test_no_more_combinations_are_tried_than_are_counted_before() -> None:
    tried: list[Values] = []

    def counted(values: Values) -> float:
        tried.append(values)
        return 1

    ranges = {"rank": (1, 3), "width": (1, 4), "depth": (1, 2)}
    closest(counted, ranges, 1000, 0.01)
    assert len(tried) == candidates(ranges) - 1


@pytest.mark.parametrize("bend", [0.5, 1, 2])
def test_a_measured_cost_is_found_with_few_measurements_if_it_grows_with_the_estimate(
    bend: float,
) -> None:
    measured: list[Values] = []

    def measure(values: Values) -> float:
        measured.append(values)
        return 3 * cost(values) ** bend

    target = 3 * 410**bend
    found = closest_measured(measure, cost, {"rank": (1, 100), "width": (1, 9)}, target, 0.05)
    assert list(found.values) == ["rank"]
    assert found.is_within(0.05)
    assert len(measured) <= MAX_MEASURED


def test_a_measured_cost_out_of_reach_is_given_up_after_few_measurements() -> None:
    measured: list[Values] = []

    def measure(values: Values) -> float:
        measured.append(values)
        return cost(values)

    found = closest_measured(measure, cost, {"rank": (1, 100), "width": (1, 20)}, 1e6, 0.05)
    assert found.values == {"rank": 100, "width": 20}
    assert len(measured) <= 3 * MAX_MEASURED


def test_values_that_do_not_go_together_are_not_measured() -> None:
    def only_even(values: Values) -> float:
        if values["rank"] % 2:
            raise InputError("must be even")
        return cost(values)

    measured: list[Values] = []
    found = closest_measured(
        lambda values: measured.append(values) or cost(values),  # type: ignore[func-returns-value]
        only_even,
        {"rank": (1, 9)},
        61,
        0.05,
    )
    assert found.values == {"rank": 6}
    assert all(values["rank"] % 2 == 0 for values in measured)
    with pytest.raises(InputError, match="must be even"):
        closest_measured(cost, only_even, {"rank": (3, 3)}, 70, 0.5)
