"""Where karat's own code lies."""

from pathlib import Path

# The folder that holds the packages `karat` and `jobs`: a checkout, or an environment's packages.
CODE = Path(__file__).resolve().parents[2]
