"""The modules that compute attention for some heads of a block.

Shapes: B batch, H heads, N tokens, D head width, M keys (= N), C width of the host.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention.carried import CarriesSettings
from karat.attention.kernels import QKV
from karat.attention.mechanisms import (
    Change,
    Given,
    Matrices,
    Mechanism,
    Place,
    name_of,
    own_settings,
    unchanged,
)
from karat.attention.operator_config import carried_defaults, carried_settings
from karat.attention.precision import without_autocast
from karat.settings import defaults_of


class Part(CarriesSettings):
    """Base class: attention for the heads of a block, or for those that share a mechanism.

    Args:
        num_tokens: N for which it was made.
        any_tokens: whether it also serves other numbers of tokens.

    Attributes:
        content: whether queries and keys have an effect; where not, the attention module holds them at zero.
    """

    def __init__(self, num_tokens: int, *, any_tokens: bool) -> None:
        super().__init__()
        self.num_tokens, self.any_tokens = num_tokens, any_tokens
        self.content = True

    def carried(self) -> Mapping[str, Any]:
        """The settings that what its weights compute depends on."""
        return {"content": self.content}

    def defaults(self) -> Mapping[str, Any]:
        return {"content": True}

    @property
    def uses_scores(self) -> bool:
        """Whether queries and keys have an effect."""
        return True

    def forward(
        self,
        qkv: QKV,
        x_BNC: Tensor,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Attention output, shape (B, H, N, D), as an attention module uses it.

        A model calls this as a module, so that hooks fire, and so do those with which FSDP gathers parameters:
        everything that is learned here is used within.

        Args:
            qkv: queries, keys and values; they and all others but the next as for `Given`.
            x_BNC: tokens that entered the attention module.
        """
        return self.finish(self.attend(qkv, scale, dropout, bias=bias, keep=keep), x_BNC)

    def attend(
        self,
        qkv: QKV,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Attention output before `finish`, shape (B, H, N, D); arguments as for `Given`."""
        raise NotImplementedError

    def of_scores(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attention output for given scores, shape (B, H, N, D).

        Args:
            scores_BHNM: scaled scores.
            values_BHMD: values.
            keep: truth values that broadcast to the scores; masked keys are left out of row sums
                and weights. None keeps all.
            dropout: probability with which a weight is dropped, as timm's `attn_drop`.
        """
        raise NotImplementedError

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        """The attention weights for given scores, shape (B, H, N, M)."""
        raise NotImplementedError

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
        """As `attend` without dropout, but with scores and weights; arguments as for `Mechanism.look`."""
        raise NotImplementedError

    def finish(self, out_BHND: Tensor, x_BNC: Tensor) -> Tensor:
        """The output, changed by the tokens that entered the attention module (gates)."""
        return out_BHND

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """Names of the kernels that compute this; empty for mechanisms without a choice."""
        return set()


class MechanismPart(Part):
    """Any mechanism other than the operator: its parameters, and calls of the mechanism.

    Args:
        mechanism: the mechanism with its settings.
        place: the heads and their module.
        generator: random generator for the initial parameters.
    """

    def __init__(
        self, mechanism: Mechanism, place: Place, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(place.num_tokens, any_tokens=mechanism.any_tokens)
        mechanism.check(place)
        self.mechanism, self.place = mechanism, place
        self.learned = nn.ParameterDict(
            {
                name: nn.Parameter(torch.empty(shape))
                for name, shape in mechanism.shapes(place).items()
            }
        )
        with torch.no_grad():
            for name, parameter in self.learned.items():
                if not parameter.is_meta:  # nothing to fill
                    mechanism.initialise(name, parameter, place, generator)

    def carried(self) -> Mapping[str, Any]:
        mechanism = self.mechanism
        own = {name: getattr(mechanism, name) for name in own_settings(type(mechanism))}
        of_operator = carried_settings(mechanism.config, mechanism.operator_settings)
        return {**super().carried(), "mechanism": name_of(mechanism), **of_operator, **own}

    def defaults(self) -> Mapping[str, Any]:
        of_operator = carried_defaults(self.mechanism.config)
        return {**super().defaults(), **of_operator, **defaults_of(type(self.mechanism))}

    @property
    def uses_scores(self) -> bool:
        return self.mechanism.uses_scores

    def attend(
        self,
        qkv: QKV,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        q_BHND, k_BHMD, v_BHMD = qkv
        given = Given(q_BHND, k_BHMD, v_BHMD, scale, bias, keep, dropout, self.place.number)
        return self.mechanism.attend(given, self._learned(q_BHND.dtype))

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
        given = Given(q_BHND, k_BHMD, v_BHMD, scale, bias, keep, 0.0, self.place.number)
        learned = self._learned(q_BHND.dtype)
        return self.mechanism.look(given, learned, change_scores, change_weights)

    def of_scores(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        with without_autocast(scores_BHNM.device):
            weights_BHNM = F.dropout(self.weights(scores_BHNM, keep), dropout)
            return weights_BHNM.to(values_BHMD.dtype) @ values_BHMD

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        dtype = torch.promote_types(scores_BHNM.dtype, torch.float32)
        return self.mechanism.weights(scores_BHNM.to(dtype), keep, self._learned(dtype))

    def finish(self, out_BHND: Tensor, x_BNC: Tensor) -> Tensor:
        return self.mechanism.finish(out_BHND, x_BNC, dict(self.learned.items()))

    def _learned(self, dtype: torch.dtype) -> Mapping[str, Tensor]:
        wide = torch.promote_types(dtype, torch.float32)
        return {name: value.to(wide) for name, value in self.learned.items()}

    def extra_repr(self) -> str:
        return f"{self.mechanism!r}"
