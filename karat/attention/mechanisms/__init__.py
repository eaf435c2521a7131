"""Attention mechanisms: one file each, registered in `MECHANISMS` by file name.

Shapes: B batch, H heads, N tokens (queries), M keys (= N), D head width, C width of the host, P
operators. L blocks and R rank appear in counts of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch

from karat.attention.operator_config import OperatorConfig
from karat.attention.place import Place
from karat.attention.precision import without_autocast
from karat.attention.work import Work
from karat.catalog import Catalog
from karat.errors import CombinationError
from karat.settings import fields_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MECHANISMS",
    "Change",
    "Given",
    "Matrices",
    "Mechanism",
    "Place",
    "name_of",
    "own_settings",
    "unchanged",
]


class Given(NamedTuple):
    """What a mechanism gets: queries (B, H, N, D), keys and values (B, H, M, D), and the rest.

    Args:
        scale: factor of the scores `q kᵀ`, in timm's models 1/sqrt(D).
        bias: numbers that the host adds to the scores, broadcast to (B, H, N, M); or None.
        keep: truth values that broadcast to (B, H, N, M); a masked pair has weight 0 and counts in
            no sum. None keeps all.
        dropout: probability with which a weight is dropped, as timm's `attn_drop`.
        number: number of the block in the model, from 0.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    bias: Tensor | None = None
    keep: Tensor | None = None
    dropout: float = 0.0
    number: int = 0


class Matrices(NamedTuple):
    """What attention forms on its way, where it is looked at.

    Args:
        scores: (B, H, N, M), scaled, with the host's bias; None for a mechanism without scores, NaN for
            those heads of a hybrid that have none.
        weights: (B, H, N, M).
        out: (B, H, N, D), before gates and the output projection.
    """

    scores: Tensor | None
    weights: Tensor
    out: Tensor


Change = Callable[["Tensor"], "Tensor"]


