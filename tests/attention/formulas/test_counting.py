"""What formulas take is counted by hand here."""

import json

import pytest

from karat.attention.bases import BASES
from karat.attention.formulas.counting import BOTH, WEIGHTS, operations, unit_work
from karat.attention.formulas.expressions import Trace


def test_a_product_counts_with_the_sum_that_alone_uses_it() -> None:
    trace = Trace()
    x, y = trace.input("x"), trace.input("y")
    assert operations([x * y + 1.0]) == 1
    assert operations([x * y + x * 3.0]) == 2
    product = x * y
    assert operations([product + 1.0, product - 2.0]) == 3


def test_an_expression_that_is_used_twice_counts_once() -> None:
    x = Trace().input("x")
    assert operations([x.exp() * x.exp()]) == WEIGHTS["exp"] + 1


def test_sine_and_cosine_of_one_angle_are_cheaper_than_of_two() -> None:
    x = Trace().input("x")
    assert operations([x.sin(), x.cos()]) == BOTH
    assert operations([x.sin(), (2.0 * x).cos()]) == WEIGHTS["sin"] + WEIGHTS["cos"] + 1


def test_what_is_known_costs_nothing() -> None:
    x = Trace().input("x")
    inner = x.exp()
    assert operations([inner / x], {inner.index}) == WEIGHTS["div"]


@pytest.mark.parametrize("grid", [1, 3])
def test_fourier_units_are_counted_as_by_hand(grid: int) -> None:
    """Features twice, four operations for each further frequency; four sums, and F for the score."""
    work = unit_work(json.dumps(["fourier", {"grid_size": grid}, "zero"]), True, 12)
    assert work is not None
    assert work.functions == 2 * (BOTH + 4 * (grid - 1))
    assert work.products == 4 * 2 * grid * 12 + 2 * grid


@pytest.mark.parametrize("basis", BASES)
def test_more_outputs_and_a_base_activation_take_more(basis: str) -> None:
    few, many, with_base = (
        unit_work(json.dumps([basis, {}, base]), True, outputs)
        for base, outputs in (("zero", 4), ("zero", 12), ("gelu", 12))
    )
    assert few is not None
    assert many is not None
    assert with_base is not None
    assert 0 < few.as_products < many.as_products < with_base.as_products
