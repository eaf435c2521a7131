"""karat: search and ablation for learnable attention in vision transformers.

The parts for use in other code, loaded when named, since torch and timm take seconds:
`karat.convert`, `karat.transfer`, `karat.AttentionConfig`, `karat.costs`. Beside timm, models
named `karat_*` stand in its registry.
"""

import importlib
from types import ModuleType
from typing import Any

from karat.system.after_import import call_after_import

__version__ = "0.1.0"
__all__ = ["AttentionConfig", "__version__", "convert", "costs", "transfer"]

_FROM = {
    "AttentionConfig": "karat.attention.config",
    "convert": "karat.models.convert",
    "transfer": "karat.models.transfer",
}


def _register(timm: ModuleType) -> None:
    importlib.import_module("karat.models.timm_registry").register(timm)


# In whichever order the two are imported, and without importing timm for those who do not use it.
call_after_import("timm", _register)


def __getattr__(name: str) -> Any:
    if name == "costs":
        return importlib.import_module("karat.models.costs")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'karat' has no attribute {name!r}")
