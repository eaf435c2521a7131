"""The features that the units of a basis share, and their weight in each unit.

Shapes as in `karat.attention.kernels`; scores are P M L, keys first, so that one feature of all
scores of an operator is contiguous in memory.
"""

import functools
import json
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import BASES, LinearBasis
from karat.settings import build


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

    def __init__(self, basis: LinearBasis, base: str) -> None:
        self.basis, self.base = basis, BASE_ACTIVATIONS[base]

    def write(self, scores_PML: Tensor, out_PFML: Tensor) -> None:
        """Write every feature of the scores into `out_PFML`."""
        if self.base is None:
            self.basis.write_features(scores_PML, out_PFML)
            return
        self.basis.write_features(scores_PML, out_PFML[:, :-1])
        out_PFML[:, -1] = self.base(scores_PML)

    def slope_weights(self, weights_PRFM: Tensor) -> Tensor:
        """The weights for `pull_back`: of the features in φ' if possible, else in φ."""
        closed = self.basis.slope_weights(weights_PRFM) if self.base is None else None
        return weights_PRFM if closed is None else closed

    def pull_back(self, scores_PML: Tensor, features_PFML: Tensor, pulled_PFML: Tensor) -> None:
        """Replace the scores by their gradient.

        Args:
            scores_PML: the scores, overwritten.
            features_PFML: the features, from `write`.
            pulled_PFML: the slope weights, transposed, times the gradient of the rows.
        """
        factors_PFML = features_PFML
        if self.base is not None or not self.basis.has_closed_slopes:
            factors_PFML = self._slopes(scores_PML)
        torch.mul(factors_PFML[:, 0], pulled_PFML[:, 0], out=scores_PML)
        for factor, pulled in zip(
            factors_PFML.unbind(1)[1:], pulled_PFML.unbind(1)[1:], strict=True
        ):
            scores_PML.addcmul_(factor, pulled)

    def _slopes(self, scores_PML: Tensor) -> Tensor:
        """The derivative of every feature by its score."""

        # One forward-mode pass gives them all, since each feature depends on one score alone.
        def all_features(x: Tensor) -> Tensor:
            found = self.basis.features(x)
            return found if self.base is None else torch.cat([found, self.base(x).unsqueeze(1)], 1)

        slopes: Tensor = torch.func.jvp(
            all_features, (scores_PML,), (torch.ones_like(scores_PML),)
        )[1]
        return slopes


@functools.lru_cache(maxsize=64)
def features_of(spec: str) -> Features:
    """The features for a `Units.spec`."""
    name, settings, base = json.loads(spec)
    basis = build(BASES[name], settings, "attention")
    assert isinstance(basis, LinearBasis)
    return Features(basis, base)
