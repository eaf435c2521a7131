"""Run or resume a study: `python launch.py --space search_spaces/fourier_grid.yaml`."""

import sys

from karat.cli.launch import launch

if __name__ == "__main__":
    sys.exit(launch())
