"""Which cases of a test are slow: those that show the promise of another case once more."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def further(cases: Iterable[Any], keep: int = 1) -> Sequence[Any]:
    """Cases for `pytest.mark.parametrize`, of which all but the first ones are marked slow.

    Args:
        cases: values, or tuples of values for several arguments.
        keep: how many of them `make test` runs, too.
    """
    listed = list(cases)
    return [*listed[:keep], *(_slow(each) for each in listed[keep:])]


def _slow(case: Any) -> Any:
    if hasattr(case, "marks"):  # a pytest.param
        return pytest.param(*case.values, marks=(*case.marks, pytest.mark.slow), id=case.id)
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
