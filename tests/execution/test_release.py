"""What slots had reserved on a machine that was cut off is given back once it can be reached."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from karat.execution import release
from karat.execution.release import Release, has_reachable_machines


def acquired(name: str) -> Any:
    return SimpleNamespace(placement_group=name)


def test_resources_on_a_machine_that_is_cut_off_are_given_back_once_it_is_reachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(release, "LOOK_EVERY_S", 0.0)
    cut, freed = {"b"}, []
    free = Release(lambda each: freed.append(each.placement_group), lambda group: group not in cut)
    for name in "abc":
        free(acquired_resource=acquired(name))
    assert freed == ["a", "c"]
    free.on_step()
    assert freed == ["a", "c"]
    cut.clear()
    free.on_step()
    free.on_step()
    assert freed == ["a", "c", "b"]


def test_a_machine_that_is_cut_off_is_not_asked_in_every_step_of_tune() -> None:
    asked: list[str] = []

    def is_reachable(group: str) -> bool:
        asked.append(group)
        return False

    free = Release(lambda _: None, is_reachable)
    free(acquired_resource=acquired("a"))
    for _ in range(1000):
        free.on_step()
    assert len(asked) < 100


def test_only_machines_of_the_group_that_ray_takes_for_alive_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("", 0)) as other:
        open_port, closed_port = server.getsockname()[1], other.getsockname()[1]
        other.close()
        nodes = [
            {"NodeID": name, "Alive": alive, "NodeManagerAddress": "127.0.0.1"}
            | {"NodeManagerPort": port}
            for name, alive, port in [
                ("here", True, open_port),
                ("cut", True, closed_port),
                ("dead", False, closed_port),
            ]
        ]
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        monkeypatch.setattr(
            ray.util, "placement_group_table", lambda group: {"bundles_to_node_id": group}
        )
        assert has_reachable_machines({0: "here", 1: "dead"})
        assert not has_reachable_machines({0: "here", 1: "cut"})
