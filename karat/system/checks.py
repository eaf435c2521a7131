"""Checks for `karat doctor`: each returns what it found, or raises `CheckFailed` with a remedy."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from karat.errors import KaratError
from karat.system.redact import without_secrets

_MAX_CLOCK_OFFSET_S = 5.0

Check = tuple[str, Callable[[], str]]


class CheckFailed(KaratError):
    """A check failed: what is wrong, and what to do about it."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    message: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'FAILS'}  {self.name:9} {self.message}"


def examine(checks: Iterable[Check]) -> list[Finding]:
    """Run every check, even if an earlier one fails."""
    return [_run(name, check) for name, check in checks]


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (KaratError, OSError) as error:
        return Finding(name, False, without_secrets(" ".join(str(error).split())))


def check_clocks(offsets_s: Mapping[str, float], reference: str = "here") -> str:
    """The clocks of all nodes agree, so that times in a study can be compared.

    Args:
        offsets_s: node to the offset of its clock.
        reference: the machine whose clock the offsets are measured against.
    """
    wrong = [f"{n} by {s:+.0f} s" for n, s in offsets_s.items() if abs(s) > _MAX_CLOCK_OFFSET_S]
    if wrong:
        raise CheckFailed(f"clocks differ from {reference}: {', '.join(wrong)}; set up NTP there")
    return f"within {_MAX_CLOCK_OFFSET_S:.0f} s of {reference}"
