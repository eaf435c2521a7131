"""Training of one trial, which depends on its configuration and seed alone; no Ray, no MLflow."""

from karat.system.lazy_import import exports

_FROM = {
    "EpochResult": "trainer",
    "Segment": "segment",
    "SegmentWorker": "worker",
    "Trainer": "trainer",
    "TrainingConfig": "config",
    "TrialConfig": "config",
    "costs_of_trial": "costs",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
