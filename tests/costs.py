"""What code costs, in figures that are the same on every machine: calls, bytes, packages.

Seconds are not among them: they belong into `benchmarks/`. Where only time can tell, two times of
one run are compared, with a margin.
"""

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from tests.conftest import ROOT

ATTEMPTS = 10  # of which one must keep a ratio of times: the machine may have other things to do
_IMPORTED = "import time:"


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Args:
        status: its exit status.
        output, error: what it wrote to stdout and stderr.
        packages: top-level packages that it loaded and that Python alone does not.
        memory_mb: at its most.
    """

    status: int
    output: str
    error: str
    packages: frozenset[str]
    memory_mb: float

    @property
    def foreign(self) -> set[str]:
        """Packages that are neither of the standard library nor of this repository."""
        others = self.packages - sys.stdlib_module_names - {"karat", "jobs"}
        return {name for name in others if find_spec(name)}  # the standard library tries Jython's


def finished(*words: str) -> Finished:
    """Run `python WORDS` in the repository, with nothing to read from."""
    done = subprocess.run(
        [sys.executable, "tests/measure.py", sys.executable, "-X", "importtime", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    lines = found["error"].splitlines(keepends=True)
    error = "".join(line for line in lines if not line.startswith(_IMPORTED))
    packages = _packages(found["error"]) - _of_python()
    return Finished(found["status"], found["output"], error, packages, found["memory_mb"])


def _packages(error: str) -> frozenset[str]:
    """From the lines that `-X importtime` writes."""
    names = [line.rpartition("|")[2] for line in error.splitlines() if line.startswith(_IMPORTED)]
    return frozenset(name.strip().partition(".")[0] for name in names)


@cache
def _of_python() -> frozenset[str]:
    """What Python loads by itself, with the hooks of this environment."""
    words = [sys.executable, "-X", "importtime", "-c", ""]
    return _packages(subprocess.run(words, capture_output=True, text=True, check=True).stderr)


def calls_of(call: Callable[[], object]) -> int:
    """How many functions a call calls, of Python and of C."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(before)
    return calls


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that Python had allocated at a time during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def kept_bytes(make: Callable[[], Any]) -> int:
    """Of what `make` returns."""
    tracemalloc.start()
    try:
        made = make()
        kept, _ = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return kept


def times_of(call: Callable[[], object], yardstick: Callable[[], object], enough: float) -> float:
    """How many times the yardstick's processor time a call takes, at the best of some attempts.

    Args:
        call: what is measured.
        yardstick: what it is measured by, right before.
        enough: no further attempt is made below.
    """
    best = float("inf")
    for _ in range(ATTEMPTS):
        best = min(best, _cpu_s(call) / max(_cpu_s(yardstick), 1e-9))
        if best < enough:
            break
    return best


def _cpu_s(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started
