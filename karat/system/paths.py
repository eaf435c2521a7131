"""The folder that holds karat's code, and how other processes find it."""

import os
import site
from collections.abc import MutableMapping
from pathlib import Path

# The parent of the packages `karat` and `jobs`: a checkout, or site-packages.
CODE = Path(__file__).resolve().parents[2]


def add_to_python_path(environment: MutableMapping[str, str]) -> None:
    """Let child processes import karat from any working directory.

    An installed karat needs no entry, and must not have one: site-packages in PYTHONPATH would take
    precedence over the standard library.
    """
    installed = (
        Path(each).resolve() for each in (*site.getsitepackages(), site.getusersitepackages())
    )
    if CODE not in installed:
        paths = [str(CODE), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
