"""What the nodes of a Ray cluster say of themselves; runs inside, as a job of its own.

    python -m jobs.node_check FOLDER [DATA...]

Prints one line, `MARK` and JSON: of each node its address, resources, and what is wrong with the
folder of studies (which it must write to, and share with the others) or with the data.
"""

import json
import os
import sys
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


def ask_nodes(storage: str, data: list[str]) -> list[dict[str, Any]]:
    """One answer of each node; on a node that does not answer, that is what is wrong."""
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
            task = ray.remote(num_cpus=0, max_retries=0)(looked_at)
            asked[node["NodeID"]] = task.options(scheduling_strategy=place).remote(
                storage, token, data
            )
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE_S)
        return [_answer(node, asked[node["NodeID"]]) for node in nodes]
    finally:
        marker.unlink(missing_ok=True)


def _answer(node: dict[str, Any], reference: Any) -> dict[str, Any]:
    import ray

    try:
        wrong = ray.get(reference, timeout=0)
    except ray.exceptions.RayError as error:
        wrong = [f"did not answer ({type(error).__name__})"]
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    return {"node": name, "resources": node["Resources"], "wrong": wrong}


def main() -> None:
    import ray

    # A job finds its cluster's address in RAY_ADDRESS, and the token where the head has it.
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    print(MARK + json.dumps(ask_nodes(sys.argv[1], sys.argv[2:])), flush=True)


if __name__ == "__main__":
    main()
