"""A launch inside a cluster: `python -m karat.cli.in_cluster [--retried] ARGUMENTS OF A LAUNCH`.

The jobs of every cluster run this program (`jobs.Submission.program`). The launch joins the Ray
cluster at RAY_ADDRESS, which Ray sets for its jobs. It is a Python program and not a shell script,
since a job's command passes through several shells, each with its quoting.

With `--retried` the cluster runs the job again after any status other than 0; KubeRay even creates
a new Ray cluster for it. So if a retry would end the same way, the job exits with 0 and prints how
the launch ended; after a crash it exits with the launch's status.

The launch runs in this process, not in a child: Ray sends a signal to all processes of a job at
once, and a launch that received it twice would exit without writing checkpoints.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from karat.cli.command import Parser, launch_as_typed
from karat.cli.exit_status import FAILED, INTERRUPTED, WRONG_INPUT, guarded
from karat.cli.run import add_arguments, run_study
from karat.errors import InputError
from karat.system.process.collector import collect_rarely
from karat.system.process.signals import Interruption

RETRIED = "--retried"
_SETTLED = {FAILED: "it failed", WRONG_INPUT: "its input is wrong"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launch and return the job's exit status.

    Args:
        arguments: command line; None takes `sys.argv`.
    """
    parser = Parser(prog="python -m karat.cli.in_cluster", description=__doc__)
    parser.add_argument(
        RETRIED, action="store_true", help="the cluster retries the job unless it exits with 0"
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
    print(f"the launch exited with status {status}: {why}; it is not retried", flush=True)
    return 0


def _join(options: argparse.Namespace, interruption: Interruption, command: str) -> int:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        raise InputError("RAY_ADDRESS is missing: set it to the address of the Ray cluster to join")
    if options.retried:
        # The driver of an earlier attempt, on a head that is shutting down, may still hold the lock.
        os.environ["KARAT_IF_LOCKED"] = "try-again"
    return run_study(options, interruption, command, address)


def why_settled(status: int, signal: str | None) -> str | None:
    """Return why a retry would end the same way; None if a retry may help.

    Args:
        status: exit status of the launch.
        signal: signal that interrupted it; None if the budget or a full disk did.
    """
    if status == INTERRUPTED:
        return "its budget is spent, or its disk is full" if signal is None else None
    return _SETTLED.get(status)


if __name__ == "__main__":
    collect_rarely()
    sys.exit(main())
