"""Health checks that really write: `health.py mlflow|ray-head|ray-worker`; exit status 0 means healthy."""

import base64
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def mlflow() -> None:
    """Write to the database and the artifacts, under the host name that other services use."""
    found = ask_mlflow(
        "POST", "experiments/search", {"filter": "name = 'health'", "max_results": 1}
    )
    if not found.get("experiments"):
        ask_mlflow("POST", "experiments/create", {"name": "health"})
        found = ask_mlflow(
            "POST", "experiments/search", {"filter": "name = 'health'", "max_results": 1}
        )
    experiment = found["experiments"][0]["experiment_id"]
    now = str(time.time())
    tag = {"experiment_id": experiment, "key": "at", "value": now}
    ask_mlflow("POST", "experiments/set-experiment-tag", tag)
    run = {"experiment_id": experiment, "run_name": "health", "start_time": 0}
    runs = ask_mlflow("POST", "runs/search", {"experiment_ids": [experiment], "max_results": 1})
    if not runs.get("runs"):
        ask_mlflow("POST", "runs/create", run)
        runs = ask_mlflow("POST", "runs/search", {"experiment_ids": [experiment], "max_results": 1})
    run_id = runs["runs"][0]["info"]["run_id"]
    path = f"mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/health.txt"
    ask_mlflow("PUT", path, now.encode())


def ray_head() -> None:
    """Write to the storage and to Ray's package store; check that a request without the token is refused."""
    write_file()
    ask_agent()
    address = os.environ["HEALTH_RAY"]
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
    url = f"{address}/api/packages/gcs/health.zip"
    ask("PUT", url, {"Authorization": f"Bearer {token}"}, b"PK\5\6" + bytes(18))  # an empty zip
    try:
        ask("GET", f"{address}/api/version", {})
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return
        raise
    sys.exit("Ray answers a request without a token: token authentication is off")


def ray_worker() -> None:
    """Write to the storage; check that the raylet answers and that the head knows it."""
    write_file()
    ask_agent()


def ask_agent() -> None:
    """Ask the node's agent, the process that starts jobs, for the health of its raylet."""
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
    port = os.environ["RAY_AGENT_PORT"]
    url = f"http://127.0.0.1:{port}/api/local_raylet_healthz"
    ask("GET", url, {"Authorization": f"Bearer {token}"})


def write_file() -> None:
    path = Path(os.environ["HEALTH_FOLDER"]) / f".health-{socket.gethostname()}-{os.getpid()}"
    path.write_text(str(time.time()))
    path.unlink()


def ask_mlflow(method: str, path: str, data: dict[str, object] | bytes) -> dict[str, Any]:
    """Call MLflow's REST API as the admin, and return the answer."""
    user = f"{os.environ['MLFLOW_AUTH_ADMIN_USERNAME']}:{os.environ['MLFLOW_AUTH_ADMIN_PASSWORD']}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(user.encode()).decode()}",
        "Content-Type": "application/json",
    }
    base = path if path.startswith("mlflow-artifacts") else f"mlflow/{path}"
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    url = f"{os.environ['HEALTH_MLFLOW']}/api/2.0/{base}"
    return json.loads(ask(method, url, headers, content) or b"{}")


def ask(method: str, url: str, headers: dict[str, str], content: bytes | None = None) -> bytes:
    """Send a request and return the body of the answer.

    Raises:
        HTTPError: the server answered with an error status.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, content, headers, method=method)
    with opener.open(request, timeout=15) as answer:
        return answer.read()


if __name__ == "__main__":
    {"mlflow": mlflow, "ray-head": ray_head, "ray-worker": ray_worker}[sys.argv[1]]()
