"""Expressions record what tensors would compute; their derivatives are those of autograd."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from karat.attention.formulas.derivatives import gradients, slopes
from karat.attention.formulas.expressions import Trace, Value
from karat.attention.formulas.in_torch import evaluate

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "polynomial": lambda x: (2 * x - 1) * x * x + 3 - x / 4,
    "quotient": lambda x: (1 - x) / (2 + x.square()),
    "reciprocal": lambda x: 1.0 / (x.abs() + 1.5),
    "waves": lambda x: (3 * x).sin() * x.cos(),
    "activations": lambda x: x.tanh() + x.sigmoid() * x + x.erf(),
    "gaussian": lambda x: (-0.5 * x.square()).exp(),
    "pieces": lambda x: x.where(x < 0.3, x.square()).where(~(x <= -1.0), 2 * x),
    "between": lambda x: (x * x).where((x > -0.7) & (x >= -0.6), -x),
    "bounded": lambda x: x.clamp(min=-0.4) * (x - x.floor()),
    "sign": lambda x: x.sign() * x,
    "constant": lambda x: 0 * x + 1,
}


def points() -> Tensor:
    return torch.linspace(-2.03, 2.07, 83, dtype=torch.float64)


def as_tensor(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(83)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_both_kinds_of_derivatives_are_those_of_torch(name: str) -> None:
    trace = Trace()
    x, above = trace.input("x"), trace.input("above")
    value = FUNCTIONS[name](x)
    (forward,), (backward,) = slopes([value], x), gradients({value: above}, [x])
    inputs = {x: points(), above: torch.full_like(points(), 0.7)}
    found = [as_tensor(each) for each in evaluate([value, forward, backward], inputs)]
    leaf = points().requires_grad_()
    wanted = as_tensor(FUNCTIONS[name](leaf))
    (slope,) = torch.autograd.grad(wanted.sum(), leaf)
    torch.testing.assert_close(found[0], wanted.detach())
    torch.testing.assert_close(found[1], slope)
    torch.testing.assert_close(found[2], 0.7 * slope)


def test_equal_expressions_are_one() -> None:
    x = Trace().input("x")
    assert x.sin() * 2.0 is x.sin() * 2.0
    assert x.sin() is not x.cos()


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x + 0,
        lambda x: 0 + x,
        lambda x: x - 0,
        lambda x: 1 * x,
        lambda x: x / 1,
        lambda x: -1 * -x,
        lambda x: x.where(x < 0, x),
    ],
)
def test_what_changes_nothing_is_left_out(same: Callable[[Value], Value]) -> None:
    x = Trace().input("x")
    assert same(x) is x


def test_a_stated_derivative_is_used_instead_of_the_derived_one() -> None:
    x = Trace().input("x")
    stated = x.square().given(x, 5 * x)
    value, slope = evaluate([stated, *slopes([stated], x)], {x: torch.tensor([3.0])})
    assert (float(value), float(slope)) == (9.0, 15.0)


def test_expressions_in_by_are_independent_of_one_another() -> None:
    trace = Trace()
    x, c = trace.input("x"), trace.input("c")
    inverse = 1.0 / c
    value = x * inverse
    of_inverse, of_c = gradients({value: trace.number(1.0)}, [inverse, c])
    assert of_inverse is x
    assert of_c.constant == 0.0
