"""The predicted peak of a step is the measured one, with what custom operations take inside."""

import json
import platform
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.measuring import DEVICE, peak_bytes
from karat.attention.bases import BASES
from karat.attention.kernels import _operations
from karat.forecast.memory import _one_thread, _peak
from tests.forecast.peaks import BATCH, model_of, prepare, step

FOURIER = {"basis": "fourier", "grid_size": 3}
SHOWN: list[Mapping[str, Any]] = [FOURIER, {"basis": "rational"}, {**FOURIER, "rank": "full"}]
OTHERS: list[Mapping[str, Any]] = [
    {"mechanism": "softmax"},
    *({"basis": name} for name in BASES if name not in ("fourier", "rational")),
    {"basis": "fourier", "grid_size": 16},
    {"basis": "bspline", "base_activation": "silu"},
    {"basis": "rational", "base_activation": "gelu"},
    {**FOURIER, "operator_order": "phi_w"},
    {**FOURIER, "operator_order": "phi_phi"},
    {"basis": "rational", "operator_order": "phi_phi"},
    {**FOURIER, "projection": "simplex"},
    {**FOURIER, "heads": [0]},
    {**FOURIER, "kernel": "reference"},
]


def predicted(settings: Mapping[str, Any]) -> int:
    model = model_of(settings)
    with _one_thread():
        return _peak(model, lambda count: step(model, count), BATCH)


@pytest.mark.skipif(
    DEVICE != "cpu" or platform.libc_ver()[0] != "glibc", reason="measures a process of glibc"
)
@pytest.mark.parametrize(
    "settings",
    [*SHOWN, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)],
    ids=json.dumps,
)
def test_the_predicted_peak_is_the_measured_one(settings: Mapping[str, Any]) -> None:
    measured = peak_bytes(prepare, settings)
    assert measured is not None
    assert predicted(settings) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("basis", ["bspline", "meyer"])
def test_blocks_of_torch_operations_count_with_all_that_is_alive_in_them(
    basis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = predicted({"basis": basis})
    monkeypatch.setattr(_operations, "compiled_basis", lambda *arguments: None)
    assert predicted({"basis": basis}) > 1.3 * compiled
