"""timm's vision transformers with the attention operator: build, convert, transfer, costs.

A host model is a timm model whose attention modules are replaced, here called converted. The
functions `karat.convert` and `karat.transfer` are in the modules of those names.
"""

from karat.system.lazy_import import exports

_FROM = {
    "Costs": "costs",
    "ModelConfig": "config",
    "SIZES": "config",
    "build_model": "build",
    "check_model": "shape",
    "costs_of": "costs",
    "count_parameters": "hosts",
    "is_converted": "hosts",
    "kernels_of": "convert",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
