"""Triton compiles the kernels of every basis for real GPUs, without having one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from karat.attention.bases import BASES  # noqa: E402
from karat.attention.kernels.triton import _launch  # noqa: E402
from karat.attention.kernels.triton._generated import functions_of  # noqa: E402

LARGEST_SHARED = 99 * 1024  # bytes; the smallest limit among GPUs since Ampere
TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
QUICK = "linear"


def spec(basis: str, base: str = "zero", **settings: Any) -> str:
    return json.dumps([basis, settings, base])


def launches(
    spec: str, dtype: torch.dtype, outputs: int, width: int, patch: pytest.MonkeyPatch
) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Kernel, arguments and constants of everything that is launched for one call."""
    found: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    patch.setattr(
        _launch,
        "_start",
        lambda kernel, grid, arguments, constants: found.append((kernel, arguments, constants)),
    )
    functions = functions_of(spec, True)
    with torch.device("meta"):
        q = torch.empty(2, 3, 197, width, dtype=dtype)
        weights, kept, grad = (
            torch.empty(3, outputs, functions.features, 197),
            torch.empty(3, outputs, functions.kept, 197),
            torch.empty(2, 3, 197, outputs),
        )
    launch = _launch.Launch(functions, q, q, weights, kept, 0.125)
    launch.rows()
    launch.grad_side(grad, of_keys=False)
    launch.grad_side(grad, of_keys=True)
    if functions.features:
        launch.grad_weights(grad)
    if functions.kept:
        launch.grad_parts(grad)
    return found


def source_of(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any]) -> ASTSource:
    given, signature = iter(arguments), {}
    for name in kernel.arg_names:
        value = None if name in constants else next(given)
        if name in constants:
            signature[name] = "constexpr"
        elif isinstance(value, torch.Tensor):
            signature[name] = f"*{TYPES[value.dtype]}"
        elif isinstance(value, tuple):
            signature[name] = ("i32",) * len(value)
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
    return ASTSource(fn=kernel, signature=signature, constexprs=constants)


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
    for kernel, arguments, constants in launches(spec, dtype, outputs, width, monkeypatch):
        options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
        compiled = triton.compile(
            source_of(kernel, arguments, constants),
            target=GPUTarget("cuda", capability, 32),
            options=options,
        )
        assert compiled.asm["cubin"]
        assert compiled.metadata.shared <= LARGEST_SHARED
