"""Stop the jobs of a Ray head and wait for them: `python -m jobs.ray.stop_jobs`.

To be run before a head ends (a pod does it by itself), so that the drivers of studies shut down
gracefully, with checkpoints written.
"""

import argparse
import os
import time
from typing import Any

from jobs.ray.client import client_of, token_of
from jobs.ray.request import STOP_WAIT_S


def stop_jobs(client: Any, patience_s: float = STOP_WAIT_S) -> list[str]:
    """Stop all running jobs and wait for them, at most `patience_s`; returns their ids."""
    running = [each.submission_id for each in client.list_jobs() if not each.status.is_terminal()]
    jobs = [job for job in running if job]
    for job in jobs:
        client.stop_job(job)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if all(client.get_job_status(job).is_terminal() for job in jobs):
            break
        time.sleep(0.5)
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m jobs.ray.stop_jobs")
    parser.add_argument("--address", default="http://127.0.0.1:8265", help="of the dashboard")
    parser.add_argument("--patience", type=float, default=STOP_WAIT_S, help="seconds")
    options = parser.parse_args()
    client = client_of(options.address, token_of(os.environ))
    for job in stop_jobs(client, options.patience):
        print(f"stopped {job}")


if __name__ == "__main__":
    main()
