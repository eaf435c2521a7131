"""Checks that `karat doctor` makes: each returns what it found, or raises `CheckFailed` with what to do."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from karat.errors import KaratError
from karat.system.redact import without_secrets

_CLOCKS_APART_S = 5.0

Check = tuple[str, Callable[[], str]]


class CheckFailed(KaratError):
    """A check that fails: what is wrong, and what to do."""


@dataclass(frozen=True)
class Finding:
    """What one check came to."""

    name: str
    ok: bool
    message: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'FAILS'}  {self.name:9} {self.message}"


def examine(checks: Iterable[Check]) -> list[Finding]:
    """Make every check, whatever becomes of those before."""
    return [_made(name, check) for name, check in checks]


def _made(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (KaratError, OSError) as error:
        return Finding(name, False, without_secrets(" ".join(str(error).split())))


def check_clocks(apart_s: Mapping[str, float], than: str = "here") -> str:
    """Clocks of nodes agree, so that times in a study can be read.

    Args:
        apart_s: how far each node's differs.
        than: from whose.
    """
    wrong = [f"{n} by {s:+.0f} s" for n, s in apart_s.items() if abs(s) > _CLOCKS_APART_S]
    if wrong:
        raise CheckFailed(f"clocks differ from {than}: {', '.join(wrong)}; have NTP set up there")
    return f"within {_CLOCKS_APART_S:.0f} s of {than}"
