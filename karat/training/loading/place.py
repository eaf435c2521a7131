"""The folder of decoded images on this node."""

import os
from pathlib import Path

CACHE = "KARAT_CACHE"


def images_folder() -> Path:
    """`images` in the folder that `KARAT_CACHE` names, else in karat's folder of the platform's cache."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser().absolute() / "images"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karat" / "images"
