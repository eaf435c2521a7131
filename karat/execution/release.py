"""Gives back to Ray what slots had reserved; on a machine that cannot be reached, once it can be.

When a machine is cut off from the network, Tune takes its workers for dead and removes their
placement groups. Ray tries that for five seconds. If the machine comes back later, what they had
reserved there stays reserved until Ray ends, and the machine gets no trial any more
(https://github.com/ray-project/ray/issues/64696).
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from karat.execution.watch import accepts

LOOK_EVERY_S = 1.0
_ANSWER_S = 0.5  # Tune's loop waits for it
log = logging.getLogger(__name__)


def has_reachable_machines(placement_group: Any) -> bool:
    """Whether all machines of a placement group accept connections; one that is dead is left out."""
    import ray

    table = ray.util.placement_group_table(placement_group)
    used = set(table["bundles_to_node_id"].values())
    return all(
        accepts(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", _ANSWER_S)
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] in used
    )


class Release:
    """Takes the place of `free_resources` of Tune's resource manager.

    Args:
        free: removes a placement group, as Tune does.
        is_reachable: whether Ray can reach the machines of a placement group.
    """

    def __init__(
        self,
        free: Callable[[Any], None],
        is_reachable: Callable[[Any], bool] = has_reachable_machines,
    ) -> None:
        self._free, self._is_reachable = free, is_reachable
        self._kept: list[Any] = []
        self._next_look_s = 0.0

    def __call__(self, acquired_resource: Any) -> None:
        if self._is_reachable(acquired_resource.placement_group):
            self._free(acquired_resource)
            return
        log.warning("a machine cannot be reached: its trials are started elsewhere")
        self._kept.append(acquired_resource)

    def on_step(self) -> None:
        """Look again, at most once a second; called in each step of Tune's loop."""
        if not self._kept or time.monotonic() < self._next_look_s:
            return
        kept, self._kept = self._kept, []
        for each in kept:
            if self._is_reachable(each.placement_group):
                self._free(each)
            else:
                self._kept.append(each)
        self._next_look_s = time.monotonic() + LOOK_EVERY_S
