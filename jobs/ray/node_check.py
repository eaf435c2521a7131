"""What the nodes of a Ray cluster see; runs inside the cluster, as a small job of its own.

    python -m jobs.ray.node_check [--examine GB] FOLDER [DATA...]

Prints one line, `MARK` and JSON: for each node its address, its resources, and what is wrong with the
folder of studies (which all nodes must share and be able to write) or with the data. With `--examine`,
for the doctor, also its packages and its clock compared with the head's, and whether the head, where
the study's driver will run, has the disk space and reaches MLflow.
"""

import argparse
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

MARK = "KARAT-NODES "
_PATIENCE_S = 60.0


def looked_at(storage: str, token: str, data: list[str]) -> list[str]:
    """What is wrong with these folders on this machine."""
    wrong = []
    folder = Path(storage)
    if not folder.is_dir():
        wrong.append(f"there is no folder {storage}")
    else:
        try:
            seen = (folder / f".{token}").read_text() == token
        except FileNotFoundError:
            seen = False
        except OSError as error:
            return [f"{storage}: {error.strerror}"]
        if not seen:
            wrong.append(f"{storage} is another folder there than on the head")
        elif not os.access(folder, os.W_OK):
            wrong.append(f"{storage} cannot be written to")
    wrong += [f"there is no {each}" for each in data if not Path(each).expanduser().exists()]
    return wrong


def examined(storage: str, token: str, data: list[str]) -> dict[str, Any]:
    """The same, with the state of this machine's packages and the time on its clock."""
    from karat.execution.checks import versions
    from karat.system.checks import examine

    (found,) = examine([("versions", versions)])
    wrong = looked_at(storage, token, data)
    return {"wrong": wrong, "clock": time.time(), "versions": [found.ok, found.message]}


def ask_nodes(storage: str, data: list[str], *, examine: bool = False) -> list[dict[str, Any]]:
    """One answer for each node; that a node does not answer is reported as what is wrong with it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = f"karat-{uuid.uuid4().hex}"
    marker = Path(storage) / f".{token}"
    try:
        marker.write_text(token)
    except OSError as error:
        where = f"{storage}: {error.strerror}"
        return [{"node": "the head", "resources": {}, "wrong": [where]}]
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = {}
        for node in nodes:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(examined if examine else looked_at)
            asked[node["NodeID"]] = task.options(scheduling_strategy=place).remote(
                storage, token, data
            )
        begun = time.time()
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE_S)
        answers = [_answer(node, asked[node["NodeID"]]) for node in nodes]
        for each in answers:
            if "clock" in each:
                each["apart_s"] = _outside(each.pop("clock"), begun, time.time())
        return answers
    finally:
        marker.unlink(missing_ok=True)


def _outside(moment: float, first: float, last: float) -> float:
    """Seconds by which a moment lies after `last`, or (negative) before `first`."""
    return max(0.0, moment - last) - max(0.0, first - moment)


def _answer(node: dict[str, Any], reference: Any) -> dict[str, Any]:
    import ray

    try:
        said = ray.get(reference, timeout=0)
    except ray.exceptions.RayError as error:
        said = [f"did not answer ({type(error).__name__})"]
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    more = said if isinstance(said, dict) else {"wrong": said}
    return {"node": name, "resources": node["Resources"], **more}


def of_the_head(storage: str, disk_gb: float) -> dict[str, tuple[bool, str]]:
    """Disk space for the studies, and whether MLflow takes a run: what the driver will need."""
    from karat.execution.checks import disk
    from karat.system.checks import examine
    from karat.tracking.checks import tracking

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    found = examine(
        [("disk", lambda: disk(Path(storage), disk_gb)), ("mlflow", lambda: tracking(uri))]
    )
    return {each.name: (each.ok, each.message) for each in found}


def main() -> None:
    import ray

    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("data", nargs="*")
    parser.add_argument("--examine", metavar="GB", type=float, help="that must be free on the head")
    options = parser.parse_args()
    # A job finds its cluster's address in RAY_ADDRESS, and the token where the head has it.
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    examine = options.examine is not None
    answers: dict[str, Any] = {"nodes": ask_nodes(options.folder, options.data, examine=examine)}
    if examine:
        answers["head"] = of_the_head(options.folder, options.examine)
    print(MARK + json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
