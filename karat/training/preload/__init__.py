"""Modules that every trial loads, which takes seconds: its process loads them while no segment waits."""

import importlib

from karat.system.process.collector import imports_kept

# torch's first optimizer step imports torch._dynamo, as timm does.
MODULES = ("karat.training.trainer", "timm.optim", "timm.scheduler")


def preload() -> None:
    """Load them."""
    with imports_kept():
        for name in MODULES:
            importlib.import_module(name)
