"""What a study needs of a running Ray cluster, for `python -m karat doctor --submit ray`."""

import os
from collections.abc import Callable
from typing import Any

from jobs import Submission
from jobs.ray.client import check_nodes, check_version, examine_nodes, token_of
from jobs.ray.request import storage_of
from jobs.ray.settings import RaySettings
from karat.execution.checks import LEAST_GB
from karat.system.checks import Check, CheckFailed, check_clocks
from karat.system.redact import shown_address


def checks_of(submission: Submission[RaySettings]) -> list[Check]:
    """The checks of a cluster; a small job on it says what its nodes see."""
    address, resources = submission.settings.address, submission.space.resources
    found: dict[str, Any] = {}

    def cluster() -> str:
        import ray

        check_version(address, token_of(os.environ))
        return f"{shown_address(address)} takes the token, and runs Ray {ray.__version__}"

    def nodes() -> str:
        found.update(examine_nodes(submission, resources.disk_gb or LEAST_GB))
        check_nodes([{**each, "wrong": []} for each in found["nodes"]], resources)
        return f"{len(found['nodes'])} nodes; a trial fits"

    def packages() -> str:
        wrong = [
            f"{each['node']}: {each['versions'][1]}"
            for each in known()
            if not each.get("versions", [True])[0]
        ]
        if wrong:
            raise CheckFailed("; ".join(wrong))
        return "as pinned on every node"

    def shared() -> str:
        check_nodes(known(), resources)
        return f"{storage_of(submission)} can be written from {len(known())} nodes"

    def clocks() -> str:
        apart = {each["node"]: each.get("apart_s", 0.0) for each in known()}
        return check_clocks(apart, "the head")

    def known() -> list[dict[str, Any]]:
        if not found:
            raise CheckFailed("the nodes could not be asked; see above")
        nodes: list[dict[str, Any]] = found["nodes"]
        return nodes

    def on_head(name: str) -> Callable[[], str]:
        def look() -> str:
            known()
            ok, said = found["head"][name]
            if not ok:
                raise CheckFailed(f"on the head: {said}")
            return f"on the head: {said}"

        return look

    return [
        ("ray", cluster),
        ("nodes", nodes),
        ("packages", packages),
        ("shared", shared),
        ("clocks", clocks),
        ("disk", on_head("disk")),
        ("mlflow", on_head("mlflow")),
    ]
