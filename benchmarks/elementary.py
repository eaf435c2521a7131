"""What elementary functions cost in the compiled kernels, in multiply-adds of numbers in registers.

    python -m benchmarks.elementary

The ratios of times are the weights in `karat.attention.formulas.counting`. Functions are compiled as a
basis is, and called on numbers that stay in the first-level cache; needs a C++ compiler.
"""

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.measuring import machine
from karat.attention.formulas.counting import BOTH, WEIGHTS
from karat.attention.formulas.expressions import Trace, Value
from karat.attention.formulas.in_cpp import source_of
from karat.attention.formulas.programs import Program, Shared
from karat.attention.kernels._compiled import built

KEYS, TILE = 16, 256
AT_ONCE = 8  # independent evaluations for one number
PRODUCTS = 16  # multiply-adds of the yardstick
REPEATS = 40
Function = Callable[[Value], Value]


def _polynomial(y: Value) -> Value:
    found = y
    for i in range(PRODUCTS):
        found = found * y + 0.1 * (i + 1)
    return found


FUNCTIONS: Mapping[str, Function] = {
    "none": lambda y: y,
    "multiply-adds": _polynomial,
    "div": lambda y: 1.7 / y,
    "exp": lambda y: y.exp(),
    "sin": lambda y: y.sin(),
    "cos": lambda y: y.cos(),
    "both": lambda y: y.sin() * y.cos(),
    "tanh": lambda y: y.tanh(),
    "sigmoid": lambda y: y.sigmoid(),
    "erf": lambda y: y.erf(),
    "floor": lambda y: y.floor(),
    "sign": lambda y: y.sign(),
}


class _Basis(ctypes.Structure):
    """The beginning of `karat::Basis`, see `karat/attention/kernels/native/basis.h`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("version", "lanes", "features", "own", "base")),
        ("write_features", ctypes.c_void_p),
    ]


def compiled(function: Function) -> Callable[[], None]:
    """A call that evaluates a function `AT_ONCE` times for each of KEYS x TILE numbers."""
    trace = Trace()
    x = trace.input("x")
    total = trace.number(0.0)
    for i in range(AT_ONCE):
        total = total + function(x * (0.3 + 0.1 * i) + 0.01)
    zero = (trace.number(0.0),)
    shared = Shared(x=x, terms=(total,), known=(trace.input("known"),), slopes=zero, closed=None)
    library = ctypes.CDLL(
        str(built("elementary", source_of(Program(shared=shared, unit=None, has_base=False))))
    )
    write = ctypes.CFUNCTYPE(None, *2 * (ctypes.c_void_p,), *2 * (ctypes.c_int64,))(
        _Basis.in_dll(library, "karat_basis").write_features
    )
    numbers = np.random.default_rng(0).standard_normal(KEYS * TILE).astype(np.float32)
    out = np.empty_like(numbers)

    def call() -> None:
        for _ in range(REPEATS):
            write(numbers.ctypes.data, out.ctypes.data, KEYS, TILE)

    return call


def weights(rounds: int) -> dict[str, float]:
    """Multiply-adds that take as long as each function: medians of the times in turns."""
    calls = {name: compiled(function) for name, function in FUNCTIONS.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.thread_time()
            call()
            times[name].append(time.thread_time() - started)
    found = {name: statistics.median(each) for name, each in times.items()}
    none = found.pop("none")
    one = (found.pop("multiply-adds") - none) / PRODUCTS
    return {name: (each - none) / one for name, each in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print beside what is used, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.elementary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=41)
    options = parser.parse_args(arguments)
    print(f"{machine()}\n\n| function | multiply-adds | used |\n|---|---|---|")
    for name, each in weights(options.rounds).items():
        print(f"| {name} | {each:.1f} | {WEIGHTS.get(name, BOTH):g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
