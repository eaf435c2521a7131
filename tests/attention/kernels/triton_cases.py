"""Runs the Triton kernel on small cases and prints its errors, one JSON line each.

A separate program, since Triton's interpreter has to be chosen before Triton is imported, by
`TRITON_INTERPRET=1`. On a machine with CUDA, and without that variable, the same cases run on the device.
"""

import copy
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from karat.attention.operator_config import OperatorConfig
from karat.attention.units import Units
from tests.attention.kernels.test_every_basis import SETTINGS, name_of

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
PLAIN: dict[str, Any] = {
    "images": 2, "heads": 2, "operators": 2, "queries": 17, "outputs": 3, "width": 16,
    "dtype": "float32", "asked": "qkw", "layout": "timm",
    "basis": "fourier", "basis_settings": {"grid_size": 2}, "base_activation": "zero",
    "unit_scales": True,
}  # fmt: skip
OF_BASES = {"images": 1, "outputs": 5, "width": 12, "queries": 21}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "one token": {"queries": 1},
    "fewer tokens than a block": {"queries": 5},
    "more tokens than a block": {"queries": 65, "images": 1, "heads": 1, "operators": 1},
    "shared heads": {"operators": 1},
    "one output": {"outputs": 1},
    "rank 12": {"outputs": 12, "basis_settings": {"grid_size": 3}},
    "rank 33": {"outputs": 33, "basis_settings": {"grid_size": 1}},
    "rank 64": {"outputs": 64, "basis_settings": {"grid_size": 1}},
    "grid 16": {"basis_settings": {"grid_size": 16}, "images": 1},
    "grid 16 in bfloat16": {
        "basis_settings": {"grid_size": 16}, "images": 1, "dtype": "bfloat16",
    },
    "width that is no power of two": {"width": 20},
    "no image": {"images": 0},
    "other strides": {"layout": "transposed"},
    "gradient of queries only": {"asked": "q"},
    "gradient of keys only": {"asked": "k"},
    "gradient of parameters only": {"asked": "w"},
    "units: shared heads": {"basis": "dog", "basis_settings": {}, "operators": 1},
    "units: rank 17": {"basis": "dog", "basis_settings": {}, "outputs": 17, "images": 1},
    "units: more tokens than a block": {
        "basis": "dog", "basis_settings": {}, "queries": 65,
        "images": 1, "heads": 1, "operators": 1, "outputs": 1,
    },
    "units: other strides": {"basis": "dog", "basis_settings": {}, "layout": "transposed"},
    "units: gradient of keys only": {"basis": "dog", "basis_settings": {}, "asked": "k"},
}  # fmt: skip
CASES = {
    **SHAPES,
    **{name_of(own): {**OF_BASES, "basis_settings": {}, **own} for own in SETTINGS},
    **{
        f"{name_of(own)} in bfloat16": {
            **OF_BASES, "basis_settings": {}, **own, "dtype": "bfloat16",
        }
        for own in SETTINGS
        if own.get("base_activation") == "silu"
    },
}  # fmt: skip


def units_of(case: dict[str, Any]) -> Units:
    """Units with parameters away from where they start, in float32."""
    named = ("basis", "basis_settings", "base_activation", "unit_scales")
    config = OperatorConfig(**{name: case[name] for name in named})
    draw = torch.Generator().manual_seed(0)
    units = Units(config, (case["operators"], case["outputs"], case["queries"]), draw)
    with torch.no_grad():
        for parameter in units.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        if "s" in units.coefficients:
            units.coefficients["s"].clamp_(min=0.2)
    return units.to(DEVICE)


