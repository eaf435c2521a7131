"""Settings of what is recorded of a training: fields of `karat.training.TrainingConfig`.

They change no result, and so are no part of a study's question: neither of its hash nor of what makes two trials the
same, and a study goes on with other values.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.errors import SettingError
from karat.settings import at_least

WATCHING = ("keep_checkpoints", "health")
HEALTH_METRICS = tuple(
    f"health_{name}"
    for name in (
        *("entropy", "effective_rank", "row_sum", "row_sum_std", "negative"),
        *("output_norm", "gradient_norm"),
    )
)
"""Metrics of an epoch that `health` adds."""


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What is recorded of a training; nothing of it changes a weight or a draw.

    Args:
        keep_checkpoints: epochs whose weights a confirmation run keeps, for analyses of the path of its training: a number
            of epochs, evenly spread over the run with the last one among them (all where it has fewer), or a list of
            epochs, `[1, 5, 20]`. 0 is none. A run of a multiple of the epochs (`confirm.budgets`) has the number over its
            own length, and the list as it stands. When `resources.disk_gb` runs low, they are deleted before any weights that a run is tested with.
        health: whether the attention of each block and head is looked at after every epoch, on a few validation images:
            entropy, effective rank, row sums, norms. They are metrics of the epoch, named `health_...`.
    """

    keep_checkpoints: int | tuple[int, ...] = 0
    health: bool = False

    def check_kept(self, epochs: int) -> None:
        """Refuse epochs that a training does not have.

        Args:
            epochs: of the training.

        Raises:
            SettingError: `keep_checkpoints` is below 0, or a list that does not increase or goes beyond them.
        """
        kept = self.keep_checkpoints
        if isinstance(kept, int):
            at_least("keep_checkpoints", kept, 0)
            return
        is_increasing = all(one < other for one, other in itertools.pairwise(kept))
        if not kept or not is_increasing or kept[0] < 1 or kept[-1] > epochs:
            rule = f"must be a number of epochs, or a list of epochs from 1 to {epochs}, increasing"
            raise SettingError("keep_checkpoints", rule, list(kept))

    def kept_of(self, epochs: int) -> tuple[int, ...]:
        """The epochs whose weights are kept, increasing.

        Args:
            epochs: of the training.
        """
        kept = self.keep_checkpoints
        if isinstance(kept, int):
            kept = min(kept, epochs)
            return tuple((2 * place * epochs + kept) // (2 * kept) for place in range(1, kept + 1))
        return kept


def unwatched(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sections of a configuration without what is only recorded: two trials with the same are the same."""
    found = {name: dict(values) for name, values in sections.items()}
    if "training" in found:
        found["training"] = {k: v for k, v in found["training"].items() if k not in WATCHING}
    return found
