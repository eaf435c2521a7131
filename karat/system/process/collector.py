"""Python's cyclic garbage collector, which finds nothing while modules are loaded and at the end of a process.

With its defaults it looks at every object again and again while torch, timm, MLflow or Ray are imported, and
once more when the process exits: up to half of the CPU time of a process that does little else.
"""

import atexit
import contextlib
import gc
from collections.abc import Iterator

# Python's default is 700, 10, 10: objects made before a collection, and collections before one of all.
_THRESHOLDS = (100_000, 20, 50)


def collect_rarely() -> None:
    """For a process that runs one command: collect less often, and not at its end. Called first in it."""
    gc.set_threshold(*_THRESHOLDS)
    atexit.register(gc.freeze)


@contextlib.contextmanager
def imports_kept() -> Iterator[None]:
    """No collection while the block imports modules, nor later of what was there when it ended.

    For a process that trains: after it, garbage is collected as often as by default, since cycles may
    hold tensors.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
