"""Settings of the mechanisms that mix positions through learned tables of rank R."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Place
from karat.attention.operator_config import OperatorConfig
from karat.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

TABLE_SETTINGS = frozenset({"rank", "block_sharing", "head_sharing", "head_groups"})


def check_table(config: OperatorConfig) -> None:
    """Refuse the rank `full`, for which there are no two tables.

    Raises:
        SettingError: the rank is no number.
    """
    if not isinstance(config.rank, int):
        raise SettingError("rank", "must be a number for this mechanism", config.rank)


def table_shapes(
    config: OperatorConfig, place: Place, order: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the two tables that mix N positions through R rows: `into` (R, N), `back` (N, R).

    Args:
        config: of the mechanism.
        place: where it is.
        order: names of the tables as they are drawn, on which the initial weights depend.
    """
    operators, rank = config.operators(place.num_heads), config.outputs(place.num_tokens)
    shapes = {
        "into": (operators, rank, place.num_tokens),
        "back": (operators, place.num_tokens, rank),
    }
    return {name: shapes[name] for name in order}


def for_heads(table: Tensor, heads: int) -> Tensor:
    """The table of each head, from those of P operators."""
    return table.repeat_interleave(heads // table.shape[0], 0)
