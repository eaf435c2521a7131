"""The fraction of a GPU that a trial gets, and the part of it that torch may allocate."""

# Trials per GPU. Fractions 1/n with powers of 2 pack without gaps; Ray does not always place other
# fractions (ray#52133).
SHARES = (8, 4, 2, 1)
CONTEXT_BYTES = 600 * 2**20  # of each process's CUDA context, which torch does not count
MARGIN = 1.15  # for fragmentation in torch's caching allocator


def share_of(needed_bytes: float, gpu_bytes: int) -> float:
    """The smallest fraction of a GPU that holds `needed_bytes`; 1 if even a whole GPU does not."""
    for count in SHARES:
        if MARGIN * needed_bytes + CONTEXT_BYTES <= gpu_bytes / count:
            return 1 / count
    return 1.0


def fraction_of(share: float, gpu_bytes: int) -> float:
    """The fraction of the GPU's memory that torch may allocate in a process with this share."""
    return max(0.01, min(1.0, share - CONTEXT_BYTES / gpu_bytes)) if share < 1 else 1.0
