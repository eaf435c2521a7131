"""The loop: asks the plan, writes the journal, and lets what was written take effect."""

from karat.system.lazy_import import exports

_FROM = {
    "Study": "study",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
