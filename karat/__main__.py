"""`python -m karat COMMAND`: everything that looks at a study without running it."""

import sys

from karat.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
