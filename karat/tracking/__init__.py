"""A study in MLflow, written from its journal by a separate process."""

from karat.system.lazy_import import exports

_FROM = {
    "TrackingError": "client",
    "View": "view",
    "run_sync": "sync",
    "runs_of_study": "sync",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