def unchanged(matrix: Tensor) -> Tensor:
    """The matrix as it is."""
    return matrix


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What takes the place of `softmax(q kᵀ / sqrt(D)) v` in the heads of a block.

    A mechanism is a frozen dataclass whose own fields are its settings; it holds no tensors. A
    module (`karat.attention.part`) owns its parameters, which `shapes` and `initialise` define, and
    passes them to every method below it as `learned`. Most mechanisms implement `weights` alone.
    Scores and weights are computed in float32 or wider, also under autocast, except where softmax
    runs in torch's fused kernel (`_rows.SoftmaxLike`), which decides itself.

    Common random numbers: parameters are drawn from a generator that nothing else uses, so that
    for one seed all mechanisms have the same initial weights in the modules that they share.

    Args:
        config: settings of the operator; a mechanism uses those in `operator_settings`.
    """

    operator_settings: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings of `OperatorConfig` that exist for this mechanism."""
    any_tokens: ClassVar[bool] = True
    """Whether the same parameters serve any number of tokens."""
    uses_scores: ClassVar[bool] = True
    """Whether queries and keys have an effect."""

    config: OperatorConfig = field(default_factory=OperatorConfig)

    def refusal(self, place: Place) -> str | None:
        """Why heads at this place cannot have the mechanism, as a phrase; None if they can."""
        idle = {
            "position bias": place.has_bias,
            "gated queries and keys (ConViT)": place.is_gated,
            "norms of queries and keys": place.has_norms,
            "rotation of queries and keys (RoPE)": place.is_rotated,
        }
        if not self.uses_scores and any(idle.values()):
            what = next(name for name, is_there in idle.items() if is_there)
            return f"computes no scores, which would leave the model's {what} without effect"
        return None

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        """Shape of each learned parameter of one block."""
        return {}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        """Fill the parameter `name`, a key of `shapes`, in place."""
        raise NotImplementedError(f"{type(self).__name__}.{name}")

    def parameters(self, place: Place) -> int:
        """Number of parameters in one block, with frozen ones."""
        return sum(math.prod(shape) for shape in self.shapes(place).values())

    def operations_per_row(self, place: Place) -> int:
        """Multiply-adds for one query in one head; see `karat.models.costs` for the convention."""
        return 2 * place.num_tokens * place.head_dim  # q kᵀ, and weights times values

    def activation_per_score(self, place: Place) -> int:
        """Operations of learned functions for one score, counted as the paper counts KArAt's."""
        return 0

    def learned_work(self, place: Place) -> Work:
        """What learned functions take for one query in one head in a training step."""
        return Work()

    def step_operations(self, place: Place) -> float:
        """Multiply-adds that a training step executes for one query in one head, forward and backward.

        Products of matrices, with what the backward pass computes again, and learned functions. Fixed
        functions of scores (an exponential, a sort) are not counted.
        """
        return 3 * self.operations_per_row(place) + self.learned_work(place).total

    def prepared(self, given: Given, learned: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries and keys whose products, times `given.scale`, are the scores."""
        return given.q, given.k

    def scores(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        """The scores with the host's bias in float32 or wider, shape (B, H, N, M)."""
        dtype = torch.promote_types(given.q.dtype, torch.float32)
        if not self.uses_scores:
            return given.q.new_zeros(*given.q.shape[:3], given.k.shape[2], dtype=dtype)
        q_BHND, k_BHMD = self.prepared(given, learned)
        scores_BHNM = (q_BHND.to(dtype) * given.scale) @ k_BHMD.to(dtype).mT
        return scores_BHNM if given.bias is None else scores_BHNM + given.bias.to(dtype)

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        """The attention weights, shape (B, H, N, M).

        Args:
            scores_BHNM: from `scores`.
            keep: see `Given`; weights of masked pairs must be 0.
            learned: the parameters, in the dtype of the scores.
        """
        raise NotImplementedError(type(self).__name__)

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        """Attention output, shape (B, H, N, D), in the dtype of the values."""
        with without_autocast(given.q.device):
            scores_BHNM = self.scores(given, learned)
            weights_BHNM = self.weights(scores_BHNM, given.keep, learned)
            dropped = torch.nn.functional.dropout(weights_BHNM, given.dropout)
            return dropped.to(given.v.dtype) @ given.v

    def finish(self, out_BHND: Tensor, x_BNC: Tensor, learned: Mapping[str, Tensor]) -> Tensor:
        """The attention output, changed by the tokens that entered the attention module."""
        return out_BHND

    def look(
        self,
        given: Given,
        learned: Mapping[str, Tensor],
        change_scores: Change = unchanged,
        change_weights: Change = unchanged,
    ) -> Matrices:
        """As `attend` without dropout, but with scores and weights formed, and open to a change.

        Args:
            given: what the mechanism gets.
            learned: the parameters.
            change_scores: what becomes of the scores before the weights are computed from them.
            change_weights: what becomes of the weights before the values are multiplied by them.
        """
        with without_autocast(given.q.device):
            scores_BHNM = change_scores(self.scores(given, learned))
            weights_BHNM = change_weights(self.weights(scores_BHNM, given.keep, learned))
            out_BHND = weights_BHNM.to(given.v.dtype) @ given.v
        return Matrices(scores_BHNM if self.uses_scores else None, weights_BHNM, out_BHND)

    def check(self, place: Place) -> None:
        """Refuse a place where the mechanism is not possible, or its rank is above the tokens.

        Raises:
            CombinationError: with the reason.
        """
        if "rank" in self.operator_settings:
            self.config.check_tokens(place.num_tokens)
        if reason := self.refusal(place):
            raise CombinationError(
                ("attention.mechanism", "model.name"),
                f"attention.mechanism = {name_of(self)}: {reason}",
            )


def name_of(mechanism: Mechanism) -> str:
    """The name of a mechanism, which is the name of its file."""
    return type(mechanism).__module__.rpartition(".")[2]


def own_settings(mechanism: type[Mechanism]) -> frozenset[str]:
    """Names of the settings that belong to a mechanism alone."""
    return frozenset(fields_of(mechanism)) - {"config"}


MECHANISMS = Catalog(Mechanism, "attention.mechanism")
