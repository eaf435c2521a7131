"""The study loop: asks the plan for trials, records every event in the journal, then applies it."""

from karat.system.lazy_import import exports

_FROM = {
    "Study": "study",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
