"""Kolmogorov-Arnold attention (KArAt), modular: a learnable operator where softmax stood.

Shapes: B batch, H heads, N tokens, D head width, R rank, P operators, K = H / P heads that
share an operator, M keys (= N), L = B K N rows of scores.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.bases import BASES, Basis
from karat.errors import CombinationError, SettingError, nearest
from karat.settings import at_least, build, fields_of

SOFTMAX = "softmax"

BASE_ACTIVATIONS = {
    "zero": None,
    "identity": lambda x: x,
    "silu": F.silu,
    "gelu": F.gelu,
}


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Which operator turns attention scores into weights.

    Args:
        basis: `softmax` (timm's own attention) or a name in `karat.bases.BASES`.
        rank: R, rows of the modular operator, between 1 and the number of tokens.
        block_sharing: `blockwise`, each block has its own operators; `universal`, all blocks
            share one set.
        head_sharing: `per_head`, `grouped` (see `head_groups`) or `shared` by all heads.
        head_groups: number of groups for `grouped`; it divides the number of heads.
        base_activation: b in `φ(x) = scale_b b(x) + scale (sum of basis functions)`.
        unit_scales: whether each unit learns its two scales, as the paper's code does.
        init: `fan_in`, or `paper` for the start that the paper states.
        basis_settings: settings of the basis family (`grid_size`, ...), checked by its class.

    Raises:
        SettingError: a value that is not allowed, with the rule.
    """

    basis: str = SOFTMAX
    rank: int = 12
    block_sharing: Literal["blockwise", "universal"] = "blockwise"
    head_sharing: Literal["per_head", "grouped", "shared"] = "per_head"
    head_groups: int | None = None
    base_activation: Literal["zero", "identity", "silu", "gelu"] = "zero"
    unit_scales: bool = True
    init: Literal["fan_in", "paper"] = "fan_in"
    basis_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.basis != SOFTMAX:
            build(BASES[self.basis], self.basis_settings, "basis_settings")
        at_least("rank", self.rank, 1)
        at_least("head_groups", self.head_groups, 1)
        if (self.head_sharing == "grouped") != (self.head_groups is not None):
            raise SettingError("head_groups", "goes with head_sharing: grouped, and only with it")

    @classmethod
    def from_settings(
        cls, values: Mapping[str, Any], section: str = "attention"
    ) -> "AttentionConfig":
        """From flat settings, in which the basis' own (`grid_size`) stand beside the others.

        Raises:
            SettingError: an unknown key, or one that this basis does not have.
        """
        basis = values.get("basis", SOFTMAX)
        allowed = settings_of(basis, section)
        for key in values:
            if key not in allowed:
                known = settings_of_all()
                rule = f"does not exist for {section}.basis: {basis}"
                if key not in known:
                    rule = f"unknown key. {nearest(key, known)}"
                raise SettingError(f"{section}.{key}", rule)
        if basis == SOFTMAX:
            return cls()
        own = {key: values[key] for key in values if key in fields_of(BASES[basis])}
        build(BASES[basis], own, section)
        general = {key: values[key] for key in values if key not in own}
        return build(cls, {**general, "basis_settings": own}, section)

    @property
    def is_softmax(self) -> bool:
        return self.basis == SOFTMAX

    def make_basis(self) -> Basis:
        """The basis family with its settings."""
        return build(BASES[self.basis], self.basis_settings, "attention")

    def operators(self, num_heads: int) -> int:
        """P, the number of operators that the heads of one block use.

        Raises:
            CombinationError: the heads cannot be split into that many groups.
        """
        if self.head_sharing == "per_head":
            return num_heads
        groups = self.head_groups or 1
        if num_heads % groups:
            raise CombinationError(
                ("attention.head_groups", "model.num_heads"),
                f"attention.head_groups = {groups} does not divide the {num_heads} heads",
            )
        return groups

    def check_tokens(self, num_tokens: int) -> None:
        """Refuse a rank above the number of tokens.

        Raises:
            CombinationError: rank > num_tokens.
        """
        if not self.is_softmax and self.rank > num_tokens:
            raise CombinationError(
                ("attention.rank", "model.patch_size"),
                f"attention.rank = {self.rank} is above the {num_tokens} tokens of this model",
            )


def settings_of(basis: object, section: str = "attention") -> set[str]:
    """Names of the settings that exist for a basis.

    Raises:
        SettingError: no such basis.
    """
    if basis == SOFTMAX:
        return {"basis"}
    if not isinstance(basis, str) or basis not in BASES:
        raise SettingError(
            f"{section}.basis", f"unknown. {nearest(basis, [SOFTMAX, *BASES])}", basis
        )
    return set(fields_of(AttentionConfig)) - {"basis_settings"} | set(fields_of(BASES[basis]))


def settings_of_all() -> set[str]:
    """Names of the settings that exist for some basis."""
    return set().union(*(settings_of(basis) for basis in BASES))


