"""karat: search and ablation for learnable attention in vision transformers.

The public API is `karat.convert`, `karat.transfer`, `karat.without_content`, `karat.AttentionConfig`,
`karat.costs` and `karat.analyses`; each name is loaded at first use, since torch and timm take seconds. With timm
imported, its registry contains models named `karat_*`. The docstring of each package says what it
is for.
"""

import importlib
from types import ModuleType
from typing import Any

from karat.system.lazy_import import call_after_import, exports

__version__ = "0.1.0"
__all__ = [
    "AttentionConfig",
    "__version__",
    "analyses",
    "convert",
    "costs",
    "transfer",
    "without_content",
]
_MODULES = {"analyses": "karat.analyses", "costs": "karat.models.costs"}

_get = exports(
    __name__,
    {
        "AttentionConfig": "attention.config",
        "convert": "models.convert",
        "transfer": "models.transfer",
        "without_content": "models.content",
    },
)


def __getattr__(name: str) -> Any:
    return importlib.import_module(_MODULES[name]) if name in _MODULES else _get(name)


def _register(timm: ModuleType) -> None:
    importlib.import_module("karat.models.timm_registry").register(timm)


# Works in either order of imports, and does not import timm for users who do not need it.
call_after_import("timm", _register)
