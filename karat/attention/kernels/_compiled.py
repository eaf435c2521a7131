"""Compiles and loads `fourier.cpp`, if the machine has a C++ compiler.

The library is kept in the user's cache folder. Its name depends on the source, the flags, torch and
the processor, so that different machines can share a home directory.
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
    # Not -ffast-math: NaN and infinity must come out as NaN.
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
)
LARGEST_GRID = 16
_LOG = logging.getLogger(__name__)


@functools.cache
def is_available() -> bool:
    """Whether the compiled functions can be called; compiles them if needed, in about 15 s."""
    try:
        torch.ops.load_library(str(_built()))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:  # no compiler, no home, or it cannot be loaded
        _LOG.warning("attention on this CPU runs at about half of its possible speed: %s", error)
        return False
    return True


def _built() -> Path:
    """The path of the library, compiled if it is missing."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karat"
    library = folder / f"fourier-{_key()}.so"
    if library.is_file():
        return library
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise OSError("no C++ compiler was found; install g++, or set CXX")
    folder.mkdir(parents=True, exist_ok=True)
    torch_folder = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=folder) as own:
        made = Path(own) / library.name
        parts = ("", "torch/csrc/api/include")
        includes = [f"-I{torch_folder / 'include' / part}" for part in parts]
        libraries = [f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"]
        command = [compiler, *FLAGS, *includes, str(SOURCE), *libraries, "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler} could not build {SOURCE.name}: {done.stderr.strip()[:300]}")
        made.rename(library)  # atomic, even if two processes compile at the same time
    return library


def _key() -> str:
    processor = platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    parts = (SOURCE.read_text(), " ".join(FLAGS), torch.__version__, processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print("compiled attention kernel:", "ready" if is_available() else "not available, see above")
