"""Runs the Triton kernel on small cases and prints its errors, one JSON line each.

A program of its own, since Triton's interpreter has to be chosen before Triton is imported. On a
machine with CUDA the same cases run on the device.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PLAIN: dict[str, Any] = {
    "pictures": 2, "heads": 2, "operators": 2, "queries": 17, "outputs": 3, "grid": 2,
    "width": 16, "dtype": "float32", "asked": "qkw", "layout": "timm",
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"dtype": "bfloat16"},
    "one token": {"queries": 1},
    "fewer tokens than a block": {"queries": 5},
    "more tokens than a block": {"queries": 65, "pictures": 1, "heads": 1, "operators": 1},
    "shared heads": {"operators": 1},
    "one output": {"outputs": 1},
    "rank 12": {"outputs": 12, "grid": 3},
    "rank 33": {"outputs": 33, "grid": 1},
    "rank 64": {"outputs": 64, "grid": 1},
    "grid 1": {"grid": 1},
    "grid 16": {"grid": 16, "pictures": 1},
    "grid 16 in bfloat16": {"grid": 16, "pictures": 1, "dtype": "bfloat16"},
    "width that is no power of two": {"width": 20},
    "no picture": {"pictures": 0},
    "other strides": {"layout": "transposed"},
    "gradient of queries only": {"asked": "q"},
    "gradient of keys only": {"asked": "k"},
    "gradient of weights only": {"asked": "w"},
}


def inputs(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys as views of one projection, and weights."""
    draw = torch.Generator().manual_seed(0)
    batch, heads, tokens, width = (case[k] for k in ("pictures", "heads", "queries", "width"))
    if case["layout"] == "timm":
        qkv = torch.randn(batch, tokens, 3, heads, width, generator=draw).permute(2, 0, 3, 1, 4)
    else:
        qkv = torch.randn(3, width, tokens, heads, batch, generator=draw).permute(0, 4, 3, 2, 1)
    shape = (case["operators"], case["outputs"], 2 * case["grid"], tokens)
    dtype = getattr(torch, case["dtype"])
    q, k, _ = qkv.to(DEVICE, dtype).unbind(0)
    return q, k, torch.randn(shape, generator=draw).to(DEVICE)


def reference(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
    """All features of all scores, in the dtype given."""
    sharing = q.shape[1] // weights.shape[0]
    x_BHNM = scale * (q @ k.mT)
    angles = torch.arange(1, weights.shape[2] // 2 + 1, device=q.device).view(-1, 1, 1)
    angles_BHGNM = x_BHNM.unsqueeze(2) * angles
    features = torch.cat([angles_BHGNM.cos(), angles_BHGNM.sin()], 2)
    return torch.einsum("bhfnm,hrfm->bhnr", features, weights.repeat_interleave(sharing, 0))


def errors_of(case: dict[str, Any]) -> Iterator[float]:
    """Relative to the largest entry: of the rows, then of each gradient asked for."""
    ours = inputs(case)
    wide = [tensor.double() for tensor in ours]
    from karat.kernels.triton import fourier_rows  # after the interpreter was chosen

    asked = [index for index, name in enumerate("qkw") if name in case["asked"]]
    for index in asked:
        ours[index].requires_grad_()
        wide[index].requires_grad_()
    got, want = fourier_rows(*ours, 0.3), reference(*wide, 0.3)  # type: ignore[arg-type]
    assert got.shape == want.shape
    assert got.dtype == torch.float32
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    pairs = [(got, want)]
    grads = torch.autograd.grad(got, [ours[i] for i in asked], upstream)
    grads_wide = torch.autograd.grad(want, [wide[i] for i in asked], upstream.double())
    pairs += list(zip(grads, grads_wide, strict=True))
    for one, other in pairs:
        assert torch.isfinite(one).all()
        size = (other.abs().max().item() if other.numel() else 0.0) or 1.0
        error = (one.double() - other).abs().max().item() if other.numel() else 0.0
        yield error / size


if __name__ == "__main__":
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    for name, more in CASES.items():
        print(json.dumps({"case": name, "errors": list(errors_of({**PLAIN, **more}))}), flush=True)
