"""Resources that this machine does not have are refused, not waited for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

MORE_CPUS = max(64, len(os.sched_getaffinity(0)) + 1)
MORE_GPUS = torch.cuda.device_count() + 1
ATTEMPTS = 3  # the best counts, since the machine may have other things to do


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (f"resources.cpus={MORE_CPUS}", f"resources.cpus = {MORE_CPUS}: this machine has"),
        (f"resources.gpus={MORE_GPUS}", f"resources.gpus = {MORE_GPUS}: this machine has"),
    ],
)
def test_resources_that_do_not_exist_are_refused_within_10_seconds(
    write_space: Callable[..., Path], tmp_path: Path, assignment: str, message: str
) -> None:
    words = ["--space", str(write_space()), "--storage", str(tmp_path / "s"), "--set", assignment]
    for _ in range(ATTEMPTS):
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "launch.py", *words], cwd=ROOT, capture_output=True, text=True
        )
        seconds = time.monotonic() - started
        if seconds < 10:
            break
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert seconds < 10
    assert not (tmp_path / "s").exists()
