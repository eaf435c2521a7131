"""Where karat's own code lies, and how another process finds it."""

import os
import site
from collections.abc import MutableMapping
from pathlib import Path

# The folder that holds the packages `karat` and `jobs`: a checkout, or an environment's packages.
CODE = Path(__file__).resolve().parents[2]


def add_to_python_path(environment: MutableMapping[str, str]) -> None:
    """Let processes of this environment import karat, whatever folder they start in.

    An environment into which karat is installed needs nothing: its packages in PYTHONPATH would
    come before Python's own.
    """
    installed = (
        Path(each).resolve() for each in (*site.getsitepackages(), site.getusersitepackages())
    )
    if CODE not in installed:
        paths = [str(CODE), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
