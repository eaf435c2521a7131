"""The commands: `launch.py` and `karat COMMAND`, and how each ends."""

from karat.system.lazy_import import exports

_FROM = {
    "COMMANDS": "main",
    "Command": "command",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
