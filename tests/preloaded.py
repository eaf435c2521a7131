"""Importing this module loads what most tests need in a process of their own."""

import importlib

from karat.system.process.collector import imports_kept

with imports_kept():  # nor does a fork of this process look at any of it again
    for name in ("tests.faults.inline", "tests.spawned_rank", "timm.optim", "timm.scheduler"):
        importlib.import_module(name)
