"""The Triton kernel against float64, on a GPU or with the interpreter; and its limits."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from karat.attention.kernels import Task
from karat.attention.kernels.triton import Triton
from karat.attention.kernels.triton._blocks import TABLE, Case, blocks_for, choose
from tests.attention.kernels.triton_cases import CASES, PLAIN, WHOLE
from tests.conftest import ROOT
from tests.waiting import PATIENCE_S

pytest.importorskip("triton")


@functools.cache
def errors_of(asked: str) -> dict[str, list[float]]:
    """The errors of some cases, from a separate process."""
    done = subprocess.run(
        [sys.executable, "tests/attention/kernels/triton_cases.py", asked],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TRITON_INTERPRET": "0" if torch.cuda.is_available() else "1",
        },
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
def test_rows_and_gradients_agree_with_float64(case: str) -> None:
    settings, errors = {**PLAIN, **CASES[case]}, errors_of("cases")[case]
    assert len(errors) >= 1 + len(settings["asked"])
    assert max(errors) < (1e-5 if settings["dtype"] == "float32" else 2e-2)


@pytest.mark.xdist_group("triton")
@pytest.mark.parametrize("case", WHOLE)
def test_kernel_keeps_its_promises_within_torch(case: str) -> None:
    errors = errors_of("whole")[case]
    assert errors
    assert max(errors) < (1e-7 if case == "cosines and sines" else 1e-5)


@pytest.mark.parametrize(
    ("broken", "limit"),
    [
        ({"has_formula": False}, "basis fourier states no formula"),
        ({"features": 65}, "at most 64 features, got 65"),
        ({"outputs": 65}, "R at most 64, got 65"),
        ({"head_dim": 257}, "head width at most 256, got 257"),
        ({"dtype": "torch.float64"}, "dtype must be float32, bfloat16 or float16, not float64"),
        ({"device": "cpu"}, "needs a CUDA device, not cpu"),
        ({"basis": "morlet", "features": 0}, None),
        ({"base_activation": "silu"}, None),
        ({}, None),
    ],
)
def test_limits_are_named(broken: dict[str, object], limit: str | None) -> None:
    plain = {
        "basis": "fourier", "features": 6, "base_activation": "zero", "outputs": 12,
        "head_dim": 64, "dtype": "torch.bfloat16", "device": "cuda",
    }  # fmt: skip
    assert Triton().refusal(Task(**{**plain, **broken})) == limit  # type: ignore[arg-type]


CASE = Case(kernel="rows", dtype="float32", units=False, features=6, outputs=16, width=64)
SIZES = {"own": 64, "other": 16, "group": 8, "warps": 4, "stages": 2}


def test_first_table_of_blocks_that_fits_is_used() -> None:
    tables = [
        {**SIZES, "own": 16, "dtype": "bfloat16"},
        {**SIZES, "own": 32, "features": 5},
        {**SIZES, "own": 128, "kernel": "rows", "features": 6},
        SIZES,
    ]
    assert choose(tables, CASE).own == 128
    assert choose(tables, replace(CASE, features=7)).own == 64
    assert choose(tables, replace(CASE, dtype="bfloat16")).own == 16


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({**SIZES, "warp": 4}, "warp means nothing"),
        ({**SIZES, "own": 24}, "own = 24 must be a power of two, at least 16"),
        ({**SIZES, "group": 0}, "group = 0 must be at least 1"),
        ({**SIZES, "features": 5}, "no table fits"),
        ({"own": 64}, "lacks other, group, warps, stages"),
    ],
)
def test_a_wrong_table_of_blocks_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        choose([table], CASE)
    assert str(refused.value).startswith(str(TABLE))


@pytest.mark.parametrize("kernel", ["rows", "sides", "learned"])
@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_case_has_blocks(kernel: str, units: bool, dtype: str) -> None:
    for features, outputs, width in ((0, 16, 16), (64, 64, 256)):
        blocks_for(
            Case(
                kernel=kernel, dtype=dtype, units=units,
                features=features, outputs=outputs, width=width,
            )
        )  # fmt: skip
