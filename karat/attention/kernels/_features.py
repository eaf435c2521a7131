"""The features that the units of a basis share, and their weight in each unit.

Shapes as in `karat.attention.kernels`; scores are P M L, keys first, so that one feature of all
scores of an operator is contiguous in memory.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import BASES, LinearBasis
from karat.attention.formulas import program_of
from karat.attention.formulas.in_torch import evaluate
from karat.settings import build

Parameters: TypeAlias = "tuple[Sequence[Tensor], Tensor | None, Tensor | None]"
"""Coefficients, and the scales of units and of the base activation; arguments of what follows."""


def feature_weights(
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    spec: str,
) -> Tensor:
    """The weight of each feature in each unit, the base activation last, shape (P, R, F, M).

    Args:
        coefficients: shape (P, R, M, own) each, in the order of the basis.
        unit_scale, base_scale: shape (P, R, M), or None without unit scales.
        spec: `Units.spec`.
    """
    weights = torch.cat([each.mT for each in coefficients], 2)
    if unit_scale is not None:
        weights = weights * unit_scale.unsqueeze(2)
    if has_no_base(spec):
        return weights
    base = torch.ones_like(weights[:, :, :1]) if base_scale is None else base_scale.unsqueeze(2)
    return torch.cat([weights, base], 2)


def feature_weights_backward(
    grad_PRFM: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
) -> Iterator[Tensor | None]:
    """Gradients of the unit scale, the base scale and each coefficient."""
    sizes = [each.shape[3] for each in coefficients]
    of_units, of_base = grad_PRFM[:, :, : sum(sizes)], grad_PRFM[:, :, sum(sizes) :]
    if unit_scale is None:
        yield None
    else:
        yield (of_units * torch.cat([each.mT for each in coefficients], 2)).sum(2)
        of_units = of_units * unit_scale.unsqueeze(2)
    yield of_base.squeeze(2) if base_scale is not None and of_base.shape[2] else None
    first = 0
    for size in sizes:
        yield of_units[:, :, first : first + size].mT
        first += size


def has_no_base(spec: str) -> bool:
    """Whether the units have no base activation."""
    # Not by parsing the JSON, which torch.compile cannot trace.
    return spec.endswith('"zero"]')


class Features:
    """The features of a basis, followed by the base activation if there is one."""

    def __init__(self, spec: str) -> None:
        name, settings, base = json.loads(spec)
        basis = build(BASES[name], settings, "attention")
        assert isinstance(basis, LinearBasis)
        self.basis, self.base = basis, BASE_ACTIVATIONS[base]
        program = program_of(spec, False)
        self.shared = program.shared if program else None

    def write(self, scores_PML: Tensor, out_PFML: Tensor) -> None:
        """Write every feature of the scores into `out_PFML`."""
        if self.shared is None:
            out_PFML.copy_(self._of_any(scores_PML))
            return
        found = evaluate(self.shared.terms, {self.shared.x: scores_PML})
        for out_PML, each in zip(out_PFML.unbind(1), found, strict=True):
            _put(out_PML, each)

    def slope_weights(self, weights_PRFM: Tensor) -> Tensor:
        """The weights for `pull_back`: of the features in φ' if possible, else in φ."""
        if self.shared is None or self.shared.closed is None:
            return weights_PRFM
        closed = weights_PRFM.new_tensor(self.shared.closed)
        return torch.einsum("prfm,fg->prgm", weights_PRFM, closed)

    def pull_back(self, scores_PML: Tensor, features_PFML: Tensor, pulled_PFML: Tensor) -> None:
        """Replace the scores by their gradient.

        Args:
            scores_PML: the scores, overwritten.
            features_PFML: the features, from `write`.
            pulled_PFML: the slope weights, transposed, times the gradient of the rows; overwritten.
        """
        total_PML, *others = pulled_PFML.unbind(1)
        first, *factors = self._factors(scores_PML, features_PFML)
        total_PML.mul_(first)
        for factor, pulled_PML in zip(factors, others, strict=True):
            if isinstance(factor, Tensor):
                total_PML.addcmul_(factor, pulled_PML)
            else:
                total_PML.add_(pulled_PML, alpha=factor)
        scores_PML.copy_(total_PML)

    def _factors(self, scores_PML: Tensor, features_PFML: Tensor) -> Sequence[Tensor | float]:
        """The derivative of each feature, or the feature itself where `slope_weights` has it."""
        if self.shared is None:
            slopes_PFML: Tensor = torch.func.jvp(
                self._of_any, (scores_PML,), (torch.ones_like(scores_PML),)
            )[1]
            return slopes_PFML.unbind(1)
        if self.shared.closed is not None:
            return features_PFML.unbind(1)
        known = dict(zip(self.shared.known, features_PFML.unbind(1), strict=False))
        return evaluate(self.shared.slopes, {self.shared.x: scores_PML, **known})

    def _of_any(self, scores_PML: Tensor) -> Tensor:
        """All features, in the torch operations of a basis that states no formula."""
        features_PFML = self.basis.features(scores_PML)
        if self.base is None:
            return features_PFML
        return torch.cat([features_PFML, self.base(scores_PML).unsqueeze(1)], 1)


def _put(out: Tensor, value: Tensor | float) -> None:
    if isinstance(value, Tensor):
        out.copy_(value)
    else:
        out.fill_(value)


@functools.lru_cache(maxsize=64)
def features_of(spec: str) -> Features:
    """The features for a `Units.spec`."""
    return Features(spec)
