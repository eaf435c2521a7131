"""The settings of the learnable operator (KArAt) and of the mechanisms that share parts of it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from karat.attention.bases import BASES, Basis
from karat.attention.kernels import AUTO, KERNELS
from karat.errors import CombinationError, SettingError, nearest
from karat.settings import at_least, build, defaults_of, fields_of, values_of

FULL = "full"


@dataclass(frozen=True, kw_only=True)
class OperatorConfig:
    """The operator that turns attention scores into weights, and how blocks and heads share it.

    Source: arXiv 2503.10632, Section 3.

    Args:
        basis: the family of functions; `softmax` only where no mechanism is given, which then is
            softmax; None for a mechanism without a basis.
        rank: R, rows of the modular operator, from 1 to the number of tokens; `full` for the
            operator without W, with one unit per pair of tokens.
        operator_order: `w_phi`, W Φ̂(A), as in the paper; `phi_w`, Φ̂(W A); `phi_phi`, Φ₂(Φ₁(A)).
        projection: projection of the result of Φ: `none`, `simplex` or `softmax`. With `w_phi` it
            is applied to the R-vector Φ̂(A), as in the paper; otherwise to the row of weights.
        output_scale: factor of the attention weights: 1, `1/N`, `1/sqrt(N)`, or `learned`, one
            number per operator, initially 1.
        block_sharing: `blockwise`, each block has its own operators; `universal`, all blocks
            share one set.
        head_sharing: `per_head`, `grouped` (see `head_groups`) or `shared` by all heads.
        head_groups: number of groups for `grouped`; it divides the number of heads.
        base_activation: b in `φ(x) = scale_b b(x) + scale (sum of basis functions)`; `zero` for none.
        unit_scales: whether each unit learns its two scales, as in the paper's code.
        init: initialisation: `fan_in`, or `paper` as the paper states.
        kernel: implementation, without influence on the result; `auto` chooses for the device.
        basis_settings: settings of the basis family (`grid_size`, ...), checked by its class.
    """

    basis: str | None = None
    rank: int | Literal["full"] = 12
    operator_order: Literal["w_phi", "phi_w", "phi_phi"] = "w_phi"
    projection: Literal["none", "simplex", "softmax"] = "none"
    output_scale: Literal[1, "1/N", "1/sqrt(N)", "learned"] = 1
    block_sharing: Literal["blockwise", "universal"] = "blockwise"
    head_sharing: Literal["per_head", "grouped", "shared"] = "per_head"
    head_groups: int | None = None
    base_activation: Literal["zero", "identity", "silu", "gelu"] = "zero"
    unit_scales: bool = True
    init: Literal["fan_in", "paper"] = "fan_in"
    kernel: str = "auto"
    basis_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def check_operator(self) -> None:
        """Check the settings against each other.

        Raises:
            SettingError: a value is not allowed; with the rule.
        """
        if self.basis is not None:
            self.make_basis("basis_settings")
        if isinstance(self.rank, int):
            at_least("rank", self.rank, 1)
        elif self.operator_order != "w_phi":
            rule = f"must be a number for operator_order: {self.operator_order}"
            raise SettingError("rank", rule, self.rank)
        if self.kernel != AUTO and self.kernel not in KERNELS:
            raise SettingError(
                "kernel", f"unknown. {nearest(self.kernel, [AUTO, *KERNELS])}", self.kernel
            )
        if self.kernel == "triton" and self.operator_order != "w_phi":
            rule = f"supports only operator_order: w_phi; use auto for {self.operator_order}"
            raise SettingError("kernel", rule, self.kernel)
        at_least("head_groups", self.head_groups, 1)
        if (self.head_sharing == "grouped") != (self.head_groups is not None):
            rule = "must be set for head_sharing: grouped, and only for it"
            raise SettingError("head_groups", rule)

    def make_basis(self, section: str = "attention") -> Basis:
        """The basis with its settings; `section` is the prefix of names in error messages."""
        assert self.basis is not None, "this mechanism has no basis"
        return build(BASES[self.basis], self.basis_settings, section)

    @property
    def spec(self) -> str:
        """Basis, its settings and the base activation as JSON, by which kernels know the functions."""
        return json.dumps([self.basis, dict(self.basis_settings), self.base_activation])

    def outputs(self, num_tokens: int) -> int:
        """R, which is the number of tokens for the full-rank operator."""
        return self.rank if isinstance(self.rank, int) else num_tokens

    def operators(self, num_heads: int) -> int:
        """P, the number of operators for `num_heads` heads of one block.

        Raises:
            CombinationError: `head_groups` does not divide the number of heads.
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
        if isinstance(self.rank, int) and self.rank > num_tokens:
            raise CombinationError(
                ("attention.rank", "model.patch_size"),
                f"attention.rank = {self.rank} is above the {num_tokens} tokens of this model; "
                "rank: full is the operator of full rank",
            )


OPERATOR_SETTINGS = frozenset(fields_of(OperatorConfig)) - {"basis_settings"}
# Without influence on what trained weights compute; how heads share is in the shapes of weights.
_NOT_OF_WEIGHTS = frozenset({"init", "kernel", "head_sharing", "head_groups"})


def carried_settings(config: OperatorConfig, names: frozenset[str]) -> dict[str, Any]:
    """The settings that the function of trained weights depends on, with those of the basis.

    Args:
        config: the settings.
        names: of those settings that exist.
    """
    found = {name: getattr(config, name) for name in sorted(names - _NOT_OF_WEIGHTS)}
    if "basis" in names:
        found |= values_of(config.make_basis())
    return found


def carried_defaults(config: OperatorConfig) -> dict[str, Any]:
    """The defaults of all settings of an operator, and of its basis."""
    of_basis = {} if config.basis is None else defaults_of(BASES[config.basis])
    return {**defaults_of(OperatorConfig), **of_basis}
