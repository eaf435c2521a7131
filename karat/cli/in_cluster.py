"""A launch inside a cluster: `python -m karat.cli.in_cluster [--retried] ARGUMENTS OF A LAUNCH`.

What the jobs of every cluster run (`jobs.Submission.program`). The launch joins the Ray that
RAY_ADDRESS names, as Ray's own jobs have it. A program of its own instead of shell in a job's
command: on its way to a head it passes several shells.

With `--retried` the cluster runs the job again after any other status than 0; KubeRay makes a whole
new Ray cluster for it. So what another attempt would not change ends with 0, and a line that says how
it ended; a crash does not.

The launch is no child of this process: Ray sends its signals to a job's processes all at once, and
a launch that got one twice would end without writing checkpoints.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from karat.cli.command import launch_as_typed
from karat.cli.exit_status import FAILED, INTERRUPTED, WRONG_INPUT, guarded
from karat.cli.run import add_arguments, run_study
from karat.errors import InputError
from karat.system.signals import Interruption

RETRIED = "--retried"
_SETTLED = {FAILED: "it failed", WRONG_INPUT: "its input is wrong"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the job's exit status.

    Args:
        arguments: in place of the process's.
    """
    parser = argparse.ArgumentParser(prog="python -m karat.cli.in_cluster", description=__doc__)
    parser.add_argument(
        RETRIED, action="store_true", help="the job is run again unless it ends with 0"
    )
    add_arguments(parser)
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    command = launch_as_typed([word for word in given if word != RETRIED])
    interruption = Interruption()
    status = guarded(lambda: _join(options, interruption, command))
    why = why_settled(status, interruption.signal) if options.retried else None
    if why is None:
        return status
    print(f"the launch ended with status {status}: {why}; it is not tried again", flush=True)
    return 0


def _join(options: argparse.Namespace, interruption: Interruption, command: str) -> int:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        raise InputError(
            "RAY_ADDRESS is missing: the job of a cluster says by it which Ray to join"
        )
    if options.retried:
        # An earlier attempt's driver, on a head that is being ended, may still hold the study.
        os.environ["KARAT_IF_LOCKED"] = "try-again"
    return run_study(options, interruption, command, address)


def why_settled(status: int, signal: str | None) -> str | None:
    """Why another attempt would end as this one did; None if it may not.

    Args:
        status: in which the launch ended.
        signal: that it got; without one its budget or a full disk interrupted it.
    """
    if status == INTERRUPTED:
        return "its budget is spent, or its disk is full" if signal is None else None
    return _SETTLED.get(status)


if __name__ == "__main__":
    sys.exit(main())
