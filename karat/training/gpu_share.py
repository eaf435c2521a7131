"""How much of a GPU a trial gets, and what of it torch may allocate."""

SHARES = (8, 4, 2, 1)  # of a GPU: Ray places these without gaps
CONTEXT_BYTES = 600 * 2**20  # of CUDA, for each process
MARGIN = 1.15  # for what the allocator cannot use


def share_of(needed_bytes: float, gpu_bytes: int) -> float:
    """The smallest of `SHARES` of a GPU that holds so much; a whole one where none does."""
    for count in SHARES:
        if MARGIN * needed_bytes + CONTEXT_BYTES <= gpu_bytes / count:
            return 1 / count
    return 1.0


def fraction_of(share: float, gpu_bytes: int) -> float:
    """What torch may allocate in a process with this share, as a fraction of the GPU."""
    return max(0.01, min(1.0, share - CONTEXT_BYTES / gpu_bytes)) if share < 1 else 1.0
