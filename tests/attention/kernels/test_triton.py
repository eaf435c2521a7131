"""The Triton kernel against float64, on a GPU or with the interpreter; and its limits."""

import json
import os
import subprocess
import sys

import pytest

from karat.attention.kernels import Task
from karat.attention.kernels.triton import Triton
from tests.attention.kernels.triton_cases import CASES, PLAIN, WHOLE
from tests.conftest import ROOT
from tests.waiting import PATIENCE_S

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def errors() -> dict[str, list[float]]:
    """The errors of all cases, from a separate process."""
    done = subprocess.run(
        [sys.executable, "tests/attention/kernels/triton_cases.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = map(json.loads, done.stdout.splitlines())
    return {line["case"]: line["errors"] for line in lines}


@pytest.mark.xdist_group("triton")  # one process computes all cases
@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_rows_and_gradients_agree_with_float64(case: str, errors: dict[str, list[float]]) -> None:
    settings = {**PLAIN, **CASES[case]}
    assert len(errors[case]) == 1 + len(settings["asked"])
    assert max(errors[case]) < (1e-5 if settings["dtype"] == "float32" else 2e-2)


@pytest.mark.xdist_group("triton")
@pytest.mark.parametrize("case", WHOLE)
def test_kernel_works_with_torch_func_and_autocast(
    case: str, errors: dict[str, list[float]]
) -> None:
    assert errors[case]
    assert max(errors[case]) < 1e-5


@pytest.mark.parametrize(
    ("broken", "limit"),
    [
        ({"basis": "morlet"}, "the basis must be fourier, not morlet"),
        ({"base_activation": "silu"}, "takes no base activation, got silu"),
        ({"features": 34}, "G at most 16, got 17"),
        ({"outputs": 65}, "R at most 64, got 65"),
        ({"head_dim": 257}, "head width at most 256, got 257"),
        ({"dtype": "torch.float64"}, "dtype must be float32, bfloat16 or float16, not float64"),
        ({"device": "cpu"}, "needs a CUDA device, not cpu"),
        ({}, None),
    ],
)
def test_limits_are_named(broken: dict[str, object], limit: str | None) -> None:
    plain = {
        "basis": "fourier", "features": 6, "base_activation": "zero", "outputs": 12,
        "head_dim": 64, "dtype": "torch.bfloat16", "device": "cuda",
    }  # fmt: skip
    assert Triton().refusal(Task(**{**plain, **broken})) == limit  # type: ignore[arg-type]
