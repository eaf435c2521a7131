"""The record of a study: one line per event, and the study's state, folded from the events."""

from karat.system.lazy_import import exports

_FROM = {
    "Event": "journal",
    "Follower": "journal",
    "Journal": "journal",
    "StudyState": "state",
    "Trial": "state",
    "read_events": "journal",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
