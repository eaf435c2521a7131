"""The rule for a study's name, which becomes a folder, a run's name and a job's name."""

import re

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RULE = "must be lower-case letters, digits, - and _, at most 63, not starting with - or _"
_TAKEN = {"mlruns"}  # a folder beside those of the studies


def why_no_name(name: object) -> str | None:
    """The rule that a study's name breaks, as a phrase that follows it; None if it is one."""
    if isinstance(name, str) and name in _TAKEN:
        return "stands for MLflow's files in the folder of all studies; choose another"
    if isinstance(name, str) and NAME.fullmatch(name):
        return None
    if isinstance(name, str) and (strange := [c for c in name if c.isalnum() and not c.isascii()]):
        return f"{_RULE}; {strange[0]!r} is U+{ord(strange[0]):04X} and not one of a to z, 0 to 9"
    return _RULE
