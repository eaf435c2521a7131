"""Triton compiles the kernels for real GPUs, without having one."""

from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from karat.attention.kernels import triton as kernels  # noqa: E402

LARGEST_SHARED = 99 * 1024  # bytes; the smallest limit among GPUs since Ampere
NUMBERS = {"heads", "sharing", "tokens", "keys", "owns", "others", "images"}
KERNELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rows": (kernels._rows_kernel, {}),
    "gradient of queries": (kernels._side_kernel, {"OWN_KEYS": False}),
    "gradient of keys": (kernels._side_kernel, {"OWN_KEYS": True}),
    "gradient of weights": (kernels._weights_kernel, {}),
}


def source_of(kernel: Any, more: dict[str, Any], grid: int, outputs: int, dtype: str) -> ASTSource:
    """A kernel for heads of width 64, with the constants of a launch."""
    if "GROUP" in kernel.arg_names:
        more = {**more, "GROUP": kernels._group(grid, 64, kernels._padded(outputs))}
    blocks = kernels._blocks(kernels._padded(outputs), 64)
    precision = "ieee" if dtype == "fp32" else "tf32x3"
    constants = {
        "GRID": grid, "OUTPUTS": outputs, "WIDTH": 64, "PRECISION": precision, "WIDEN": False,
        "BLOCK_R": kernels._padded(outputs), "BLOCK_D": 64, **more,
        **{name: size for name, size in blocks.items() if name.startswith("BLOCK")},
    }  # fmt: skip
    signature: dict[str, Any] = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name.endswith("strides"):
            signature[name] = ("i32",) * (5 if name == "parts_strides" else 4)
        elif name == "scale":
            signature[name] = "fp32"
        elif name in NUMBERS:
            signature[name] = "i32"
        else:
            signature[name] = (
                f"*{dtype if name in ('q', 'k', 'own', 'other', 'grad_own') else 'fp32'}"
            )
    return ASTSource(fn=kernel, signature=signature, constexprs=constants)


@pytest.mark.slow  # all of them together take a minute
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("grid", "outputs"), [(3, 12), (16, 64)])
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_compiles_for_gpus(
    name: str, capability: int, grid: int, outputs: int, dtype: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, more = KERNELS[name]
    compiled = triton.compile(
        source_of(kernel, more, grid, outputs, dtype),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 4, "num_stages": 2},
    )
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= LARGEST_SHARED
