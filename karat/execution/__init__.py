"""Execution on Ray: runs each segment of a study as one Tune trial, on this machine or a cluster."""

from karat.system.lazy_import import exports

_FROM = {
    "Engine": "engine",
    "Slot": "trainable",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
