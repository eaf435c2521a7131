import math
from itertools import pairwise

import pytest

from karat.report.figures.scales import Scale, cut, most_of, range_of, tick_text
from karat.report.figures.style import spread
from karat.report.figures.svg import element, escaped, fitted, number, text, width_of


@pytest.mark.parametrize(
    ("low", "high", "log", "most", "expected"),
    [
        (97.2, 99.1, False, 5, ["97.5", "98", "98.5", "99"]),
        (-0.5, 1.2, False, 4, ["-0.5", "0", "0.5", "1"]),
        (0.001, 0.02, True, 6, ["0.001", "0.002", "0.003", "0.005", "0.01", "0.02"]),
        (1e-6, 1.0, True, 4, ["1e-6", "0.0001", "0.01", "1"]),
        (3.0, 3.5, True, 4, ["3", "3.2", "3.4"]),
        (41_000, 70_000, False, 3, ["50,000", "60,000", "70,000"]),
    ],
)
def test_ticks_are_round_and_not_too_many(
    low: float, high: float, log: bool, most: int, expected: list[str]
) -> None:
    scale = Scale(low=low, high=high, start=0, stop=100, log=log)
    assert [tick_text(value) for value in scale.ticks(most)] == expected


@pytest.mark.parametrize("low", [0.0, 0.07178, 94.3, 1e-9, -3e7])
@pytest.mark.parametrize("span", [1e-6, 0.31, 4.9, 3e8])
def test_there_are_at_least_two_ticks_on_the_axis(low: float, span: float) -> None:
    scale = Scale(low=low, high=low + span, start=0, stop=1)
    ticks = scale.ticks(3)
    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_percentages_stay_between_0_and_100() -> None:
    assert range_of([99.0, 100.0], share=True)[1] == 100
    assert range_of([0.0, 0.4], share=True)[0] == 0
    assert range_of([100.0, 100.0], share=True) < (100.0, 100.1)
    assert range_of([0.2, 0.9])[1] > 0.9


def test_a_range_of_one_value_is_a_range() -> None:
    for value in (0.0, 0.5, 100.0, 1e9):
        low, high = range_of([value], least=1.0)
        assert low <= value <= high
        assert low < high


def test_only_values_far_off_are_left_out() -> None:
    assert most_of([70.0, 96.0, 97.0, 97.5, 98.0]) == [96.0, 97.0, 97.5, 98.0]
    assert most_of([96.0, 97.0, 97.5, 98.0, 99.0]) == [96.0, 97.0, 97.5, 98.0, 99.0]
    assert most_of([1.0, 50.0, 99.0]) == [1.0, 50.0, 99.0]
    assert most_of([5.0] * 9 + [7.0]) == [5.0] * 9 + [7.0]


def test_a_line_is_cut_where_the_box_ends_and_goes_on_where_it_comes_back() -> None:
    points = [(0.0, 5.0), (5.0, 5.0), (20.0, 5.0), (20.0, 30.0), (5.0, 7.0)]
    first, second = cut(points, 0, 0, 10, 10)
    assert first == [(0.0, 5.0), (5.0, 5.0), (10.0, 5.0)]
    assert second[-1] == (5.0, 7.0)
    assert second[0][1] == pytest.approx(10)
    assert cut([(20.0, 20.0), (30.0, 30.0)], 0, 0, 10, 10) == []
    assert cut([(3.0, 3.0)], 0, 0, 10, 10) == []


def test_names_are_spread_without_overlap_and_near_to_where_they_belong() -> None:
    assert spread([10, 100], 14, 0, 200) == [10, 100]
    assert spread([50, 50, 50], 10, 0, 200) == [40, 50, 60]
    assert spread([199, 199], 14, 0, 200) == [186, 200]
    places = spread([5, 5, 5, 5, 90, 91], 10, 0, 100)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(places))
    assert min(places) >= 0
    assert max(places) <= 100


def test_text_is_escaped_and_what_xml_cannot_hold_is_replaced() -> None:
    assert escaped('a<b> & "c"\x00') == "a&lt;b&gt; &amp; &quot;c&quot;\ufffd"
    assert ">a&lt;b<" in text(1, 2, "a<b")
    assert element("g", data_arm='"><script>') == '<g data-arm="&quot;&gt;&lt;script&gt;"/>'


def test_coordinates_are_short() -> None:
    assert [number(x) for x in (1.0, -0.01, 0.04, -0.06, 10.26, 1e3)] == [
        *("1", "0", "0", "-0.1", "10.3", "1000"),
    ]


def test_a_name_without_room_keeps_beginning_and_end() -> None:
    short = fitted("fourier grid_size=3 universal at embed_dim=24", 150)
    assert width_of(short) <= 150
    assert short.startswith("fourier")
    assert short.endswith("24")
    assert "…" in short
    assert fitted("softmax", 150) == "softmax"
    assert math.isclose(width_of("aa"), 2 * width_of("a"))
