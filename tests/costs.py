"""Costs of code that are the same on every machine: function calls, bytes, imported packages.

Seconds belong into `benchmarks/`. If only time can show a promise, a test compares two times of the
same run, with a margin.
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

ATTEMPTS = 10  # one of them must keep a ratio of times; others may suffer from load on the machine
_IMPORTED = "import time:"


@dataclass(frozen=True)
class Finished:
    """A command that has finished.

    Args:
        status: exit status.
        output, error: its stdout and stderr.
        packages: top-level packages that it loaded, without those that Python always loads.
        memory_mb: peak memory.
    """

    status: int
    output: str
    error: str
    packages: frozenset[str]
    memory_mb: float

    @property
    def foreign(self) -> set[str]:
        """Packages that belong neither to the standard library nor to this repository."""
        others = self.packages - sys.stdlib_module_names - {"karat", "jobs"}
        # Only existing ones: the standard library tries to import modules of Jython.
        return {name for name in others if find_spec(name)}


def finished(*arguments: str) -> Finished:
    """Run `python ARGUMENTS` in the repository, with an empty stdin."""
    done = subprocess.run(
        [sys.executable, "tests/measure.py", sys.executable, "-X", "importtime", *arguments],
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
    """The packages in the lines that `-X importtime` writes."""
    names = [line.rpartition("|")[2] for line in error.splitlines() if line.startswith(_IMPORTED)]
    return frozenset(name.strip().partition(".")[0] for name in names)


@cache
def _of_python() -> frozenset[str]:
    """The packages that Python always loads, with the hooks of this environment."""
    command = [sys.executable, "-X", "importtime", "-c", ""]
    return _packages(subprocess.run(command, capture_output=True, text=True, check=True).stderr)


def calls_of(call: Callable[[], object]) -> int:
    """The number of functions, of Python and of C, that a call calls."""
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
    """The peak of Python's allocated memory during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def kept_bytes(make: Callable[[], Any]) -> int:
    """The memory of the object that `make` returns."""
    tracemalloc.start()
    try:
        made = make()
        kept, _ = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return kept


def times_of(call: Callable[[], object], yardstick: Callable[[], object], enough: float) -> float:
    """The ratio of CPU times of a call and of a yardstick, the lowest of several attempts.

    Args:
        call: the call to measure.
        yardstick: the call to compare with, measured right after it.
        enough: a ratio below it ends the attempts.
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
