"""Checks what a study reports against its weights and its images, and by training again."""

from karat.system.lazy_import import exports

_FROM = {
    "Reproduced": "training_again",
    "Verified": "tests_again",
    "check_claims": "claims",
    "reproduce": "training_again",
    "verify": "tests_again",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
