"""A launch as the job of a `RayJob`: `python -m karat.cli.in_rayjob ARGUMENTS OF launch.py`.

After any other status than 0 KubeRay makes a whole new cluster and tries again. So what another
attempt would not change ends with 0, and a line that says how it ended; a crash does not.

The launch is no child of this process: Ray sends its signals to a job's processes all at once, and
a launch that got one twice would end without writing checkpoints.
"""

import os
import sys

from karat.cli.exit_status import FAILED, INTERRUPTED, WRONG_INPUT
from karat.cli.launch import launch
from karat.system.signals import Interruption

_SETTLED = {FAILED: "it failed", WRONG_INPUT: "its input is wrong"}


def why_settled(status: int, signal: str | None) -> str | None:
    """Why another attempt would end as this one did; None if it may not.

    Args:
        status: in which the launch ended.
        signal: that it got; without one its budget or a full disk made it leave off.
    """
    if status == INTERRUPTED:
        return "its budget is spent, or its disk is full" if signal is None else None
    return _SETTLED.get(status)


def main() -> int:
    os.environ["KARAT_RAY_ADDRESS"] = os.environ["RAY_ADDRESS"]  # as in `karat.cli.in_cluster`
    # An earlier attempt's driver, on a head that is being ended, may still hold the study.
    os.environ["KARAT_IF_LOCKED"] = "try-again"
    sys.argv[0] = "launch.py"  # what a user is told to type
    interruption = Interruption()
    status = launch(sys.argv[1:], interruption)
    why = why_settled(status, interruption.signal)
    if why is None:
        return status
    print(f"the launch ended with status {status}: {why}; it is not tried again", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
