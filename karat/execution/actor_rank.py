"""The ranks of a trial other than 0 as Ray actors, one per bundle of its placement group."""

from typing import Any

import ray
from ray.util import get_current_placement_group, get_node_ip_address, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from karat.causes import KILLED_BY_RAY, Failure, Loss
from karat.training.distributed_worker import RankLostError, RankWorker
from karat.training.process_group import LOOPBACK


class ActorRank:
    """Actor of one rank, owned and called by rank 0: Ray terminates it when rank 0 exits."""

    def __init__(self, rank: int) -> None:
        group = get_current_placement_group()
        bundle = group.bundle_specs[rank]
        self._rank = rank
        actor: Any = ray.remote(RankWorker)
        self._actor = actor.options(
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, rank),
        ).remote()

    def call(self, method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(self._actor, method).remote(*arguments))
        except ray.exceptions.RayActorError as error:
            raise RankLostError(Failure.LOST, what=Loss.RANK, rank=self._rank) from error
        except ray.exceptions.OutOfMemoryError as error:
            raise RankLostError(Failure.MEMORY, rank=self._rank, **KILLED_BY_RAY) from error

    def kill(self) -> None:
        ray.kill(self._actor)


def start_actor(rank: int) -> ActorRank:
    """Start the actor of a rank."""
    return ActorRank(rank)


def rendezvous_host() -> str:
    """Return this machine's address for the other ranks; loopback if all ranks run on it."""
    nodes = placement_group_table(get_current_placement_group())["bundles_to_node_id"]
    return LOOPBACK if len(set(nodes.values())) == 1 else str(get_node_ip_address())
