"""The search space as data: from a YAML file to a checked `Space`; errors name file and line."""

from karat.system.lazy_import import exports

_FROM = {
    "Arm": "space",
    "ConfirmConfig": "settings",
    "ResourceConfig": "settings",
    "Space": "space",
    "load_space": "reader",
    "space_of": "reader",
    "trial_config": "arms",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