class Operator(nn.Module):
    """P modular operators: Φ̂ (R x M units) and W (N x R), the learnable stand-in for softmax.

    Source: arXiv 2503.10632, Section 3 (modular KArAt). Departure: `O = Φ̂(A) (Wᵀ V)` is
    computed in this order, which gives the same values and never forms the activated N x N
    matrix. With `base_activation: zero` the base scale is kept, for the paper's count of
    (2G + 3) R N parameters per operator, and has no effect.

    Args:
        config: the operator's settings.
        num_operators: P.
        num_tokens: N, queries and keys.
        generator: where the initial weights come from.
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
        self.basis = config.make_basis()
        self.base_activation = BASE_ACTIVATIONS[config.base_activation]
        self.num_tokens = num_tokens
        units = (num_operators, config.rank, num_tokens)
        self.coefficients = nn.ParameterDict(
            {
                name: nn.Parameter(torch.empty(*units, *shape))
                for name, shape in self.basis.coefficient_shapes().items()
            }
        )
        scales = config.unit_scales
        self.scale = nn.Parameter(torch.ones(units)) if scales else None
        self.base_scale = nn.Parameter(torch.ones(units)) if scales else None
        self.weight = nn.Parameter(torch.empty(num_operators, num_tokens, config.rank))
        self.reset_parameters(config.init, generator)

    @torch.no_grad()
    def reset_parameters(self, start: str, generator: torch.Generator | None) -> None:
        """Draw the initial weights; W ~ N(0, 1/(N R)), since the paper does not give its start."""
        for name, coefficient in self.coefficients.items():
            self.basis.initialise(name, coefficient, start, generator)
        _, tokens, rank = self.weight.shape
        self.weight.normal_(0.0, 1.0 / math.sqrt(tokens * rank), generator=generator)
        if self.base_scale is not None:
            self.base_scale.fill_(1.0 if start == "paper" else 1.0 / math.sqrt(tokens))

    def forward(self, scores_BHNM: Tensor, values_BHMD: Tensor) -> Tensor:
        """Attention output of shape (B, H, N, D) for scaled scores and values."""
        batch, heads, tokens, keys = scores_BHNM.shape
        operators, sharing = self.weight.shape[0], heads // self.weight.shape[0]
        scores_BPKNM = scores_BHNM.reshape(batch, operators, sharing, tokens, keys)
        scores_PML = scores_BPKNM.permute(1, 4, 0, 2, 3).reshape(operators, keys, -1)
        rows_PRBKN = self.row_sum(scores_PML).view(operators, -1, batch, sharing, tokens)
        values_BPKMD = values_BHMD.reshape(batch, operators, sharing, keys, -1)
        projected_BPKRD = torch.einsum("pmr,bpkmd->bpkrd", self.weight, values_BPKMD)
        return (rows_PRBKN.permute(2, 0, 3, 4, 1) @ projected_BPKRD).flatten(1, 2)

    def row_sum(self, scores_PML: Tensor) -> Tensor:
        """Φ̂ of every row of scores, shape (P, R, L)."""
        coefficients = dict(self.coefficients.items())
        if self.scale is not None:
            coefficients = self.basis.scaled(coefficients, self.scale)
        total = self.basis.row_sum(scores_PML, coefficients)
        if self.base_activation is not None:
            base_PML = self.base_activation(scores_PML)
            if self.base_scale is None:
                return total + base_PML.sum(1, keepdim=True)
            total = total + self.base_scale @ base_PML
        return total


class KArAtAttention(nn.Module):
    """timm's `Attention` with a KArAt operator where softmax stood.

    The projections and norms of the attention given are taken over as they are, so their
    weights are kept bit for bit.

    Args:
        attention: a timm `Attention` (typed loosely: its attributes are timm's) without a gate.
        operator: may be shared with other blocks (universal block sharing).
    """

    def __init__(self, attention: Any, operator: Operator) -> None:
        super().__init__()
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        self.scale = attention.scale
        self.qkv, self.q_norm, self.k_norm = attention.qkv, attention.q_norm, attention.k_norm
        self.operator = operator
        self.norm, self.proj, self.proj_drop = attention.norm, attention.proj, attention.proj_drop

    def forward(self, x_BNC: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Shape (B, N, C) to (B, N, C).

        Raises:
            ValueError: a mask, or another number of tokens than the operator was made for.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("KArAt attention takes no mask")
        batch, tokens, _ = x_BNC.shape
        if tokens != self.operator.num_tokens:
            raise ValueError(
                f"this operator was made for {self.operator.num_tokens} tokens, got {tokens}"
            )
        qkv = self.qkv(x_BNC).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q_BHND, k_BHND, v_BHND = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q_BHND, k_BHND = self.q_norm(q_BHND), self.k_norm(k_BHND)
        scores_BHNM = (q_BHND * self.scale) @ k_BHND.transpose(-2, -1)
        out_BHND = self.operator(scores_BHNM, v_BHND)
        out_BNC = self.norm(out_BHND.transpose(1, 2).flatten(2))
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected
