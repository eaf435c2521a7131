"""Builds and loads `fourier.cpp`, once for each machine; without a compiler there is none.

The library lies in the user's cache, under a name that changes with the source, torch and the
processor, so that a home shared by different machines holds one for each.
"""

import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("fourier.cpp")
FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
)
LARGEST_GRID = 16
_LOG = logging.getLogger(__name__)


@functools.cache
def is_available() -> bool:
    """Whether the compiled rows can be called; builds them at the first call, in about 15 s."""
    try:
        torch.ops.load_library(str(_built()))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:  # no compiler, no home, or it cannot be loaded
        _LOG.warning(
            "attention on this CPU runs at about half the speed that it could have: %s", error
        )
        return False
    return True


def _built() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karat"
    library = folder / f"fourier-{_key()}.so"
    if library.is_file():
        return library
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise OSError("there is no C++ compiler; install g++, or set CXX")
    folder.mkdir(parents=True, exist_ok=True)
    of_torch = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=folder) as own:
        made = Path(own) / library.name
        includes = [f"-I{of_torch / 'include' / part}" for part in ("", "torch/csrc/api/include")]
        libraries = [f"-L{of_torch / 'lib'}", "-ltorch_cpu", "-lc10"]
        command = [compiler, *FLAGS, *includes, str(SOURCE), *libraries, "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler} could not build {SOURCE.name}: {done.stderr.strip()[:300]}")
        made.rename(library)  # whole or not at all, also where two build at once
    return library


def _key() -> str:
    processor = platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        lines = info.read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    parts = (SOURCE.read_text(), " ".join(FLAGS), torch.__version__, processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print("compiled attention kernel:", "ready" if is_available() else "none, see above")
