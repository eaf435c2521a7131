"""Codes in words: what the kernel has killed is told as such, wherever it stands."""

import pytest

from karat.causes import KILLED_BY_KERNEL, KILLED_BY_RAY, Failure, Loss
from karat.journal.wording import failure_text

KERNEL = "killed by the kernel: out of memory"


@pytest.mark.parametrize(
    ("cause", "details", "text"),
    [
        (Failure.LOST, {"what": Loss.WORKER}, "its worker process died"),
        (Failure.LOST, {"what": Loss.WORKER, **KILLED_BY_KERNEL}, KERNEL),
        (Failure.MEMORY, KILLED_BY_KERNEL, KERNEL),
        (Failure.MEMORY, {**KILLED_BY_KERNEL, "rank": 1}, f"rank 1: {KERNEL}"),
        (
            Failure.MEMORY,
            KILLED_BY_RAY,
            "out of memory on its machine: Ray's memory monitor killed the process",
        ),
        (
            Failure.LOST,
            {"times": 4, "last": {"what": Loss.WORKER, **KILLED_BY_KERNEL}},
            f"its worker was lost 4 times; the last time: {KERNEL}",
        ),
        (Failure.LOST, {"times": 4, "last": {"what": Loss.WORKER}}, "its worker was lost 4 times"),
    ],
)
def test_process_killed_for_memory_is_told_from_one_that_died(
    cause: Failure, details: dict[str, object], text: str
) -> None:
    assert failure_text(cause, details) == text
