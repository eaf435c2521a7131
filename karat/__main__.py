"""`python -m karat COMMAND`: everything that looks at a study without running it."""

import sys

from karat.cli.main import main
from karat.system.process.collector import collect_rarely


def run() -> int:
    """Run the command of `sys.argv`, the only one of this process; what an installed `karat` calls."""
    collect_rarely()
    return main()


if __name__ == "__main__":
    sys.exit(run())
