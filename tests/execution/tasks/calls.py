"""Calls as tasks of a real Ray, in a process of its own; prints as JSON how each ended.

Ray must not be imported before karat has closed its environment, which other tests of a process may have done.
"""

import json
import os
import signal
import sys
from typing import Any

from karat.execution.tasks.local import Ended, run_tasks


def work(argument: str) -> str:
    kind, _, value = argument.partition(" ")
    if kind == "fail":
        raise ValueError(value)
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def main(calls: list[str]) -> None:
    ended: list[Ended[str, str]] = []
    stops = calls[:1] == ["stop"]
    run_tasks(work, calls, 2, ended.append, should_stop=lambda: stops)
    found: list[Any] = [[each.argument, each.value, each.error] for each in ended]
    print(json.dumps(found))


if __name__ == "__main__":
    from tests.execution.tasks import calls  # its workers import it by this name

    calls.main(sys.argv[1:])
