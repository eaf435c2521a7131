"""A control: the operator without its activation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from karat.attention.mechanisms._operator import OperatorMechanism
from karat.attention.operator_config import OPERATOR_SETTINGS, OperatorConfig

OF_FUNCTIONS = {"basis", "base_activation", "unit_scales"}


@dataclass(frozen=True, kw_only=True)
class Linear(OperatorMechanism):
    """`W (C x)`: the operator with `φ(x) = c x`, one number c for each output and input.

    A control: the operator's mixing of positions on scores, with no function of them. It is the
    operator with `basis: linear` and no unit scales. Source: our control,
    docs/decisions/0027-mechanisms.md. Speed: the kernels of `attention.kernel`, where `auto` is
    `recompute`.

    Parameters: `2 * R * N * H * L`, 170,208 for ViT-Tiny.
    """

    operator_settings: ClassVar[frozenset[str]] = OPERATOR_SETTINGS - OF_FUNCTIONS

    def of_operator(self) -> OperatorConfig:
        return dataclasses.replace(self.config, basis="linear", unit_scales=False)
