"""Settings of the mechanisms that mix positions through learned tables of rank R."""

from karat.attention.operator_config import OperatorConfig
from karat.errors import SettingError

TABLE_SETTINGS = frozenset({"rank", "block_sharing", "head_sharing", "head_groups"})


def check_table(config: OperatorConfig) -> None:
    """Refuse the rank `full`, for which there are no two tables.

    Raises:
        SettingError: the rank is no number.
    """
    if not isinstance(config.rank, int):
        raise SettingError("rank", "must be a number for this mechanism", config.rank)
