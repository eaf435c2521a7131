"""The learnable operators that stand where softmax stood (KArAt).

Shapes: B batch, H heads, N tokens, D head width, P operators, K = H / P heads that share an
operator, R rank, M keys (= N), L = B K N rows of scores. Scores and weights are B H N M.
"""

import json
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention_config import (
    FULL,
    SOFTMAX,
    AttentionConfig,
    nearest_setting,
    settings_of,
    settings_of_all,
)
from karat.autocast import without_autocast
from karat.base_activations import BASE_ACTIVATIONS
from karat.bases import LinearBasis
from karat.errors import KernelError
from karat.kernels import AUTO, QKV, Kernel, Task, candidates, choose
from karat.kernels._features import feature_weights
from karat.projections import PROJECTIONS
from karat.starts import fan_in

REFERENCE = "reference"

__all__ = [
    "BASE_ACTIVATIONS",
    "SOFTMAX",
    "AttentionConfig",
    "HeadParts",
    "Operator",
    "Units",
    "make_operator",
    "nearest_setting",
    "scaled_scores",
    "settings_of",
    "settings_of_all",
    "without_autocast",
]


class Units(nn.Module):
    """Φ: for each of P operators a table of R x M one-variable functions, summed over M.

    `Φ(x)_r = sum_m scale_rm φ_rm(x_m) + base_scale_rm b(x_m)`. Source: arXiv 2503.10632,
    Section 3. With `base_activation: zero` the base scale is frozen and without effect; it is
    kept for the paper's count of parameters. With `unit_scales: false` the base is added as it
    is, which no start can tame.

    Args:
        config: the operator's settings.
        shape: P, R, M.
        generator: where the initial weights come from.
        gain: factor of the initial functions, for the start `fan_in`.
    """

    def __init__(
        self,
        config: AttentionConfig,
        shape: tuple[int, int, int],
        generator: torch.Generator | None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.basis_name, self.basis = config.basis, config.make_basis()
        self.base_activation: str = config.base_activation
        self.num_operators, self.num_outputs, _ = shape
        self.spec = json.dumps([config.basis, dict(config.basis_settings), config.base_activation])
        self.coefficients = nn.ParameterDict(
            {
                name: nn.Parameter(torch.empty(*shape, *own))
                for name, own in self.basis.coefficient_shapes().items()
            }
        )
        has_base = config.base_activation != "zero"
        self.scale = nn.Parameter(torch.ones(shape)) if config.unit_scales else None
        self.base_scale = (
            nn.Parameter(torch.ones(shape), requires_grad=has_base) if config.unit_scales else None
        )
        self._start(config, generator, gain)

    @torch.no_grad()
    def _start(
        self, config: AttentionConfig, generator: torch.Generator | None, gain: float
    ) -> None:
        if next(iter(self.coefficients.values())).is_meta:
            return  # only to be counted; torch would load its compiler to do nothing
        for name, coefficient in self.coefficients.items():
            self.basis.initialise(name, coefficient, config.init, generator)
        if config.init == "paper":
            return
        base = BASE_ACTIVATIONS[config.base_activation]
        if base is not None and self.base_scale is not None:
            gain /= math.sqrt(2.0)  # half of the variance each
            std = gain * fan_in(self.base_scale.shape[2], base)
            self.base_scale.normal_(0.0, std, generator=generator)
        some = next(iter(self.coefficients.values()))
        scaled = self.basis.scaled(
            dict(self.coefficients.items()), some.new_full(some.shape[:3], gain)
        )
        for name, coefficient in self.coefficients.items():
            coefficient.copy_(scaled[name])

    def forward(self, scores_PML: Tensor, keep_PML: Tensor | None = None) -> Tensor:
        """Φ of every row of scores, shape (P, R, L); masked inputs (keep 0) count nothing."""
        dtype = scores_PML.dtype
        coefficients = {name: value.to(dtype) for name, value in self.coefficients.items()}
        if self.scale is not None:
            coefficients = self.basis.scaled(coefficients, self.scale.to(dtype))
        total = self.basis.row_sum(scores_PML, coefficients, keep_PML)
        base = BASE_ACTIVATIONS[self.base_activation]
        if base is None:
            return total
        base_PML = base(scores_PML) if keep_PML is None else base(scores_PML) * keep_PML
        if self.base_scale is None:
            return total + base_PML.sum(1, keepdim=True)
        return total + self.base_scale.to(dtype) @ base_PML

    def feature_weights(self, dtype: torch.dtype) -> Tensor:
        """The weight of each feature in each unit, the base activation last, shape (P, R, F, M).

        Only for a basis of shared features.
        """
        coefficients = [self.coefficients[name] for name in self.basis.coefficient_shapes()]
        weights = feature_weights(coefficients, self.scale, self.base_scale, self.spec)
        return weights.to(dtype)

    def task(self, q_BHND: Tensor) -> Task:
        """What a kernel is asked for, with these queries."""
        features = 0
        if isinstance(self.basis, LinearBasis):
            features = sum(value.shape[3] for value in self.coefficients.values())
        return Task(
            basis=self.basis_name,
            features=features,
            base_activation=self.base_activation,
            outputs=self.num_outputs,
            head_dim=q_BHND.shape[-1],
            dtype=str(q_BHND.dtype),
            device=q_BHND.device.type,
        )


class Operator(nn.Module):
    """P operators for the heads of a block: from scores to attention weights, and to the output.

    | order | weights of a row x | W |
    |---|---|---|
    | `w_phi` | W Φ̂(x), the paper's modular operator | N x R |
    | `w_phi`, rank full | Φ(x), the general one | none |
    | `phi_w` | Φ̂(W x) | R x N |
    | `phi_phi` | Φ₂(Φ₁(x)) | none |

    Source: arXiv 2503.10632, Section 3, Algorithm 2 and Table 19. Departures: `O = Φ̂(A) (Wᵀ V)`
    is computed in this order where nothing needs the weights, which gives the same values; all
    of it in float32 or wider, also under autocast, since a Fourier unit multiplies the rounding
    error of a score by its frequency. W starts at N(0, 1/(N R)) (`w_phi`) or N(0, 1/N)
    (`phi_w`), since the paper does not say. With the start `fan_in` the weights start with
    variance 1/N in every order.

    Args:
        config: the operator's settings, without values per block or head.
        num_operators: P.
        num_tokens: N, queries and keys.
        generator: where the initial weights come from.

    Raises:
        CombinationError: a rank above the number of tokens.
    """

    def __init__(
        self,
        config: AttentionConfig,
        num_operators: int,
        num_tokens: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        config.check_tokens(num_tokens)
        self.config, self.num_operators, self.num_tokens = config, num_operators, num_tokens
        rank = config.outputs(num_tokens)
        into = (num_operators, rank, num_tokens)
        back = (num_operators, num_tokens, rank)
        narrow = 1.0 / math.sqrt(num_tokens)
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
        self._kernels = candidates(config.kernel)  # loaded here, since torch.compile cannot
        learned = config.output_scale == "learned"
        self.output_scale = nn.Parameter(torch.ones(num_operators)) if learned else None

    def attend(self, qkv: QKV, scale: float, dropout: float = 0.0) -> Tensor:
        """Attention output of shape (B, H, N, D) for queries, keys and values, without a mask.

        The rows come from a kernel (`karat.kernels`), which need not form the scores. Where the
        weights themselves are needed (other orders, dropout) it is the same as `forward`.

        Raises:
            KernelError: the kernel named in the settings cannot do this.
        """
        q_BHND, k_BHMD, v_BHMD = qkv
        _, kernel = self.choose_kernel(q_BHND, needs_weights=dropout > 0)
        if kernel is None:
            out: Tensor = self(scaled_scores(q_BHND, k_BHMD, scale), v_BHMD, None, dropout)
            return out
        with without_autocast(q_BHND.device):
            projection = PROJECTIONS[self.config.projection]
            if projection is None and self.weight is not None:
                out = kernel.attend(qkv, scale, self.phi, self.weight)
                return self._scale_output(out).to(v_BHMD.dtype)
            rows_BHNR = kernel.rows(q_BHND, k_BHMD, scale, self.phi)
            if projection is not None:
                rows_BHNR = projection(rows_BHNR.movedim(-1, 1)).movedim(1, -1)
            out = self._times_values(rows_BHNR, v_BHMD.to(rows_BHNR.dtype))
        return out.to(v_BHMD.dtype)

    def choose_kernel(self, q_BHND: Tensor, *, needs_weights: bool) -> tuple[str, Kernel | None]:
        """The kernel for these queries and its name; None where the weights are formed.

        An exported program is computed by the reference, so that it runs without karat.

        Raises:
            KernelError: the kernel named in the settings cannot do this.
        """
        asked = self.config.kernel
        if needs_weights or self.config.operator_order != "w_phi":
            if asked not in (AUTO, REFERENCE):
                what = "attention weights, for a mask, a bias or dropout"
                raise KernelError(f"kernel {asked}: never forms {what}; {REFERENCE} can do this")
            return REFERENCE, None
        if torch.compiler.is_exporting():
            return REFERENCE, None
        return choose(self._kernels, self.phi.task(q_BHND))

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """The name of the kernel; arguments as for `choose_kernel`."""
        return {self.choose_kernel(q_BHND, needs_weights=needs_weights)[0]}

    def forward(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D).

        Args:
            scores_BHNM: scaled scores.
            values_BHMD: values.
            keep: truth values that broadcast to the scores; masked keys count nothing, neither
                in a row sum nor in the weights. None keeps all.
            dropout: share of the weights that is dropped, as timm's `attn_drop` does.
        """
        dtype = torch.promote_types(scores_BHNM.dtype, torch.float32)
        with without_autocast(scores_BHNM.device):
            scores, values = scores_BHNM.to(dtype), values_BHMD.to(dtype)
            if keep is None and not dropout and self.config.operator_order == "w_phi":
                out = self._reordered(scores, values)
            else:
                out = F.dropout(self.weights(scores, keep), dropout) @ values
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
        return self._times_values(rows_PRBKN.permute(2, 0, 3, 4, 1).flatten(1, 2), values_BHMD)

    def _times_values(self, rows_BHNR: Tensor, values_BHMD: Tensor) -> Tensor:
        """Rows times (Wᵀ V), or times V for the full rank."""
        if self.weight is not None:
            weight_PRM = self.weight.to(rows_BHNR.dtype).mT
            sharing = rows_BHNR.shape[1] // self.num_operators
            values_BHMD = weight_PRM.repeat_interleave(sharing, 0) @ values_BHMD
        return self._scale_output(rows_BHNR @ values_BHMD)

    def _phi_hat(self, rows_PML: Tensor, keep_PML: Tensor | None) -> Tensor:
        """Φ̂ or the full-rank Φ, projected."""
        masked = keep_PML if self.weight is None else None
        return self._projected(self.phi(rows_PML, keep_PML), masked)

    def _projected(self, rows: Tensor, keep: Tensor | None) -> Tensor:
        projection = PROJECTIONS[self.config.projection]
        if projection is None:
            return rows
        if keep is not None:  # a finite number, for which no gradient becomes NaN
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


class HeadParts(nn.Module):
    """The heads of one block in parts that differ: operators of other settings, or softmax.

    Args:
        parts: heads and their operator, None for softmax; each head stands in one part.
        num_tokens: N.
    """

    def __init__(
        self, parts: Sequence[tuple[tuple[int, ...], Operator | None]], num_tokens: int
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.heads = [list(heads) for heads, _ in parts]
        self.operators = nn.ModuleList(operator or nn.Identity() for _, operator in parts)
        in_parts = [head for heads in self.heads for head in heads]
        self.order = sorted(range(len(in_parts)), key=in_parts.__getitem__)

    def forward(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D); arguments as for `Operator`."""
        outputs = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            scores, values = scores_BHNM[:, heads], values_BHMD[:, heads]
            kept = _of_heads(keep, heads)
            if isinstance(operator, Operator):
                outputs.append(operator(scores, values, kept, dropout))
            else:
                weights = _softmax(scores, kept).to(values.dtype)
                outputs.append(F.dropout(weights, dropout) @ values)
        return torch.cat(outputs, 1)[:, self.order]

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """Names of the operators' kernels; arguments as for `Operator.choose_kernel`."""
        operators = [each for each in self.operators if isinstance(each, Operator)]
        return set().union(*(e.kernels(q_BHND, needs_weights=needs_weights) for e in operators))

    def attend(self, qkv: QKV, scale: float, dropout: float = 0.0) -> Tensor:
        """Attention output of shape (B, H, N, D); arguments as for `Operator.attend`."""
        outputs = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            own = qkv[:, :, heads] if isinstance(qkv, Tensor) else _of_three(qkv, heads)
            if isinstance(operator, Operator):
                outputs.append(operator.attend(own, scale, dropout))
            else:
                q, k, v = own
                outputs.append(
                    F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
                )
        return torch.cat(outputs, 1)[:, self.order]

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        """The attention weights, shape (B, H, N, M)."""
        found = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            of_part = operator.weights if isinstance(operator, Operator) else _softmax
            found.append(of_part(scores_BHNM[:, heads], _of_heads(keep, heads)))
        return torch.cat(found, 1)[:, self.order]


def make_operator(
    config: AttentionConfig,
    num_heads: int,
    num_tokens: int,
    generator: torch.Generator | None = None,
) -> Operator | HeadParts:
    """What one block needs: an operator for all heads, or parts where the heads differ.

    Raises:
        CombinationError: settings that do not fit this number of heads or tokens.
    """
    parts = config.parts(num_heads)
    operators = [
        Operator(own, own.operators(len(heads)), num_tokens, generator) if own else None
        for heads, own in parts
    ]
    if len(operators) == 1 and operators[0] is not None:
        return operators[0]
    in_parts = [heads for heads, _ in parts]
    return HeadParts(list(zip(in_parts, operators, strict=True)), num_tokens)


def scaled_scores(q_BHND: Tensor, k_BHMD: Tensor, scale: float) -> Tensor:
    """`scale q kᵀ` in float32 or wider, shape (B, H, N, M)."""
    dtype = torch.promote_types(q_BHND.dtype, torch.float32)
    with without_autocast(q_BHND.device):
        return (q_BHND.to(dtype) * scale) @ k_BHMD.to(dtype).mT


def _of_heads(keep: Tensor | None, heads: list[int]) -> Tensor | None:
    """The part of a mask that is for these heads."""
    if keep is None or keep.dim() < 3 or keep.shape[-3] == 1:
        return keep
    return keep[..., heads, :, :]


def _of_three(
    qkv: tuple[Tensor, Tensor, Tensor], heads: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    q_BHND, k_BHMD, v_BHMD = qkv
    return q_BHND[:, heads], k_BHMD[:, heads], v_BHMD[:, heads]


def _normal(shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> nn.Parameter:
    weights = torch.empty(shape)
    return nn.Parameter(
        weights if weights.is_meta else weights.normal_(0.0, std, generator=generator)
    )


def _softmax(scores: Tensor, keep: Tensor | None) -> Tensor:
    if keep is not None:
        scores = scores.masked_fill(~keep, -math.inf)
    return scores.softmax(-1)
