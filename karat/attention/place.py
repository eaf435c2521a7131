"""Where in a model a mechanism is used."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a mechanism is used: some heads of one attention module of a model.

    Args:
        num_heads: H, the heads with this mechanism.
        num_tokens: N. Where a model has more or fewer queries than keys, the number M of keys: a
            mechanism acts on rows of scores, each of which has one score for every key.
        head_dim: D.
        width: C, the width of the tokens that enter the attention module.
        num_queries: the number of rows, where it is not N; None for N.
        number: number of the block in the model, from 0.
        is_masked: whether the model masks some pairs of tokens (Swin's shifted windows).
        has_bias: whether the model adds numbers to the scores (a bias of relative positions).
        is_gated: whether it is a gated positional layer of ConViT.
        has_norms: whether the model normalises queries and keys.
        pools_queries: whether a query is made of several tokens (Hiera).
        is_rotated: whether the model rotates queries and keys by their positions (RoPE).
    """

    num_heads: int
    num_tokens: int
    head_dim: int
    width: int
    num_queries: int | None = None
    number: int = 0
    is_masked: bool = False
    has_bias: bool = False
    is_gated: bool = False
    has_norms: bool = False
    is_rotated: bool = False
    pools_queries: bool = False

    @property
    def queries(self) -> int:
        """The number of rows."""
        return self.num_tokens if self.num_queries is None else self.num_queries
