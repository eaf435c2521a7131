"""A control: the operator with functions that are not trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from karat.attention.mechanisms import Place
from karat.attention.mechanisms._operator import OperatorMechanism
from karat.attention.operator_config import OPERATOR_SETTINGS

if TYPE_CHECKING:
    import torch

    from karat.attention.operator import Operator


@dataclass(frozen=True, kw_only=True)
class Frozen(OperatorMechanism):
    """`W Φ(x)` as in `karat`, with the coefficients of all functions as they start.

    A control: random functions of scores whose sizes (the unit scales) and mixing (W) are learned.
    For one seed it starts as `karat` does. Source: our control, docs/decisions/0027-mechanisms.md.
    Speed: the kernels of `attention.kernel`.

    Parameters: `(2 * G + 3) * R * N * H * L`, 765,936 for ViT-Tiny with `basis: fourier` and G = 3,
    of which `2 * R * N * H * L` are trained, 170,208.
    """

    operator_settings: ClassVar[frozenset[str]] = OPERATOR_SETTINGS

    def make(self, place: Place, generator: torch.Generator | None) -> Operator:
        operator = super().make(place, generator)
        for units in filter(None, (operator.phi, operator.phi_2)):
            units.coefficients.requires_grad_(False)
        return operator
