"""A launch as a Ray job: `python -m karat.cli.in_cluster ARGUMENTS OF launch.py`.

Ray tells a job by RAY_ADDRESS in which cluster it runs; karat joins what KARAT_RAY_ADDRESS names.
A program instead of shell in the job's command: on its way to the head it passes several shells.
"""

import os
import sys

from karat.system.paths import CODE


def main() -> None:
    os.environ["KARAT_RAY_ADDRESS"] = os.environ["RAY_ADDRESS"]
    launch = CODE / "launch.py"
    os.execv(sys.executable, [sys.executable, str(launch), *sys.argv[1:]])


if __name__ == "__main__":
    main()
