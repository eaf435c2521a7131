"""Runs the Triton kernel on small cases and prints its errors, one JSON line each.

A separate program, since Triton's interpreter has to be chosen before Triton is imported. On a
machine with CUDA the same cases run on the device.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PLAIN: dict[str, Any] = {
    "images": 2, "heads": 2, "operators": 2, "queries": 17, "outputs": 3, "grid": 2,
    "width": 16, "dtype": "float32", "asked": "qkw", "layout": "timm",
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"dtype": "bfloat16"},
    "one token": {"queries": 1},
    "fewer tokens than a block": {"queries": 5},
    "more tokens than a block": {"queries": 65, "images": 1, "heads": 1, "operators": 1},
    "shared heads": {"operators": 1},
    "one output": {"outputs": 1},
    "rank 12": {"outputs": 12, "grid": 3},
    "rank 33": {"outputs": 33, "grid": 1},
    "rank 64": {"outputs": 64, "grid": 1},
    "grid 1": {"grid": 1},
    "grid 16": {"grid": 16, "images": 1},
    "grid 16 in bfloat16": {"grid": 16, "images": 1, "dtype": "bfloat16"},
    "width that is no power of two": {"width": 20},
    "no image": {"images": 0},
    "other strides": {"layout": "transposed"},
    "gradient of queries only": {"asked": "q"},
    "gradient of keys only": {"asked": "k"},
    "gradient of weights only": {"asked": "w"},
}


def inputs(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys as views of one projection, and weights."""
    draw = torch.Generator().manual_seed(0)
    batch, heads, tokens, width = (case[k] for k in ("images", "heads", "queries", "width"))
    if case["layout"] == "timm":
        qkv = torch.randn(batch, tokens, 3, heads, width, generator=draw).permute(2, 0, 3, 1, 4)
    else:
        qkv = torch.randn(3, width, tokens, heads, batch, generator=draw).permute(0, 4, 3, 2, 1)
    shape = (case["operators"], case["outputs"], 2 * case["grid"], tokens)
    dtype = getattr(torch, case["dtype"])
    q, k, _ = qkv.to(DEVICE, dtype).unbind(0)
    return q, k, torch.randn(shape, generator=draw).to(DEVICE)


def reference(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
    """The rows from all features of all scores, in the dtype of the inputs."""
    sharing = q.shape[1] // weights.shape[0]
    x_BHNM = scale * (q @ k.mT)
    angles = torch.arange(1, weights.shape[2] // 2 + 1, device=q.device).view(-1, 1, 1)
    angles_BHGNM = x_BHNM.unsqueeze(2) * angles
    features = torch.cat([angles_BHGNM.cos(), angles_BHGNM.sin()], 2)
    return torch.einsum("bhfnm,hrfm->bhnr", features, weights.repeat_interleave(sharing, 0))


def errors_of(case: dict[str, Any]) -> Iterator[float]:
    """Errors of the rows and of each requested gradient, relative to the largest entry."""
    ours = inputs(case)
    wide = [tensor.double() for tensor in ours]
    asked = [index for index, name in enumerate("qkw") if name in case["asked"]]
    for index in asked:
        ours[index].requires_grad_()
        wide[index].requires_grad_()
    got, want = rows(*ours), reference(*wide, 0.3)  # type: ignore[arg-type]
    assert got.shape == want.shape
    assert got.dtype == torch.float32
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    pairs = [(got, want)]
    grads = torch.autograd.grad(got, [ours[i] for i in asked], upstream)
    grads_wide = torch.autograd.grad(want, [wide[i] for i in asked], upstream.double())
    pairs += list(zip(grads, grads_wide, strict=True))
    for one, other in pairs:
        yield error_of(one, other)


def error_of(got: Tensor, want: Tensor) -> float:
    """The largest difference over the largest entry."""
    assert torch.isfinite(got).all()
    size = (want.abs().max().item() if want.numel() else 0.0) or 1.0
    return ((got.double() - want).abs().max().item() if want.numel() else 0.0) / size


class Weights:
    """The part of `Units` that the kernel uses."""

    def __init__(self, weights_PRFM: Tensor) -> None:
        self.weights = weights_PRFM

    def feature_weights(self, dtype: torch.dtype) -> Tensor:
        """In that dtype."""
        return self.weights.to(dtype)


def rows(q: Tensor, k: Tensor, weights: Tensor) -> Tensor:
    """The rows from the kernel."""
    from karat.attention.kernels.triton import Triton  # after the interpreter was chosen

    return Triton().rows(q, k, 0.3, Weights(weights))  # type: ignore[arg-type]


def transforms() -> Iterator[float]:
    """Gradients by torch.func, and by torch.vmap of it over three sets of images."""
    q, k, weights = inputs(PLAIN)

    def gradient(of_rows: Any, k: Tensor, weights: Tensor) -> Any:
        return torch.func.grad(lambda q: of_rows(q, k, weights).square().sum())

    def wanted(q: Tensor, k: Tensor, weights: Tensor) -> Tensor:
        return reference(q, k, weights, 0.3)

    wide = (k.double(), weights.double())
    sets = torch.stack([q, 2 * q, 3 * q])
    for transform in (lambda f: f, torch.func.vmap):
        own = q if transform is not torch.func.vmap else sets
        got = transform(gradient(rows, k, weights))(own)
        yield error_of(got, transform(gradient(wanted, *wide))(own.double()))


def operators() -> Iterator[float]:
    """The operator compared with the reference kernel, with and without autocast."""
    from karat.attention.config import AttentionConfig
    from karat.attention.heads import make_operator

    for dtype in (torch.float32, torch.bfloat16):
        found = []
        for kernel in ("triton", "reference"):
            config = AttentionConfig.from_settings(
                {"basis": "fourier", "rank": 3, "kernel": kernel}
            )
            operator = make_operator(config, 2, 5, torch.Generator().manual_seed(0)).to(DEVICE)
            draw = torch.Generator().manual_seed(0)
            qkv = torch.randn(3, 2, 2, 5, 16, generator=draw).to(DEVICE, dtype).requires_grad_()
            with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype != torch.float32):
                out = operator.attend(qkv, 0.3)
            learned = [p for p in operator.parameters() if p.requires_grad]
            found.append([out, *torch.autograd.grad(out.float().square().sum(), [qkv, *learned])])
        for got, want in zip(*found, strict=True):
            yield error_of(got, want.double()) / (1 if dtype == torch.float32 else 1000)


def second_derivative() -> Iterator[float]:
    """The second derivative is refused with a message."""
    q, k, weights = inputs(PLAIN)
    q.requires_grad_()
    (grad,) = torch.autograd.grad(rows(q, k, weights).square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="kernel triton has no second derivative"):
        grad.sum().backward()
    yield 0.0


WHOLE = {
    "torch.func": transforms,
    "the whole operator": operators,
    "second derivative": second_derivative,
}


if __name__ == "__main__":
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    for name, more in CASES.items():
        print(json.dumps({"case": name, "errors": list(errors_of({**PLAIN, **more}))}), flush=True)
    for name, of_case in WHOLE.items():
        print(json.dumps({"case": name, "errors": list(of_case())}), flush=True)
