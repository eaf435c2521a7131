"""timm's attention modules with the operator instead of softmax: one file per family.

A wrapper computes what timm's module does, up to rounding, if its operator is softmax. Which class of timm has which
wrapper: `karat.models.convert.WRAPPERS`.
"""

from karat.system.lazy_import import exports

_FROM = {"HostAttention": "base", "KArAtAttention": "plain", "Observer": "base"}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
