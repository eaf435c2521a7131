"""The linear basis: `φ(x) = c x`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import LinearBasis
from karat.attention.initialization import fan_in

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Linear(LinearBasis):
    """`φ(x) = c x`, with one number c per unit: the operator without an activation.

    A control, which is also `attention.mechanism: linear`. Source: ours,
    docs/decisions/0027-mechanisms.md. Coefficients of a unit: `c`, shape (1,).
    `init: paper` draws c ~ N(0, 1), as the KArAt paper (arXiv 2503.10632) for its bases;
    `init: fan_in` N(0, 1/M).
    """

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"c": (1,)}

    def flops_per_unit(self) -> int:
        """One multiply-add."""
        return 1

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        std = 1.0 if start == "paper" else fan_in(out.shape[2], self.features)
        out.normal_(0.0, std, generator=generator)

    def terms(self, x: Any) -> list[Any]:
        return [x]
