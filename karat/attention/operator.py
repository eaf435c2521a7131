"""The learnable operator that replaces softmax (KArAt).

Shapes: B batch, H heads, N tokens, D head width, P operators, K = H / P heads that share an
operator, R rank, M keys (= N), L = B K N rows of scores. Scores and weights are B H N M.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention.kernels import AUTO, QKV, Kernel, candidates, choose
from karat.attention.mechanisms import Change, Matrices, unchanged
from karat.attention.names import KARAT
from karat.attention.operator_config import (
    FULL,
    OPERATOR_SETTINGS,
    OperatorConfig,
    carried_defaults,
    carried_settings,
)
from karat.attention.part import Part
from karat.attention.precision import without_autocast
from karat.attention.projections import PROJECTIONS
from karat.attention.units import Units
from karat.errors import KernelError

REFERENCE = "reference"
RECOMPUTE = "recompute"  # computes every order; others only the paper's


class Operator(Part):
    """P operators for the heads of a block: from scores to attention weights, or to the output.

    | order | weights of a row x | W |
    |---|---|---|
    | `w_phi` | W Φ̂(x), the paper's modular operator | N x R |
    | `w_phi`, rank full | Φ(x), the paper's general operator | none |
    | `phi_w` | Φ̂(W x) | R x N |
    | `phi_phi` | Φ₂(Φ₁(x)) | none |

    Source: arXiv 2503.10632, Section 3, Algorithm 2 and Table 19. Departures: the output is
    computed as `Φ̂(A) (Wᵀ V)` where the weights are not needed, which gives the same values.
    Everything is computed in float32 or wider, also under autocast, since a Fourier unit multiplies
    the rounding error of a score by its frequency. The paper does not state how W is initialised;
    here N(0, 1/(N R)) (`w_phi`) or N(0, 1/N) (`phi_w`). With `init: fan_in`, attention weights have
    initial variance 1/N in every order.

    Args:
        config: settings of the operator.
        num_operators: P.
        num_tokens: N, the number of queries and of keys.
        generator: random generator for the initial weights.

    Raises:
        CombinationError: the rank is above the number of tokens.
    """

    def __init__(
        self,
        config: OperatorConfig,
        num_operators: int,
        num_tokens: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(num_tokens, any_tokens=False)
        config.check_tokens(num_tokens)
        self.config, self.num_operators = config, num_operators
        rank = config.outputs(num_tokens)
        into = (num_operators, rank, num_tokens)
        back = (num_operators, num_tokens, rank)
        narrow = 1.0 / math.sqrt(num_tokens)  # standard deviation of the attention weights
        self.phi_2 = self.weight = None
        if config.rank == FULL:
            self.phi = Units(config, into, generator, gain=narrow)
        elif config.operator_order == "w_phi":
            self.phi = Units(config, into, generator)
            self.weight = _normal(back, 1.0 / math.sqrt(num_tokens * rank), generator)
        elif config.operator_order == "phi_w":
            self.phi = Units(config, back, generator, gain=narrow)
            self.weight = _normal(into, narrow, generator)
        else:
            self.phi = Units(config, into, generator)
            self.phi_2 = Units(config, back, generator, gain=narrow)
        # Here, since torch.compile cannot trace imports.
        mixes = config.operator_order == "w_phi"
        self._kernels = candidates(config.kernel if mixes or config.kernel != AUTO else RECOMPUTE)
        learned = config.output_scale == "learned"
        self.output_scale = nn.Parameter(torch.ones(num_operators)) if learned else None

    def carried(self) -> Mapping[str, Any]:
        """Those of the operator; mechanisms that are computed by it are told apart by these alone."""
        of_operator = carried_settings(self.config, OPERATOR_SETTINGS)
        return {**super().carried(), "mechanism": KARAT, **of_operator}

    def defaults(self) -> Mapping[str, Any]:
        return {**super().defaults(), **carried_defaults(self.config)}

    def attend(
        self,
        qkv: QKV,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D) for queries, keys and values.

        A kernel (`karat.attention.kernels`) computes the last table of units, if possible without
        scores and weights in memory. With a mask or a bias the result is that of `of_scores`.

        Raises:
            KernelError: the kernel named in the settings does not support this.
        """
        q_BHND, k_BHMD, v_BHMD = qkv
        has_weights = bias is not None or keep is not None
        _, kernel = self.choose_kernel(q_BHND, needs_weights=has_weights)
        if kernel is None:
            scores_BHNM = scaled_scores(q_BHND, k_BHMD, scale)
            if bias is not None:
                scores_BHNM = scores_BHNM + bias
            return self.of_scores(scores_BHNM, v_BHMD, keep, dropout)
        with without_autocast(q_BHND.device):
            out = self._by_kernel(kernel, qkv, scale, dropout)
        return out.to(v_BHMD.dtype)

    def _by_kernel(self, kernel: Kernel, qkv: QKV, scale: float, dropout: float) -> Tensor:
        q_BHND, k_BHMD, v_BHMD = qkv
        mixes = self.config.operator_order == "w_phi"
        matrix_PMR = self.weight if mixes else None
        projection = PROJECTIONS[self.config.projection]
        last = self.phi if self.phi_2 is None else self.phi_2
        if not mixes:
            q_BHND, k_BHMD, scale = self._last_scores(kernel, q_BHND, k_BHMD, scale)
            qkv = q_BHND, k_BHMD, v_BHMD
        if projection is None and not dropout:
            if matrix_PMR is None:
                return self._scale_output(kernel.attend_rows(qkv, scale, last))
            return self._scale_output(kernel.attend(qkv, scale, last, matrix_PMR))
        rows_BHNR = kernel.rows(q_BHND, k_BHMD, scale, last)
        if projection is not None:
            rows_BHNR = projection(rows_BHNR.movedim(-1, 1)).movedim(1, -1)
        values_BHMD = v_BHMD.to(rows_BHNR.dtype)
        if not dropout:
            return self._times_values(rows_BHNR, values_BHMD, matrix_PMR)
        weights_BHNM = rows_BHNR
        if matrix_PMR is not None:
            weights_BHNM = rows_BHNR @ self._per_head(matrix_PMR, rows_BHNR).mT
        return self._scale_output(_dropped(weights_BHNM, dropout) @ values_BHMD)

    def _last_scores(
        self, kernel: Kernel, q_BHND: Tensor, k_BHMD: Tensor, scale: float
    ) -> tuple[Tensor, Tensor, float]:
        """Queries and keys whose scaled products are the R inputs of the last table of units.

        `phi_w`: `W (K q) = (W K) q`. `phi_phi`: the rows of the first table, and the unit vectors.
        """
        dtype = torch.promote_types(q_BHND.dtype, torch.float32)
        if self.phi_2 is None:
            assert self.weight is not None
            narrow_BHRD = self._per_head(self.weight, q_BHND.to(dtype)) @ k_BHMD.to(dtype)
            return q_BHND.to(dtype), narrow_BHRD, scale
        rows_BHNR = kernel.rows(q_BHND, k_BHMD, scale, self.phi)
        rank = rows_BHNR.shape[3]
        units = torch.eye(rank, dtype=rows_BHNR.dtype, device=rows_BHNR.device)
        return rows_BHNR, units.expand(*rows_BHNR.shape[:2], rank, rank), 1.0

    def _per_head(self, matrix_PXY: Tensor, like_BHNX: Tensor) -> Tensor:
        """A matrix of each operator for each head, in the dtype of `like`."""
        sharing = like_BHNX.shape[1] // self.num_operators
        return matrix_PXY.to(like_BHNX.dtype).repeat_interleave(sharing, 0)

    def look(
        self,
        qkv: QKV,
        scale: float,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
        change_scores: Change = unchanged,
        change_weights: Change = unchanged,
    ) -> Matrices:
        q_BHND, k_BHMD, v_BHMD = qkv
        with without_autocast(q_BHND.device):
            scores_BHNM = scaled_scores(q_BHND, k_BHMD, scale)
            scores_BHNM = change_scores(scores_BHNM if bias is None else scores_BHNM + bias)
            weights_BHNM = change_weights(self.weights(scores_BHNM, keep))
            out_BHND = weights_BHNM @ v_BHMD.to(weights_BHNM.dtype)
        return Matrices(scores_BHNM, weights_BHNM, out_BHND.to(v_BHMD.dtype))

    def choose_kernel(self, q_BHND: Tensor, *, needs_weights: bool) -> tuple[str, Kernel | None]:
        """The name of the kernel for these queries, and the kernel; None if weights are formed.

        `torch.export` and `torch.jit.trace` get the reference, whose program runs without karat's
        custom operations.

        Raises:
            KernelError: the kernel named in the settings does not support this.
        """
        asked = self.config.kernel
        if needs_weights:
            if asked not in (AUTO, REFERENCE):
                what = "attention weights, which a mask or a bias needs"
                raise KernelError(f"kernel {asked}: does not form {what}; use {REFERENCE}")
            return REFERENCE, None
        if self.config.operator_order != "w_phi" and asked == REFERENCE:
            return REFERENCE, None
        is_traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if torch.compiler.is_exporting() or is_traced:
            return REFERENCE, None
        return choose(self._kernels, self.phi.task(q_BHND))

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """The name of the kernel as a set, as in `HeadParts`; arguments as for `choose_kernel`."""
        return {self.choose_kernel(q_BHND, needs_weights=needs_weights)[0]}

    def of_scores(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        dtype = torch.promote_types(scores_BHNM.dtype, torch.float32)
        with without_autocast(scores_BHNM.device):
            scores, values = scores_BHNM.to(dtype), values_BHMD.to(dtype)
            if keep is None and not dropout and self.config.operator_order == "w_phi":
                out = self._reordered(scores, values)
            else:
                out = _dropped(self.weights(scores, keep), dropout) @ values
        return out.to(values_BHMD.dtype)

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        """The attention weights (the activated matrix), shape (B, H, N, M)."""
        keep_PML = None
        if keep is not None:
            keep = keep.expand(scores_BHNM.shape)
            keep_PML = self._as_rows(keep).to(scores_BHNM.dtype)
        rows_PML = self._as_rows(scores_BHNM)
        if self.phi_2 is not None:
            rows_PML = self._projected(self.phi_2(self.phi(rows_PML, keep_PML)), keep_PML)
        elif self.weight is None:
            rows_PML = self._projected(self.phi(rows_PML, keep_PML), keep_PML)
        elif self.config.operator_order == "phi_w":
            if keep_PML is not None:
                rows_PML = rows_PML * keep_PML
            narrow_PRL = self.weight.to(rows_PML.dtype) @ rows_PML
            rows_PML = self._projected(self.phi(narrow_PRL), keep_PML)
        else:
            rows_PML = self.weight.to(rows_PML.dtype) @ self._phi_hat(rows_PML, keep_PML)
        if keep_PML is not None:
            rows_PML = rows_PML * keep_PML
        return self._scale_output(self._as_scores(rows_PML, scores_BHNM))

    def _reordered(self, scores_BHNM: Tensor, values_BHMD: Tensor) -> Tensor:
        batch, heads, tokens, _ = scores_BHNM.shape
        sharing = heads // self.num_operators
        rows_PRL = self._phi_hat(self._as_rows(scores_BHNM), None)
        rows_PRBKN = rows_PRL.view(*rows_PRL.shape[:2], batch, sharing, tokens)
        rows_BHNR = rows_PRBKN.permute(2, 0, 3, 4, 1).flatten(1, 2)
        return self._times_values(rows_BHNR, values_BHMD, self.weight)

    def _times_values(
        self, rows_BHNR: Tensor, values_BHMD: Tensor, matrix_PMR: Tensor | None
    ) -> Tensor:
        """Rows times (Wᵀ V), or times V where rows are the weights."""
        if matrix_PMR is not None:
            values_BHMD = self._per_head(matrix_PMR, rows_BHNR).mT @ values_BHMD
        return self._scale_output(rows_BHNR @ values_BHMD)

    def _phi_hat(self, rows_PML: Tensor, keep_PML: Tensor | None) -> Tensor:
        """Φ̂ or the full-rank Φ, projected."""
        masked = keep_PML if self.weight is None else None
        return self._projected(self.phi(rows_PML, keep_PML), masked)

    def _projected(self, rows: Tensor, keep: Tensor | None) -> Tensor:
        projection = PROJECTIONS[self.config.projection]
        if projection is None:
            return rows
        if keep is not None:  # a finite number: with -inf, gradients of masked rows would be NaN
            rows = rows.masked_fill(keep == 0, -1e9)
        return projection(rows)

    def _scale_output(self, out_BHNX: Tensor) -> Tensor:
        scale = self.config.output_scale
        if self.output_scale is not None:
            sharing = out_BHNX.shape[1] // self.num_operators
            per_head = self.output_scale.to(out_BHNX.dtype).repeat_interleave(sharing)
            return out_BHNX * per_head.view(-1, 1, 1)
        if scale == 1:
            return out_BHNX
        return out_BHNX / (self.num_tokens if scale == "1/N" else math.sqrt(self.num_tokens))

    def _as_rows(self, scores_BHNM: Tensor) -> Tensor:
        """(B, H, N, M) to (P, M, L)."""
        batch, heads, tokens, keys = scores_BHNM.shape
        operators, sharing = self.num_operators, heads // self.num_operators
        scores_BPKNM = scores_BHNM.reshape(batch, operators, sharing, tokens, keys)
        rows = batch * sharing * tokens
        return scores_BPKNM.permute(1, 4, 0, 2, 3).reshape(operators, keys, rows)

    def _as_scores(self, rows_PML: Tensor, like_BHNM: Tensor) -> Tensor:
        """(P, M, L) to (B, H, N, M)."""
        batch, heads, tokens, keys = like_BHNM.shape
        sharing = heads // self.num_operators
        rows_PMBKN = rows_PML.reshape(self.num_operators, keys, batch, sharing, tokens)
        return rows_PMBKN.permute(2, 0, 3, 4, 1).flatten(1, 2)


def scaled_scores(q_BHND: Tensor, k_BHMD: Tensor, scale: float) -> Tensor:
    """`scale q kᵀ` in float32 or wider, shape (B, H, N, M)."""
    dtype = torch.promote_types(q_BHND.dtype, torch.float32)
    with without_autocast(q_BHND.device):
        return (q_BHND.to(dtype) * scale) @ k_BHMD.to(dtype).mT


def _dropped(weights_BHNM: Tensor, dropout: float) -> Tensor:
    """The weights, some dropped: the same ones whatever the memory layout that a kernel leaves them in."""
    return F.dropout(weights_BHNM.contiguous(), dropout) if dropout else weights_BHNM


def _normal(shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> nn.Parameter:
    weights = torch.empty(shape)
    return nn.Parameter(
        weights if weights.is_meta else weights.normal_(0.0, std, generator=generator)
    )
