"""The heads of one block: all with one mechanism, or parts with different settings or softmax."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from karat.attention.config import AttentionConfig
from karat.attention.kernels import QKV
from karat.attention.mechanisms import Change, Matrices, Place, unchanged
from karat.attention.mechanisms._operator import OperatorMechanism
from karat.attention.mechanisms.softmax import Softmax
from karat.attention.part import MechanismPart, Part

Heads: TypeAlias = list[int] | slice


class HeadParts(Part):
    """The heads of one block in parts that differ in settings or mechanism.

    Args:
        parts: heads and their part; every head is in exactly one.
        num_tokens: N.
    """

    def __init__(self, parts: Sequence[tuple[tuple[int, ...], Part]], num_tokens: int) -> None:
        super().__init__(num_tokens, any_tokens=all(part.any_tokens for _, part in parts))
        self.heads = [list(heads) for heads, _ in parts]
        self.operators = nn.ModuleList(part for _, part in parts)
        in_parts = [head for heads in self.heads for head in heads]
        # From the order of parts, in which outputs are concatenated, back to the order of heads.
        self.order = sorted(range(len(in_parts)), key=in_parts.__getitem__)
        self._is_in_order = in_parts == sorted(in_parts)

    def carried(self) -> Mapping[str, Any]:
        """Which heads have which part; the parts carry the rest."""
        return {**super().carried(), "heads": self.heads}

    @property
    def uses_scores(self) -> bool:
        return any(part.uses_scores for _, part in self._with_heads())

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
        outputs = []
        for heads, part in self._with_heads():
            own, of_heads = _given_heads(qkv, bias, keep, heads)
            outputs.append(part(own, x_BNC, scale, dropout, **of_heads))
        return torch.cat(outputs, 1)[:, self.order]

    def of_scores(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        outputs = []
        for heads, part in self._with_heads():
            scores, values = scores_BHNM[:, heads], values_BHMD[:, heads]
            outputs.append(part.of_scores(scores, values, _of_heads(keep, heads), dropout))
        return self._in_order(outputs)

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """Names of the operators' kernels; arguments as for `Operator.choose_kernel`."""
        parts = [part for _, part in self._with_heads()]
        return set().union(*(each.kernels(q_BHND, needs_weights=needs_weights) for each in parts))

    def attend(
        self,
        qkv: QKV,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D); arguments as for `Part.attend`."""
        outputs = []
        for heads, part in self._with_heads():
            own, of_heads = _given_heads(qkv, bias, keep, heads)
            outputs.append(part.attend(own, scale, dropout, **of_heads))
        return self._in_order(outputs)

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
        """As `Part.look`; the changes are made by part, and see the heads of one part."""
        found = []
        for heads, part in self._with_heads():
            own, of_heads = _given_heads(qkv, bias, keep, heads)
            look = part.look(
                own,
                scale,
                **of_heads,
                change_scores=change_scores,
                change_weights=change_weights,
            )
            found.append(look)
        scores = None
        if any(each.scores is not None for each in found):
            each_scores = [
                torch.full_like(each.weights, math.nan) if each.scores is None else each.scores
                for each in found
            ]
            scores = torch.cat(each_scores, 1)[:, self.order]
        weights = torch.cat([each.weights for each in found], 1)[:, self.order]
        return Matrices(scores, weights, torch.cat([each.out for each in found], 1)[:, self.order])

    def finish(self, out_BHND: Tensor, x_BNC: Tensor) -> Tensor:
        outputs = [part.finish(out_BHND[:, heads], x_BNC) for heads, part in self._with_heads()]
        return self._in_order(outputs)

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        """The attention weights, shape (B, H, N, M)."""
        found = [
            part.weights(scores_BHNM[:, heads], _of_heads(keep, heads))
            for heads, part in self._with_heads()
        ]
        return self._in_order(found)

    def _in_order(self, found: list[Tensor]) -> Tensor:
        """The results of the parts, (B, heads of a part, ...), as one tensor in the order of heads."""
        joined = torch.cat(found, 1)
        return joined if self._is_in_order else joined[:, self.order]

    def _with_heads(self) -> Iterator[tuple[Heads, Part]]:
        """The heads of each part as an index, which takes views where they are side by side."""
        for heads, part in zip(self.heads, self.operators, strict=True):
            assert isinstance(part, Part)
            first, last = heads[0], heads[-1]
            yield heads if heads != list(range(first, last + 1)) else slice(first, last + 1), part


def make_part(
    config: AttentionConfig, place: Place, generator: torch.Generator | None = None
) -> Part:
    """What attends for all heads of one block: one part, or several of different settings.

    Args:
        config: the settings, without values per block.
        place: the heads and their attention module.
        generator: random generator for the initial parameters.

    Raises:
        CombinationError: the settings do not fit this place.
    """
    made: list[tuple[tuple[int, ...], Part]] = []
    for heads, own in config.parts(place.num_heads):
        mechanism = own.make_mechanism() if own else Softmax()
        here = replace(place, num_heads=len(heads))
        mechanism.check(here)
        if isinstance(mechanism, OperatorMechanism):
            made.append((heads, mechanism.make(here, generator)))
        else:
            made.append((heads, MechanismPart(mechanism, here, generator)))
    whole = len(made) == 1 and len(made[0][0]) == place.num_heads
    part = made[0][1] if whole else HeadParts(made, place.num_tokens)
    for each in (part, *(of_heads for _, of_heads in made)):
        each.content = config.content
    return part


def make_operator(
    config: AttentionConfig,
    num_heads: int,
    num_tokens: int,
    generator: torch.Generator | None = None,
) -> Any:
    """`make_part` for the operator alone, which does not depend on the width of heads.

    Raises:
        CombinationError: the settings do not fit this number of heads or tokens.
        TypeError: the settings have a mechanism that is not computed by the operator.
    """
    if not isinstance(config.make_mechanism(), OperatorMechanism):
        raise TypeError(f"mechanism {config.mechanism} is not an operator; use make_part")
    place = Place(num_heads=num_heads, num_tokens=num_tokens, head_dim=0, width=0)
    return make_part(config, place, generator)


def _given_heads(
    qkv: QKV, bias: Tensor | None, keep: Tensor | None, heads: Heads
) -> tuple[QKV, dict[str, Tensor | None]]:
    own = qkv[:, :, heads] if isinstance(qkv, Tensor) else _of_three(qkv, heads)
    return own, {"bias": _of_heads(bias, heads), "keep": _of_heads(keep, heads)}


def _of_heads(values: Tensor | None, heads: Heads) -> Tensor | None:
    """The mask or bias of these heads; without a dimension of heads it stays as it is."""
    if values is None or values.dim() < 3 or values.shape[-3] == 1:
        return values
    return values[..., heads, :, :]


def _of_three(qkv: tuple[Tensor, Tensor, Tensor], heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    q_BHND, k_BHMD, v_BHMD = qkv
    return q_BHND[:, heads], k_BHMD[:, heads], v_BHMD[:, heads]
