"""Vision transformers of timm that carry the operator: built, converted, resized, and what they cost.

`karat.convert` and `karat.transfer` are here too, in the modules of those names.
"""

from karat.system.lazy_import import exports

_FROM = {
    "Costs": "costs",
    "ModelConfig": "config",
    "SIZES": "config",
    "build_model": "build",
    "check_model": "shape",
    "costs_of": "costs",
    "count_parameters": "build",
    "is_converted": "convert",
    "kernels_of": "convert",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
