"""Compiles and loads the attention kernel and the functions of each basis, with a C++ compiler.

The attention (`native/attention.cpp`) is compiled once. The source of a basis with its settings is
made from its formula, in about two seconds more for each. Libraries are kept in the user's cache
folder. Their names depend on the sources, the flags, torch and the processor, so that different
machines can share a home directory.
"""

import ctypes
import functools
import hashlib
import itertools
import json
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from karat.attention.bases import BASES
from karat.attention.formulas import program_of
from karat.attention.formulas.in_cpp import source_of

NATIVE = Path(__file__).with_name("native")
FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    # Not -ffast-math: NaN and infinity must come out as NaN.
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
)
MOST_FEATURES = 256  # the code of a basis grows with it
_LOG = logging.getLogger(__name__)


@functools.cache
def is_available() -> bool:
    """Whether the compiled functions can be called; compiles them if needed, in about 15 s."""
    try:
        torch.ops.load_library(str(_attention()))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:  # no compiler, no home, or it cannot be loaded
        _LOG.warning("attention on this CPU runs at about half of its possible speed: %s", error)
        return False
    return True


@functools.lru_cache(maxsize=256)
def compiled_basis(spec: str, has_scale: bool) -> int | None:
    """The address of the `karat::Basis` for a `Units.spec`; None, after a warning, if there is none.

    Args:
        has_scale: whether the units have a scale.
    """
    if not is_available():
        return None
    name = json.loads(spec)[0]
    program = program_of(spec, has_scale)
    if program is None:
        warn_without_formula(name)
        return None
    features = len(program.shared.terms) if program.shared else 0
    if features > MOST_FEATURES:
        _LOG.warning(
            "basis %s has %d features, and %d is the most that are compiled; attention runs at "
            "about half of its possible speed", name, features, MOST_FEATURES,
        )  # fmt: skip
        return None
    try:
        # The handle is never closed: the functions stay.
        library = ctypes.CDLL(str(built(f"basis-{name}", source_of(program))))
        return ctypes.addressof(ctypes.c_char.in_dll(library, "karat_basis"))
    except (OSError, ValueError) as error:
        _LOG.warning("basis %s runs several times slower than it could: %s", name, error)
        return None


@functools.cache
def warn_without_formula(name: str) -> None:
    """Say, once, that a basis has torch code alone."""
    _LOG.warning("basis %s runs several times slower than it could: it states no formula", name)


def _attention() -> Path:
    torch_folder = Path(torch.__file__).parent
    parts = ("", "torch/csrc/api/include")
    return built(
        "attention",
        (NATIVE / "attention.cpp").read_text(encoding="utf-8"),
        [f"-I{torch_folder / 'include' / part}" for part in parts],
        [f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"],
    )


def built(
    name: str, source: str, includes: Sequence[str] = (), libraries: Sequence[str] = ()
) -> Path:
    """The path of the library, compiled if it is missing."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karat"
    library = folder / f"{name}-{_key(source)}.so"
    if library.is_file():
        return library
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise OSError("no C++ compiler was found; install g++, or set CXX")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        made, written = Path(own) / library.name, Path(own) / f"{name}.cpp"
        written.write_text(source, encoding="utf-8")
        command = [
            *(compiler, *FLAGS, f"-I{NATIVE}", *includes, str(written)),
            *(*libraries, "-o", str(made)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler} could not build {written.name}: {done.stderr.strip()[:300]}")
        made.rename(library)  # atomic, even if two processes compile at the same time
    return library


def _key(source: str) -> str:
    headers = (path.read_text(encoding="utf-8") for path in sorted(NATIVE.glob("*.h")))
    parts = (source, *headers, " ".join(FLAGS), torch.__version__, _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def _processor() -> str:
    processor = platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return processor


def compile_all() -> bool:
    """Compile the attention and every basis with its default settings, ahead of their first use."""
    if not is_available():
        return False
    specs = (json.dumps([name, {}, "zero"]) for name in BASES)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return None not in list(pool.map(compiled_basis, specs, itertools.repeat(True)))


if __name__ == "__main__":
    print("compiled attention kernel:", "ready" if compile_all() else "not available, see above")