def inputs(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Queries and keys as views of one projection."""
    draw = torch.Generator().manual_seed(0)
    batch, heads, tokens, width = (case[k] for k in ("images", "heads", "queries", "width"))
    if case["layout"] == "timm":
        qkv = torch.randn(batch, tokens, 3, heads, width, generator=draw).permute(2, 0, 3, 1, 4)
    else:
        qkv = torch.randn(3, width, tokens, heads, batch, generator=draw).permute(0, 4, 3, 2, 1)
    q, k, _ = qkv.to(DEVICE, getattr(torch, case["dtype"])).unbind(0)
    return q, k


def errors_of(case: dict[str, Any]) -> Iterator[float]:
    """Errors of the rows and of each requested gradient, relative to the largest entry."""
    from karat.attention.kernels.reference import Reference
    from karat.attention.kernels.triton import Triton  # after the interpreter was chosen

    units = units_of(case)
    wide = copy.deepcopy(units).double()
    q, k = inputs(case)
    found = []
    for kernel, own, tensors in (
        (Triton(), units, [q.detach(), k.detach()]),
        (Reference(), wide, [q.double(), k.double()]),
    ):
        own.requires_grad_("w" in case["asked"])
        if own.base_scale is not None and case["base_activation"] == "zero":
            own.base_scale.requires_grad_(False)
        asked = [
            x.requires_grad_()
            for x, name in zip(tensors, "qk", strict=True)
            if name in case["asked"]
        ]
        asked += [each for each in own.parameters() if each.requires_grad]
        rows = kernel.rows(*tensors, 0.3, own)
        upstream = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
        found.append([rows, *torch.autograd.grad(rows, asked, upstream.to(rows))])
    assert found[0][0].dtype == torch.float32
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        yield error_of(one, other)


def error_of(got: Tensor, want: Tensor) -> float:
    """The largest difference over the largest entry."""
    assert torch.isfinite(got).all()
    size = (want.abs().max().item() if want.numel() else 0.0) or 1.0
    return ((got.double() - want).abs().max().item() if want.numel() else 0.0) / size


def sines() -> Iterator[float]:
    """Cosines and sines of scores below 2^20, and what becomes of others."""
    from karat.attention.kernels.triton import Triton

    sizes = 2 ** torch.linspace(-30, 20, 4000, dtype=torch.float64)
    quarters = torch.arange(0, 600_000, 997, dtype=torch.float64) * (torch.pi / 2)
    some = torch.cat([sizes, -sizes, quarters, torch.tensor([0.0, 1048575.9])]).float()
    some = torch.cat([some[some.abs() < 2**20], torch.tensor([torch.nan, torch.inf, 2.0**20])])
    case = {**PLAIN, "operators": 1, "outputs": 2, "queries": 1, "unit_scales": False}
    units = units_of({**case, "basis_settings": {"grid_size": 1}})
    with torch.no_grad():
        for name, values in (("cos", [1.0, 0.0]), ("sin", [0.0, 1.0])):
            units.coefficients[name].copy_(torch.tensor(values).view(1, 2, 1, 1))
        q, k = some.view(1, 1, -1, 1).to(DEVICE), torch.ones(1, 1, 1, 1, device=DEVICE)
        rows = Triton().rows(q, k, 1.0, units)[0, 0].cpu()
    assert rows[-3:-1].isnan().all()
    assert rows[-1].tolist() == [1.0, 0.0]
    want = torch.stack([some.double().cos(), some.double().sin()], 1)
    yield (rows.double() - want)[:-3].abs().max().item()


def transforms() -> Iterator[float]:
    """Gradients by torch.func, and by torch.vmap of it over three sets of images."""
    from karat.attention.kernels.reference import Reference
    from karat.attention.kernels.triton import Triton

    for basis in ("fourier", "dog"):
        case = {**PLAIN, "basis": basis, "basis_settings": {}, "images": 1, "queries": 5}
        units = units_of(case)
        wide = copy.deepcopy(units).double()
        q, k = inputs(case)

        def gradient(kernel: Any, own: Units, k: Tensor) -> Any:
            return torch.func.grad(lambda x: kernel.rows(x, k, 0.3, own).square().sum())

        sets = torch.stack([q, 2 * q, 3 * q])
        for transform in (lambda f: f, torch.func.vmap):
            one = q if transform is not torch.func.vmap else sets
            got = transform(gradient(Triton(), units, k))(one)
            want = transform(gradient(Reference(), wide, k.double()))(one.double())
            yield error_of(got, want)


def operators() -> Iterator[float]:
    """The operator compared with the reference kernel, with and without autocast."""
    from karat.attention.config import AttentionConfig
    from karat.attention.heads import make_operator

    for basis in ("fourier", "morlet"):
        for dtype in (torch.float32, torch.bfloat16):
            found = []
            for kernel in ("triton", "reference"):
                config = AttentionConfig.from_settings(
                    {"basis": basis, "rank": 3, "kernel": kernel, "base_activation": "gelu"}
                )
                operator = make_operator(config, 2, 5, torch.Generator().manual_seed(0)).to(DEVICE)
                draw = torch.Generator().manual_seed(0)
                qkv = torch.randn(3, 2, 2, 5, 16, generator=draw).to(DEVICE, dtype).requires_grad_()
                with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype != torch.float32):
                    out = operator.attend(qkv, 0.3)
                learned = [p for p in operator.parameters() if p.requires_grad]
                found.append(
                    [out, *torch.autograd.grad(out.float().square().sum(), [qkv, *learned])]
                )
            for got, want in zip(*found, strict=True):
                yield error_of(got, want.double()) / (1 if dtype == torch.float32 else 1000)


def compiled_model() -> Iterator[float]:
    """Through torch.compile, values and gradients."""
    from karat.attention.config import AttentionConfig
    from karat.attention.heads import make_operator

    for basis in ("fourier", "dog"):
        config = AttentionConfig.from_settings({"basis": basis, "rank": 3, "kernel": "triton"})
        operator = make_operator(config, 2, 5, torch.Generator().manual_seed(0)).to(DEVICE)
        qkv = torch.randn(3, 1, 2, 5, 16, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        tensors = [qkv.requires_grad_(), *(p for p in operator.parameters() if p.requires_grad)]

        def attend(x: Tensor, operator: Any = operator) -> Tensor:
            out: Tensor = operator.attend(x, 0.5)
            return out

        compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
        found = [
            torch.autograd.grad(each(qkv).square().sum(), tensors) for each in (compiled, attend)
        ]
        for got, want in zip(*found, strict=True):
            yield error_of(got, want.double())


def second_derivative() -> Iterator[float]:
    """The second derivative is refused with a message."""
    from karat.attention.kernels.triton import Triton

    q, k = inputs(PLAIN)
    q.requires_grad_()
    rows = Triton().rows(q, k, 0.3, units_of(PLAIN))
    (grad,) = torch.autograd.grad(rows.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="kernel triton has no second derivative"):
        grad.sum().backward()
    yield 0.0


def not_compiled() -> Iterator[float]:
    """Code that does not compile: torch operations, one warning with the name, then a refusal."""
    from karat.attention.kernels.triton import Triton, _launch

    class Refuses:
        def warmup(self, *arguments: Any, **constants: Any) -> None:
            raise RuntimeError("PassManager::run failed")

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("karat").addHandler(handler)
    for basis in ("rbf", "mexican_hat"):
        case = {
            **PLAIN,
            "basis": basis,
            "basis_settings": {"extent": 2.0} if basis == "rbf" else {},
        }
        with pytest.MonkeyPatch.context() as patch:
            for name in ("rows_kernel", "side_kernel", "weights_kernel", "parts_kernel"):
                patch.setattr(_launch, name, Refuses())
            yield from errors_of(case)
            yield from errors_of(case)
        (message,) = messages
        assert message.startswith(f"basis {basis} runs several times slower than it could")
        assert message.endswith("PassManager::run failed")
        q, _ = inputs(case)
        refusal = Triton().refusal(units_of(case).task(q))
        assert refusal == f"basis {basis} was not compiled: RuntimeError: PassManager::run failed"
        messages.clear()


WHOLE = {
    "torch.func": transforms,
    "the whole operator": operators,
    "torch.compile": compiled_model,
    "second derivative": second_derivative,
    "code that does not compile": not_compiled,
    "cosines and sines": sines,
}


if __name__ == "__main__":
    if DEVICE == "cpu" and not INTERPRETED:
        raise SystemExit("there is no CUDA device: set TRITON_INTERPRET=1")
    asked = sys.argv[1]  # a name, or `cases`, or `whole`
    for name, more in CASES.items():
        if asked in (name, "cases"):
            found = list(errors_of({**PLAIN, **more}))
            print(json.dumps({"case": name, "errors": found}), flush=True)
    for name, of_case in WHOLE.items():
        if asked in (name, "whole"):
            print(json.dumps({"case": name, "errors": list(of_case())}), flush=True)
