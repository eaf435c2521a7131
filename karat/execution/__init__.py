"""Execution on Ray: runs a study's segments in workers that Ray Tune keeps, here or on a cluster."""

from karat.system.lazy_import import exports

_FROM = {
    "Engine": "engine",
    "Slot": "trainable",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
