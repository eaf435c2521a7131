"""Shares of lines and planes on which a known loss is below a level."""

import numpy as np
import pytest
import torch
from torch import Tensor

from karat.analyses.geometry.surface import along, area_below, over_plane, share_below

STEPS = np.linspace(-1, 1, 41)
UNEVEN = np.sign(STEPS) * np.abs(STEPS) ** 1.5


def bowl(vector: Tensor) -> float:
    return 2 + float((vector * vector).sum())


@pytest.mark.parametrize("steps", [STEPS, UNEVEN], ids=["even", "uneven"])
def test_the_area_of_a_bowl_is_that_of_a_circle(steps: np.ndarray) -> None:
    zero, axes = torch.zeros(2), torch.eye(2)
    plane = over_plane(bowl, zero, (axes[0], axes[1]), steps, steps)
    assert area_below(plane, steps, steps, 2.25) == pytest.approx(np.pi * 0.25 / 4, rel=0.02)
    line = along(bowl, zero, axes[0], steps)
    assert share_below(line, steps, 2.25) == pytest.approx(0.5, rel=0.02)
    assert area_below(plane, steps, steps, 5) == 1
    assert area_below(plane, steps, steps, 2) == 0


def test_a_row_of_a_plane_is_a_step_of_the_second_direction() -> None:
    axes = torch.eye(2)
    steps = np.array([0.0, 1.0, 3.0])
    plane = over_plane(lambda v: float(v[0] + 10 * v[1]), axes[0], (axes[0], axes[1]), steps, steps)
    np.testing.assert_allclose(plane, 1 + steps + 10 * steps[:, None])


def test_losses_that_are_not_finite_are_not_below() -> None:
    line = np.array([np.inf, 0.0, np.nan])
    assert share_below(line, np.array([-1.0, 0.0, 1.0]), 1.0) < 0.01
