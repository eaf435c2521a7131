"""What a study does next, as pure functions of its events: the same live and in a replay."""

from karat.system.lazy_import import exports

_FROM = {
    "Decisions": "decisions",
    "changes_between": "extension",
    "larger_space": "extension",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
