"""Rows of units that share no features, and their gradients, a block of queries at a time.

In torch operations: every unit of every score of a block is in memory. Shapes as in
`karat.attention.kernels`.
"""

import torch
from torch import Tensor

from karat.attention.formulas.expressions import Value
from karat.attention.formulas.in_torch import evaluate
from karat.attention.kernels._blocks import blocks, from_columns, to_columns
from karat.attention.kernels._features import Parameters
from karat.attention.kernels._parameters import OwnUnits


def unit_rows_in_blocks(
    q: Tensor,
    k: Tensor,
    parameters: Parameters,
    scale: float,
    spec: str,
) -> Tensor:
    """`sum_m unit_rm(scale q kᵀ)`, shape (B, H, R, N)."""
    own, some = _Units(parameters, spec), parameters[0][0]
    operators, outputs = some.shape[:2]
    rows = some.new_empty(*q.shape[:2], outputs, q.shape[2])
    for images, queries in blocks(q, k, outputs):
        some_q = q[images, :, queries]
        scores_PML = _scores(some_q, k[images], scale, rows.dtype, operators)
        rows[images, :, :, queries] = from_columns(own.rows(scores_PML), some_q.shape)
    return rows


def unit_rows_backward_in_blocks(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    parameters: Parameters,
    scale: float,
    spec: str,
) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Gradients of q, k, and of the parameters as in `_operations`; and the rows."""
    own, some = _Units(parameters, spec), parameters[0][0]
    operators, outputs = some.shape[:2]
    grad_q, grad_k = (some.new_zeros(x.shape) for x in (q, k))
    rows = torch.empty_like(grad, memory_format=torch.contiguous_format)
    for images, queries in blocks(q, k, outputs):
        some_q, some_k = (x.to(grad_q.dtype) for x in (q[images, :, queries], k[images]))
        scores_PML = _scores(some_q, some_k, scale, grad_q.dtype, operators)
        rows_PRL, grad_scores_PML = own.backward(
            scores_PML, to_columns(grad[images, :, :, queries], operators)
        )
        rows[images, :, :, queries] = from_columns(rows_PRL, some_q.shape)
        grad_scores_BHMN = scale * from_columns(grad_scores_PML, some_q.shape)
        grad_q[images, :, queries] = grad_scores_BHMN.mT @ some_k
        grad_k[images] += grad_scores_BHMN @ some_q
    found = own.gradients(own.sums_PRM, own.grad_base_PRM)
    return grad_q.to(q.dtype), grad_k.to(k.dtype), found, rows


class _Units(OwnUnits):
    """The units of one call, and the sums of the gradients of what they consist of."""

    def __init__(self, parameters: Parameters, spec: str) -> None:
        super().__init__(parameters, spec)
        self.prepared_PRM1 = {value: x.unsqueeze(3) for value, x in self.prepared_PRM().items()}
        some = next(iter(self.flat_PRM.values()))
        self.sums_PRM = [torch.zeros_like(some) for _ in self.unit.parts]
        self.grad_base_PRM = None if self.base_scale is None else torch.zeros_like(self.base_scale)

    def rows(self, scores_PML: Tensor) -> Tensor:
        (units_PRML,) = evaluate([self.unit.value], self._inputs(scores_PML))
        return self._with_base(self._total(units_PRML, scores_PML).sum(2), scores_PML)

    def backward(self, scores_PML: Tensor, grad_PRL: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and the gradient of the scores; the gradients of parameters are added up."""
        inputs = {**self._inputs(scores_PML), self.unit.above: grad_PRL.unsqueeze(2)}
        asked = [self.unit.value, self.unit.by_score, *self.unit.by_parts]
        units, by_score, *by_parts = (
            self._total(each, scores_PML) for each in evaluate(asked, inputs)
        )
        for total, each in zip(self.sums_PRM, by_parts, strict=True):
            total += each.sum(3)
        grad_scores_PML = by_score.sum(1)
        if self.program.has_base:
            grad_scores_PML = grad_scores_PML + self._base_backward(scores_PML, grad_PRL)
        return self._with_base(units.sum(2), scores_PML), grad_scores_PML

    def _inputs(self, scores_PML: Tensor) -> dict[Value, Tensor]:
        return {self.unit.x: scores_PML.unsqueeze(1), **self.prepared_PRM1}

    def _total(self, value: Tensor | float, scores_PML: Tensor) -> Tensor:
        """With every dimension, also where an expression does not depend on all of them."""
        shape = (*self.shapes[0][:3], scores_PML.shape[2])
        return torch.as_tensor(value, dtype=scores_PML.dtype, device=scores_PML.device).expand(
            shape
        )

    def _base(self, scores_PML: Tensor) -> tuple[Tensor, Tensor]:
        """The base activation and its derivative."""
        shared = self.program.shared
        assert shared is not None
        base, slope = evaluate([*shared.terms, *shared.slopes], {shared.x: scores_PML})
        return torch.as_tensor(base), torch.as_tensor(slope).expand(scores_PML.shape)

    def _with_base(self, rows_PRL: Tensor, scores_PML: Tensor) -> Tensor:
        if not self.program.has_base:
            return rows_PRL
        base_PML, _ = self._base(scores_PML)
        if self.base_scale is None:
            return rows_PRL + base_PML.sum(1, keepdim=True)
        return rows_PRL + self.base_scale @ base_PML

    def _base_backward(self, scores_PML: Tensor, grad_PRL: Tensor) -> Tensor:
        base_PML, slope_PML = self._base(scores_PML)
        if self.base_scale is None or self.grad_base_PRM is None:
            return slope_PML * grad_PRL.sum(1, keepdim=True)
        self.grad_base_PRM += grad_PRL @ base_PML.mT
        return slope_PML * (self.base_scale.mT @ grad_PRL)


def _scores(q: Tensor, k: Tensor, scale: float, dtype: torch.dtype, operators: int) -> Tensor:
    return to_columns(scale * (k.to(dtype) @ q.to(dtype).mT), operators)
