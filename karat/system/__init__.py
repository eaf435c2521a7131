"""The operating system and this process: files, signals, secrets, memory, imports."""

from karat.system.lazy_import import exports

_FROM = {
    "DiskBudget": "disk_quota",
    "Interruption": "process.signals",
    "PeakMemory": "process.memory",
    "ProcessIdentity": "process.identity",
    "describe_environment": "environment",
    "make_tempdir": "tempdir",
    "replace_file": "files",
    "without_secrets": "redact",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
