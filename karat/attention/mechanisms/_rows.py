"""What several mechanisms do with rows of scores, with and without a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Given, Mechanism, Place

if TYPE_CHECKING:
    from torch import Tensor


def softmax(scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
    """Softmax over the keys that are not masked; a row without such keys is 0."""
    if keep is None:
        return scores_BHNM.softmax(-1)
    return without(hidden(scores_BHNM, keep).softmax(-1), keep)


def hidden(scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
    """The scores with the lowest finite number for masked pairs, so that gradients stay finite."""
    if keep is None:
        return scores_BHNM
    return scores_BHNM.masked_fill(~keep, torch.finfo(scores_BHNM.dtype).min / 4)


def without(weights_BHNM: Tensor, keep: Tensor | None) -> Tensor:
    """The weights, with 0 for masked pairs."""
    return weights_BHNM if keep is None else weights_BHNM.masked_fill(~keep, 0.0)


def keys_of(scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
    """The number of keys that are not masked in each row, at least 1, broadcast to the scores."""
    if keep is None:
        return scores_BHNM.new_tensor(float(scores_BHNM.shape[-1]))
    return keep.sum(-1, keepdim=True).clamp(min=1).to(scores_BHNM.dtype)


def by_head(value_H: Tensor) -> Tensor:
    """A number per head, in the shape that broadcasts to the scores."""
    return value_H[:, None, None]


class SoftmaxLike(Mechanism):
    """Softmax of scores of changed queries and keys (`prepared`).

    Without a mask and a bias it runs in torch's fused kernel (`scaled_dot_product_attention`),
    which never stores the scores.
    """

    def step_operations(self, place: Place) -> float:
        """With the scores, which the fused kernel computes again in the backward pass."""
        again = place.num_tokens * place.head_dim
        return super().step_operations(place) + again

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        return softmax(scores_BHNM, keep)

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        if given.bias is not None or given.keep is not None:
            return super().attend(given, learned)
        q_BHND, k_BHMD = (each.to(given.v.dtype) for each in self.prepared(given, learned))
        return torch.nn.functional.scaled_dot_product_attention(
            q_BHND, k_BHMD, given.v, dropout_p=given.dropout, scale=given.scale
        )
