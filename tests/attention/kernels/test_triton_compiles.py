"""Triton compiles the kernels of every basis for real GPUs, without having one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime import driver  # noqa: E402

from karat.attention.bases import BASES  # noqa: E402
from karat.attention.kernels.triton import _launch  # noqa: E402
from karat.attention.kernels.triton._generated import functions_of  # noqa: E402

LARGEST_SHARED = 99 * 1024  # bytes; the smallest limit among GPUs since Ampere
QUICK = "linear"


class Device:
    """The part of a driver that Triton asks before it launches anything."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability  # Triton keeps what it compiles for each number

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)


def spec(basis: str, base: str = "zero", **settings: Any) -> str:
    return json.dumps([basis, settings, base])


def compiled(spec: str, dtype: torch.dtype, outputs: int, width: int) -> list[Any]:
    """Everything that is launched for one call and its gradients."""
    found: list[Any] = []

    def start(kernel: Any, grid: Any, arguments: Any, constants: dict[str, Any]) -> None:
        found.append(kernel.warmup(*arguments, grid=grid, **constants))

    functions = functions_of(spec, True)
    q = torch.empty(2, 3, 197, width, dtype=dtype)
    weights = torch.empty(3, outputs, functions.features, 197)
    kept, grad = torch.empty(3, outputs, functions.kept, 197), torch.empty(2, 3, 197, outputs)
    launch = _launch.Launch(functions, q, q, weights, kept, 0.125)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_launch, "_start", start)
        launch.rows()
        launch.grad_side(grad, of_keys=False)
        launch.grad_side(grad, of_keys=True)
        if functions.features:
            launch.grad_weights(grad)
        if functions.kept:
            launch.grad_parts(grad)
    return found


@pytest.mark.parametrize(
    ("spec", "dtype", "outputs", "width", "capability"),
    [
        *(
            pytest.param(
                spec(str(basis)), torch.bfloat16, 12, 64, 90,
                marks=() if str(basis) == QUICK else pytest.mark.slow, id=str(basis),
            )
            for basis in BASES
        ),
        *(
            pytest.param(*case, marks=pytest.mark.slow, id=name)
            for name, *case in (
                ("base activation", spec("bspline", "silu"), torch.float32, 12, 64, 80),
                ("units with one", spec("rational", "gelu"), torch.float32, 12, 64, 80),
                ("many features", spec("fourier", grid_size=16), torch.bfloat16, 12, 64, 80),
                ("many outputs", spec("fourier"), torch.bfloat16, 64, 64, 90),
                ("wide heads", spec("morlet"), torch.float16, 17, 256, 80),
            )
        ),
    ],
)  # fmt: skip
def test_kernels_compile_for_gpus(
    spec: str, dtype: torch.dtype, outputs: int, width: int, capability: int,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", Device(capability))
    found = compiled(spec, dtype, outputs, width)
    assert len(found) >= 4
    for each in found:
        assert each.asm["cubin"]
        assert each.metadata.shared <= LARGEST_SHARED
