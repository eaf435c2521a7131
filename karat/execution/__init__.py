"""Ray: runs the segments of a study, each as one Tune trial, here or on a cluster."""

from karat.system.lazy_import import exports

_FROM = {
    "Engine": "engine",
    "SegmentTrainable": "trainable",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
