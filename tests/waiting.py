"""How long tests wait: for what should come, with deadlines that a slow and busy machine keeps."""

import time
from collections.abc import Callable

# For whatever comes within a tenth of this on two idle cores. A wait that ends earlier costs nothing.
PATIENCE_S = 480.0


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    patience_s: float = PATIENCE_S,
    poll_s: float = 0.05,
) -> None:
    """Wait for a condition; fail with `what` if it does not come true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(poll_s)
