"""karat: search and ablation for learnable attention in vision transformers.

The parts for use in other code, loaded when named, since torch and timm take seconds:
`karat.convert`, `karat.transfer`, `karat.AttentionConfig`, `karat.costs`. Beside timm, models
named `karat_*` stand in its registry. What each package knows, its first line says.
"""

import importlib
from types import ModuleType
from typing import Any

from karat.system.lazy_import import call_after_import, exports

__version__ = "0.1.0"
__all__ = ["AttentionConfig", "__version__", "convert", "costs", "transfer"]

_get = exports(
    __name__,
    {
        "AttentionConfig": "attention.config",
        "convert": "models.convert",
        "transfer": "models.transfer",
    },
)


def __getattr__(name: str) -> Any:
    return importlib.import_module("karat.models.costs") if name == "costs" else _get(name)


def _register(timm: ModuleType) -> None:
    importlib.import_module("karat.models.timm_registry").register(timm)


# In whichever order the two are imported, and without importing timm for those who do not use it.
call_after_import("timm", _register)
