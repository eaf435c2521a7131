"""Run or resume a study: `python launch.py --space search_spaces/fourier_grid.yaml`."""

import sys

from karat.cli.launch import launch
from karat.system.process.collector import collect_rarely

if __name__ == "__main__":
    collect_rarely()
    sys.exit(launch())
